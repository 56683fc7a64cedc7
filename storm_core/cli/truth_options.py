"""Options that say where the ground truth of a recording is."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from storm_core.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from storm_core.bags.recording import Recording
    from storm_core.bags.truth import TruthOptions

Known = TypeVar("Known")


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


def check_truth(recording: "Recording", options: "TruthOptions") -> None:
    """Whether what the options name is there and can be read, before hours of work that it would be lost after.

    Nothing of it is kept: what is predicted must not know it. How it fits the frames is only found out afterwards.

    Raises:
      DatasetError: a file, folder, frame or topic is missing or damaged, or a recording without topics is asked for
        one.
    """
    from storm_core.bags.bag_truth import tf_truth
    from storm_core.bags.pose_topics import SINGLE_TYPES, require_topic
    from storm_core.bags.rosbag import BagRecording, open_bag
    from storm_core.bags.trajectory import read_tum
    from storm_core.bop.dataset import read_annotations

    for file in options.tum.values():
        read_tum(file)
    if options.bop is not None:
        read_annotations(options.bop)
    if not (options.topics or options.tf):
        return
    if not isinstance(recording, BagRecording):
        raise DatasetError(f"{recording.path} is a folder of images: it has no topics and no tf with ground truth; "
                           "remove --gt-topic and --gt-tf")
    if options.tf:
        tf_truth(recording, options.tf)
    with open_bag(recording.path) as reader:
        for topic in (options.topics or {}).values():
            require_topic(reader, recording.path, topic, SINGLE_TYPES)


def truth_afterwards(load: Callable[[], Known]) -> tuple[Known | None, str]:
    """What ground truth says about a finished run, or None and what is wrong with it: that must not cost the run."""
    try:
        return load(), ""
    except DatasetError as error:
        return None, str(error)


def require_truth(fault: str, target: Path) -> None:
    """Raise DatasetError, after everything else has been written, when `truth_afterwards` found a fault."""
    if fault:
        raise DatasetError(f"what was predicted is in {target}, but without figures of accuracy: {fault}")


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
