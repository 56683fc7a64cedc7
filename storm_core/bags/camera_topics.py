"""Which colour and which depth topic of a bag show the same camera, by their namespaces and the frames of images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storm_core.errors import DatasetError

TRANSPORTS = ("compressed", "compressedDepth")
"""What image_transport appends to the topic of the raw image."""

_NO_CAMERA = {"", "color", "colour", "rgb", "depth", "aligned", "registered", "to", "stereo", "image", "raw", "rect",
              "rectified"}
"""Parts of a topic's name that say what is seen, not by which camera."""


@dataclass(frozen=True)
class ImageTopic:
    """A topic with images. frame_id: tf frame of its images, empty when they do not say it."""

    name: str
    frame_id: str


Rank = Callable[[ImageTopic], tuple[Any, ...]]
"""Smallest for the topic that is preferred."""


def raw_topic(topic: str) -> str:
    """The topic without what a transport appends: /camera/color/image_raw/compressed -> /camera/color/image_raw."""
    head, _, last = topic.rpartition("/")
    return head if last in TRANSPORTS else topic


def choose_topics(path: Path, colors: Sequence[ImageTopic], depths: Sequence[ImageTopic]) -> tuple[str, str]:
    """The colour and the depth topic of the one camera that has both.

    Args:
      path: bag, for messages. colors, depths: at least one each; a topic that was asked for stands alone.

    Raises:
      DatasetError: there is no such camera, or more than one.
    """
    pairs = [(color, _nearest(path, color, fitting, _depth_rank, "--depth-topic"))
             for color in colors if (fitting := _fitting(color, depths))]
    if not pairs:
        raise _strangers(path, colors, depths)
    if len({depth.name for _, depth in pairs}) > 1:
        cameras = "; ".join(f"{color.name} with {depth.name}" for color, depth in pairs)
        raise DatasetError(f"{path} has images of several cameras: {cameras}; choose one with --image-topic")
    depth = pairs[0][1]
    return _nearest(path, depth, [color for color, _ in pairs], _color_rank, "--image-topic").name, depth.name


def _color_rank(topic: ImageTopic) -> tuple[bool, bool, bool, str]:
    n = topic.name
    return n.endswith("/compressed"), "color" not in n and "rgb" not in n, "rect" not in n, n


def _depth_rank(topic: ImageTopic) -> tuple[bool, bool, str]:
    n = topic.name
    return "aligned" not in n and "registered" not in n, n.endswith("/compressedDepth"), n


def _nearest(path: Path, one: ImageTopic, others: Sequence[ImageTopic], rank: Rank, option: str) -> ImageTopic:
    """The topic nearest to `one` by frame and namespace; among equals the one that `rank` puts first."""
    nearest = min(_distance(one, other) for other in others)
    equals = sorted((other for other in others if _distance(one, other) == nearest), key=rank)
    rival = next((other for other in equals if not _nested(_camera(equals[0]), _camera(other))), None)
    if rival is not None:
        raise DatasetError(f"{path} has images of several cameras: {equals[0].name} and {rival.name} both fit "
                           f"{one.name}; choose one with {option}")
    return equals[0]


def _distance(a: ImageTopic, b: ImageTopic) -> tuple[bool, int, int]:
    """Small for topics of one camera: images registered to each other share a frame, drivers share a namespace."""
    return (_frames_differ(a, b), -_common(_folders(a), _folders(b)),
            -_common(_words(raw_topic(a.name)), _words(raw_topic(b.name))))


def _fitting(color: ImageTopic, depths: Sequence[ImageTopic]) -> list[ImageTopic]:
    """The depth topics that nothing assigns to another camera."""
    return [d for d in depths if not _frames_differ(color, d) or _nested(_camera(color), _camera(d))]


def _frames_differ(a: ImageTopic, b: ImageTopic) -> bool:
    return bool(a.frame_id and b.frame_id) and a.frame_id != b.frame_id


def _folders(topic: ImageTopic) -> list[str]:
    return raw_topic(topic.name).split("/")[1:-1]


def _camera(topic: ImageTopic) -> list[str]:
    """Words of the namespace that name the camera: /robot/wrist/aligned_depth_to_color/image_raw -> robot, wrist."""
    return _words("/".join(_folders(topic)))


def _words(name: str) -> list[str]:
    return [word for word in name.replace("/", "_").split("_") if word not in _NO_CAMERA]


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Number of leading items that both have."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _nested(a: Sequence[str], b: Sequence[str]) -> bool:
    return _common(a, b) == min(len(a), len(b))


def _strangers(path: Path, colors: Sequence[ImageTopic], depths: Sequence[ImageTopic]) -> DatasetError:
    color, depth = colors[0], depths[0]
    return DatasetError(f"{path}: colour on {color.name} (frame {color.frame_id}) and depth on {depth.name} (frame "
                        f"{depth.frame_id}) come from different cameras; name both topics of one camera with "
                        "--image-topic and --depth-topic")
