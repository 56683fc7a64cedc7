"""train_idxs.txt and test_idxs.txt: which images of a block (scene folder) train and which test."""

from collections.abc import Iterable
from pathlib import Path

from storm_core.errors import DatasetError

SPLITS = ("train", "test")

EVERY = 10
"""Without lists, every tenth image tests."""


def read_indices(block: Path, split: str) -> frozenset[int] | None:
    """Image ids that the block's list for `split` (train, test) names; None without such a list.

    Raises:
      DatasetError: the list is no text, or an entry no image number (names file and entry).
    """
    file = block / f"{split}_idxs.txt"
    if not file.exists():
        return None
    try:
        words = file.read_text(encoding="utf-8-sig").replace(",", " ").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} cannot be read as text ({error}); write image numbers in UTF-8, one per line"
                           ) from error
    wrong = [word for word in words if not word.isdecimal()]
    if wrong:
        raise DatasetError(f"{file}: {wrong[0]!r} is no image number; write one per line")
    return frozenset(map(int, words))


def split_images(block: Path, images: Iterable[int], split: str) -> frozenset[int]:
    """Those of a block's images that belong to `split` (train, test); none belongs to both.

    With one list the other split is what that one leaves, and an image in both lists tests. Without lists every tenth
    image tests.

    Args:
      images: ids of all annotated images of the block.

    Raises:
      DatasetError: see `read_indices`.
    """
    ids = sorted(images)
    train, test = read_indices(block, "train"), read_indices(block, "test")
    if test is None:
        test = frozenset(ids[EVERY - 1::EVERY] if train is None else ids) - (train or frozenset())
    learned = (frozenset(ids) if train is None else train) - test
    return (test if split == "test" else learned) & frozenset(ids)
