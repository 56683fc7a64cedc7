"""Options that say which recording is meant, and which parts of it."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storm_core.bags.recording import Recording


def add_recording(parser: argparse.ArgumentParser) -> None:
    """PATH, --scene, --image-topic, --depth-topic, --info-topic."""
    parser.add_argument("recording", metavar="PATH",
                        help="BOP scene or dataset, rosbag2, ROS 1 bag, or folder with rgb/, depth/, camera.json")
    parser.add_argument("--scene", type=int, metavar="ID", default=None,
                        help="the one scene of a dataset with several (default: all)")
    for name, what in (("image", "colour images"), ("depth", "aligned depth images"), ("info", "camera_info")):
        parser.add_argument(f"--{name}-topic", metavar="TOPIC", default=None,
                            help=f"bag topic with the {what} (default: found by type and name)")


def recording_from(args: argparse.Namespace) -> "Recording":
    """The recording that the options of `add_recording` describe; raises DatasetError as `open_recording` does."""
    from storm_core.bags.recording import open_recording

    return open_recording(args.recording, image_topic=args.image_topic, depth_topic=args.depth_topic,
                          info_topic=args.info_topic, scene=args.scene)
