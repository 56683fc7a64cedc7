"""A part of a recording: a range of its frames, or every N-th of them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from storm_core.bags.recording import Recording
from storm_core.bags.true_poses import Truth
from storm_core.errors import ConfigError
from storm_core.types import Frame


@dataclass(frozen=True, eq=False)
class Selection:
    """Chosen frames of a recording, with their own stamps, as a `Recording`.

    Attributes:
      indices: of the frames in the whole recording, increasing.
    """

    whole: Recording
    indices: tuple[int, ...]

    @property
    def path(self) -> Path:
        return self.whole.path

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def sha256(self) -> str:
        return self.whole.sha256

    @property
    def ids(self) -> tuple[tuple[int, int], ...]:
        return tuple(self.whole.ids[k] for k in self.indices)

    @property
    def stamps_ns(self) -> tuple[int, ...]:
        return tuple(self.whole.stamps_ns[k] for k in self.indices)

    def frames(self, only: Collection[int] | None = None) -> Iterator[Frame]:
        """The chosen frames; `only` counts in the selection."""
        wanted = range(len(self.indices)) if only is None else only
        return self.whole.frames({self.indices[k] for k in wanted if 0 <= k < len(self.indices)})

    def __len__(self) -> int:
        return len(self.indices)

    def truth(self, whole: Truth) -> Truth:
        """The part of the whole recording's ground truth that belongs to the chosen frames."""
        return Truth(frames={name: [frames[k] for k in self.indices] for name, frames in whole.frames.items()},
                     source=whole.source)


def select(recording: Recording, frames: str = "", stride: int = 1) -> Selection:
    """Every `stride`-th frame of a range.

    Args:
      frames: A:B, frames A to B - 1 counted from 0, either may be left out; empty = all.

    Raises:
      ConfigError: the range is malformed or holds no frame.
    """
    if stride < 1:
        raise ConfigError(f"--stride must be at least 1, got {stride}")
    first, last = _range(frames, len(recording))
    return Selection(recording, tuple(range(first, last, stride)))


def _range(text: str, count: int) -> tuple[int, int]:
    start, colon, stop = text.partition(":")
    bounds: Sequence[str] = (start, stop)
    if text and (not colon or any(b and not b.isdigit() for b in bounds)):
        raise ConfigError(f"--frames needs A:B, frames A to B - 1 counted from 0, got {text!r}")
    first, last = int(start or 0), min(int(stop) if stop else count, count)
    if first >= last:
        raise ConfigError(f"--frames {text} holds no frame; the recording has {count}")
    return first, last
