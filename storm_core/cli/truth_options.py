"""Options that say where the ground truth of a recording is."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from storm_core.errors import ConfigError

if TYPE_CHECKING:
    from storm_core.bags.truth import TruthOptions


def add_truth(parser: argparse.ArgumentParser) -> None:
    """--truth, --gt-topic, --gt-tf, --gt-tum, --gt-bop, --world-frame."""
    parser.add_argument("--truth", choices=("auto", "none"), default="auto",
                        help="auto: evaluate when there is ground truth; none: never look for it, figures of "
                             "self-consistency only (default: auto)")
    parser.add_argument("--gt-topic", action="append", metavar="[NAME:=]TOPIC", default=[],
                        help="topic of the bag with the ground truth of an object: PoseStamped, "
                             "PoseWithCovarianceStamped or TransformStamped; may be repeated "
                             "(default: /ground_truth/<object>)")
    parser.add_argument("--gt-tf", action="append", metavar="[NAME:=][PARENT:]CHILD", default=[],
                        help="ground truth from the tf of the bag: the frame of the object (CHILD) in that of the "
                             "camera (PARENT, default: the frame of the images), along any chain; may be repeated")
    parser.add_argument("--gt-tum", action="append", metavar="[NAME:=]FILE", default=[],
                        help="ground truth of an object: TUM trajectory of its pose in the camera [s, m]; may be "
                             "repeated")
    parser.add_argument("--gt-bop", metavar="DIR", default="",
                        help="BOP scene whose scene_gt.json belongs to the frames of the recording, one by one or by "
                             "DIR/stamps.txt (lines `image_number stamp_in_seconds`)")
    parser.add_argument("--world-frame", metavar="FRAME", default="",
                        help="the objects do not move in this frame: measure how far their poses spread in it; tf "
                             "frame of a bag, or `world` for the scene_camera.json of a BOP scene")


def truth_options(args: argparse.Namespace, names: Sequence[str]) -> "TruthOptions":
    """What the options of `add_truth` say about these objects.

    Raises:
      ConfigError: an object is unknown, or it is not said which one is meant.
    """
    from storm_core.bags.truth import TruthOptions

    tf = {}
    for name, text in (named("--gt-tf", args.gt_tf, names) or {}).items():
        parent, colon, child = text.partition(":")
        if colon and not child:
            raise ConfigError(f"--gt-tf {text}: no frame of the object; write PARENT:CHILD or CHILD")
        tf[name] = (parent, child) if colon else ("", text)
    tum = {name: Path(file) for name, file in (named("--gt-tum", args.gt_tum, names) or {}).items()}
    return TruthOptions(topics=named("--gt-topic", args.gt_topic, names), tf=tf, tum=tum,
                        bop=Path(args.gt_bop) if args.gt_bop else None)


def named(option: str, given: Sequence[str], names: Sequence[str]) -> dict[str, str] | None:
    """{object name: value} from [NAME:=]VALUE texts, None when nothing was given."""
    out: dict[str, str] = {}
    for text in given:
        name, arrow, value = text.partition(":=")
        if not arrow:
            if len(names) != 1:
                raise ConfigError(f"{option} {text}: say which object it is for, e.g. {names[0]}:={text}")
            name, value = names[0], text
        if name not in names:
            raise ConfigError(f"{option} {text}: {name!r} is not one of the objects {', '.join(names)}")
        if name in out:
            raise ConfigError(f"{option} {text}: {name} was given already ({out[name]})")
        out[name] = value
    return out or None
