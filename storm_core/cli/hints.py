"""What the caller knows about where the object is: --box, --point or --mask."""

import argparse
from pathlib import Path

from storm_core.errors import ConfigError
from storm_core.types import Frame, Hint


def add_hint_options(parser: argparse.ArgumentParser) -> None:
    where = parser.add_argument_group(
        "where the object is", "at most one; holds for every chosen image. Without, the whole image is searched."
    ).add_mutually_exclusive_group()
    where.add_argument("--box", nargs=4, type=float, metavar=("X0", "Y0", "X1", "Y1"), default=None,
                       help="box that holds the object [px], the lower right corner excluded")
    where.add_argument("--point", nargs=2, type=float, metavar=("U", "V"), default=None,
                       help="a pixel on the object [px]")
    where.add_argument("--mask", metavar="FILE", default="",
                       help="image of the frame's size, not black where the object is visible")


def hint_of(args: argparse.Namespace, frame: Frame) -> Hint:
    """The hint for one frame.

    Raises:
      ConfigError: the box is empty or outside the image, or the point is outside.
      DatasetError: the mask cannot be read or has another size.
    """
    from storm_core.evaluation.registration import read_mask

    h, w = frame.depth.shape
    if args.mask:
        mask = read_mask(Path(args.mask), frame)
        if not mask.any():
            raise ConfigError(f"--mask {args.mask} is black everywhere; paint the object white")
        return Hint(mask=mask)
    if args.box is not None:
        x0, y0, x1, y1 = args.box
        if not (x0 < x1 and y0 < y1):
            raise ConfigError(f"--box {x0:g} {y0:g} {x1:g} {y1:g} is empty; give left, top, right and bottom in px")
        if not (x0 < w and y0 < h and x1 > 0 and y1 > 0):
            raise ConfigError(f"--box {x0:g} {y0:g} {x1:g} {y1:g} lies outside the image of {w}x{h} px")
        return Hint(box=(x0, y0, x1, y1))
    if args.point is not None:
        u, v = args.point
        if not (0 <= u <= w - 1 and 0 <= v <= h - 1):
            raise ConfigError(f"--point {u:g} {v:g} lies outside the image of {w}x{h} px")
        return Hint(point=(u, v))
    return Hint()
