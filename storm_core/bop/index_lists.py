"""train_idxs.txt and test_idxs.txt: which images of a block (scene folder) train and which test."""

from pathlib import Path

from storm_core.errors import DatasetError

SPLITS = ("train", "test")


def read_indices(block: Path, split: str) -> frozenset[int] | None:
    """Image ids that the block's list for `split` (train, test) names; None without such a list.

    Raises:
      DatasetError: an entry is no image number (names file and entry).
    """
    file = block / f"{split}_idxs.txt"
    if not file.exists():
        return None
    words = file.read_text().replace(",", " ").split()
    wrong = [word for word in words if not word.isdigit()]
    if wrong:
        raise DatasetError(f"{file}: {wrong[0]!r} is no image number; write one per line")
    return frozenset(map(int, words))
