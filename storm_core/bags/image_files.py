"""Image files of a scene folder: what their names say, and which depth image belongs to which colour image."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from storm_core.bags.pairing import SLOP_NS, pair_by_stamp
from storm_core.errors import DatasetError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
COLOR_FOLDERS = ("rgb", "gray")
"""Folders of the colour images, the preferred first; some BOP datasets have grey images only."""

_EPOCH_S = 10**9, 2_600_000_000  # seconds since 1970 in the years 2001 to 2052
_UNITS_NS = (10**9, 10**6, 10**3, 1)  # s, ms, us, ns; those years overlap in no two of them
_CLOCK_NS = 10**15  # numbers that large are times in ns, also of a clock that does not count from 1970
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class ImagePair:
    """One frame. time_ns: when it was taken as its name says it, of whatever clock; None when it does not."""

    number: int
    time_ns: int | None
    rgb: Path
    depth: Path

    def stamp_ns(self, start_s: float, rate_hz: float) -> int:
        """Stamp [ns]. start_s: that of frame number 0, and of time 0 of a clock that starts with the recording [s]."""
        if self.time_ns is None:
            return round((start_s + self.number / rate_hz) * 1e9)
        return self.time_ns if self.time_ns >= _CLOCK_NS else round(start_s * 1e9) + self.time_ns


def time_of(number: int) -> int | None:
    """Time [ns] that an image number stands for: seconds, ms, us or ns since 1970 by its size; None for a small one."""
    for unit in _UNITS_NS:
        if _EPOCH_S[0] * 10**9 <= number * unit < _EPOCH_S[1] * 10**9:
            return number * unit
    return number if number >= _CLOCK_NS else None


def is_scene(folder: Path) -> bool:
    """The folder holds images or annotations of a scene."""
    return any((folder / name).is_dir() for name in COLOR_FOLDERS) or (folder / "scene_gt.json").is_file()


def color_folder(scene: Path) -> Path:
    """rgb/ of a scene, or gray/ where there is only that."""
    return next((scene / name for name in COLOR_FOLDERS if (scene / name).is_dir()), scene / COLOR_FOLDERS[0])


def images_by_number(folder: Path) -> dict[int, Path]:
    """{number: file} of the images in a folder: the last number in each name, or their order where those do not differ.

    Raises:
      DatasetError: there is no such folder, or two files have one number.
    """
    return _numbered(_images(folder))


def pair_images(scene: Path) -> list[ImagePair]:
    """Colour and depth images of a scene that belong together, in the order of their times or numbers.

    Files of the same name belong together; else files whose names say that they were taken within SLOP_NS (those
    without partner are left out); else files with the same number in their names.

    Raises:
      DatasetError: a folder is missing or empty, or a colour image has no depth image.
    """
    colors, depths = _images(color_folder(scene)), _images(scene / "depth")
    if not colors:
        raise DatasetError(f"{color_folder(scene)} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return _ordered(_partners(colors, depths, scene / "depth"))


def _images(folder: Path) -> list[Path]:
    """The image files, 2 before 10. Names with a leading dot are notes of file managers."""
    if not folder.is_dir():
        raise DatasetError(f"{folder} is missing; an RGB-D scene needs rgb/ (or gray/) and depth/")
    return sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.name[0] != "."),
                  key=lambda p: ([int(t) if t.isdigit() else t for t in re.split(r"(\d+)", p.stem)], p.name))


def _partners(colors: Sequence[Path], depths: Sequence[Path], folder: Path) -> list[tuple[Path, Path]]:
    by_stem = {p.stem: p for p in depths}
    # Clocks of two sensors agree once in a while; names that mostly agree were given in pairs.
    if 2 * sum(p.stem in by_stem for p in colors) < len(colors):
        times = _times(colors), _times(depths)
        if times[0] is not None and times[1] is not None:
            pairs = pair_by_stamp(*times)
            if not pairs:
                raise DatasetError(f"{colors[0]} has no depth image: none in {folder} was taken within "
                                   f"{SLOP_NS / 1e6:.0f} ms of a colour image, as their names say")
            return [(colors[i], depths[j]) for i, j in pairs]
    numbers = _last_numbers(colors), _last_numbers(depths)
    if numbers[0] is not None and numbers[1] is not None:
        by_number = dict(zip(numbers[1], depths, strict=True))
        found = [by_stem.get(p.stem) or by_number.get(n) for p, n in zip(colors, numbers[0], strict=True)]
    else:
        found = [by_stem.get(p.stem) for p in colors]
    for color, depth in zip(colors, found, strict=True):
        if depth is None:
            raise DatasetError(f"{color} has no depth image; expected {folder / color.stem}.png, or another file there "
                               "with the same number or time in its name")
    return [(color, depth) for color, depth in zip(colors, found, strict=True) if depth is not None]


def _ordered(partners: Sequence[tuple[Path, Path]]) -> list[ImagePair]:
    depth_of = dict(partners)
    numbered = _numbered([color for color, _ in partners])
    times = _times(list(numbered.values())) or [None] * len(numbered)
    pairs = [ImagePair(number, time, color, depth_of[color])
             for (number, color), time in zip(numbered.items(), times, strict=True)]
    if times[0] is None:
        return pairs
    pairs.sort(key=lambda pair: pair.time_ns or 0)
    for a, b in zip(pairs, pairs[1:], strict=False):
        if a.time_ns == b.time_ns:
            raise DatasetError(f"{a.rgb} and {b.rgb} have the same time in their names; remove one")
    return pairs


def _numbered(files: Sequence[Path]) -> dict[int, Path]:
    """{number: file} in the order of the numbers."""
    numbers = _last_numbers(files)
    if numbers is not None:
        return dict(sorted(zip(numbers, files, strict=True)))
    odd = next((p for p in files if not p.stem.isdigit()), files[0])
    if any(p.stem.isdigit() for p in files):
        raise DatasetError(f"{odd} is no number as other images in {odd.parent} are; remove it or give it a number")
    return dict(enumerate(files))


def _last_numbers(files: Sequence[Path]) -> list[int] | None:
    """The last number in each name; None when that is no number of the image: it is missing, a decimal, or repeated."""
    texts = [_number_text(p) for p in files]
    if not all(text.isdigit() for text in texts):
        return None
    first: dict[int, Path] = {}
    for text, file in zip(texts, files, strict=True):
        other = first.setdefault(int(text), file)
        if other is not file:
            if other.stem.isdigit() and file.stem.isdigit():
                raise DatasetError(f"{other} and {file.name} are both image {int(text)}; remove one")
            return None
    return [int(text) for text in texts]


def _times(files: Sequence[Path]) -> list[int] | None:
    """The time [ns] in each name: a decimal in seconds, or as `time_of`; None when there are none."""
    texts = [_number_text(p) for p in files]
    times = [int(Decimal(t) * 10**9) if "." in t else time_of(int(t)) if t else None for t in texts]
    known = [t for t in times if t is not None]
    if known and len(known) < len(times):
        odd = files[times.index(None)]
        raise DatasetError(f"{odd} has no time in its name, other images in {odd.parent} have one; name all alike")
    return known or None


def _number_text(file: Path) -> str:
    return (_NUMBER.findall(file.stem) or [""])[-1]
