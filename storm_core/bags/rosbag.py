"""Recordings in rosbag2 (mcap, sqlite3, zstd) and ROS 1 bags, read without ROS."""

import struct
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import apsw
import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag1 import ReaderError as Reader1Error
from rosbags.rosbag2 import ReaderError as Reader2Error
from rosbags.serde import SerdeError
from rosbags.typesys import TypesysError
from ruamel.yaml import YAMLError

from storm_core.bags.camera_topics import ImageTopic, choose_topics, raw_topic
from storm_core.bags.decode import decode_color, decode_depth, kind_of
from storm_core.bags.lens import lens_of
from storm_core.bags.message_types import typestore
from storm_core.bags.pairing import SLOP_NS, pair_by_stamp
from storm_core.bags.recording import BAG_SUFFIXES, fingerprint
from storm_core.errors import DatasetError, StormError
from storm_core.types import Frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DEFAULT_FRAME = "camera_color_optical_frame"
"""Frame of images whose header names none."""

# What the readers raise on damaged files; they do not wrap what SQLite, zstd or their own parsing of garbage say.
_DAMAGE = (AnyReaderError, Reader1Error, Reader2Error, SerdeError, TypesysError, apsw.Error, zstd.ZstdError,
           struct.error, OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, AssertionError,
           ArithmeticError, MemoryError, RuntimeError, YAMLError)
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_INFO = "sensor_msgs/msg/CameraInfo"
_NOT_A_CAMERA = ("mask", "overlay", "infra", "debug", "object_pose")


class BagRecording:
    """Frames from a bag; see `Recording`. Colour and depth are paired by their header stamps.

    Attributes:
      frame_id: tf frame of the images.
    """

    def __init__(self, path: Path, *, image_topic: str | None, depth_topic: str | None, info_topic: str | None) -> None:
        self.path, self.name = path, path.name.split(".")[0]
        with open_bag(path) as reader:
            self.image_topic, self.depth_topic = _image_topics(reader, path, image_topic, depth_topic)
            self.info_topic = _info_topic(reader, path, self.image_topic, info_topic)
            info, depth_info = _first(reader, path, self.info_topic), self._depth_info(reader)
            rectified = "rect" in raw_topic(self.image_topic).rsplit("/", 1)[-1]
            self._lens = lens_of(info, self.info_topic, rectified=rectified)
            self._require_aligned(info, depth_info)
            stamps = {topic: _stamps(reader, topic) for topic in (self.image_topic, self.depth_topic)}
            message = _first(reader, path, self.image_topic)
            self.frame_id = _frame_of(message) or DEFAULT_FRAME
            first = decode_color(message, self.image_topic)
            self._require_size(first.shape[1], first.shape[0], self.image_topic)
            depth = decode_depth(_first(reader, path, self.depth_topic), self.depth_topic)
            self._require_depth_size(depth.shape[1], depth.shape[0])
        self._pairs = pair_by_stamp(stamps[self.image_topic], stamps[self.depth_topic])
        if not self._pairs:
            raise DatasetError(f"{path}: no image on {self.image_topic} has a depth image on {self.depth_topic} within "
                               f"{SLOP_NS / 1e6:.0f} ms; were both recorded with the same clock?")
        self.stamps_ns = tuple(stamps[self.image_topic][i] for i, _ in self._pairs)
        self.ids = tuple((0, k) for k in range(len(self._pairs)))

    @cached_property
    def sha256(self) -> str:
        files = [self.path] if self.path.is_file() else [p for p in self.path.iterdir() if p.name == "metadata.yaml"
                                                         or p.name.endswith(BAG_SUFFIXES)]
        return fingerprint(self.path, files)

    def frames(self, only: Collection[int] | None = None) -> Iterator[Frame]:
        last = len(self._pairs) - 1 if only is None else max(only, default=-1)
        # Messages arrive in recording order, so one half of a pair may wait some messages for the other half.
        color_of, depth_of = {i: k for k, (i, _) in enumerate(self._pairs)}, {j: k for k, (_, j) in
                                                                             enumerate(self._pairs)}
        waiting: dict[int, dict[str, Any]] = {}
        due = 0
        with open_bag(self.path) as reader:
            counts = {self.image_topic: 0, self.depth_topic: 0}
            for topic, message in _messages(reader, [self.image_topic, self.depth_topic]):
                k = (color_of if topic == self.image_topic else depth_of).get(counts[topic])
                counts[topic] += 1
                if k is not None:
                    waiting.setdefault(k, {})[topic] = message
                while len(waiting.get(due, ())) == 2:
                    pair = waiting.pop(due)
                    if only is None or due in only:
                        yield self._frame(due, pair)
                    due += 1
                if due > last:
                    return

    def __len__(self) -> int:
        return len(self._pairs)

    def _frame(self, k: int, messages: dict[str, Any]) -> Frame:
        color = messages[self.image_topic]
        rgb = decode_color(color, self.image_topic)
        depth = decode_depth(messages[self.depth_topic], self.depth_topic)
        self._require_size(rgb.shape[1], rgb.shape[0], self.image_topic)
        self._require_depth_size(depth.shape[1], depth.shape[0])
        rgb, depth = self._lens.undistort(rgb, depth)
        return Frame(rgb=rgb, depth=depth, camera=self._lens.camera, stamp_ns=self.stamps_ns[k],
                     frame_id=self.frame_id)

    def _depth_info(self, reader: AnyReader) -> Any | None:
        topic = _sibling(self.depth_topic)
        return _first(reader, self.path, topic) if topic in reader.topics and reader.topics[topic].msgcount else None

    def _require_size(self, w: int, h: int, topic: str) -> None:
        camera = self._lens.camera
        if (w, h) != (camera.width, camera.height):
            raise DatasetError(f"{self.path}: images on {topic} are {w}x{h} but {self.info_topic} says {camera.width}x"
                               f"{camera.height}; choose the matching camera_info with --info-topic")

    def _require_depth_size(self, w: int, h: int) -> None:
        camera = self._lens.camera
        if (w, h) != (camera.width, camera.height):
            raise DatasetError(f"{self.path}: depth on {self.depth_topic} is {w}x{h} but colour is {camera.width}x"
                               f"{camera.height}; record depth aligned with colour (RealSense: align_depth.enable) or "
                               "choose an aligned topic with --depth-topic")

    def _require_aligned(self, info: Any, depth_info: Any | None) -> None:
        """Depth whose own intrinsics differ from colour's, at the same size, was not registered to colour."""
        if depth_info is None or (depth_info.width, depth_info.height) != (info.width, info.height):
            return
        color_k, depth_k = (np.asarray(_k(i), float) for i in (info, depth_info))
        if np.abs(color_k - depth_k).max() > 0.01 * color_k[0]:
            raise DatasetError(f"{self.path}: depth on {self.depth_topic} has its own intrinsics (fx {depth_k[0]:.1f}, "
                               f"colour has {color_k[0]:.1f}), so it is not aligned with colour; choose an aligned "
                               "topic with --depth-topic")


@contextmanager
def open_bag(path: Path) -> Iterator[AnyReader]:
    """An open reader; everything that a damaged or unfinished bag makes the readers raise becomes a DatasetError.

    A part of a bag that cannot be read without the rest is refused with a word about what is missing.
    """
    _require_described(path)
    try:
        with AnyReader([path], default_typestore=typestore()) as reader:
            _require_plain_messages(reader, path)
            yield reader
    except StormError:
        raise
    except _DAMAGE as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"bag {path} cannot be read to its end: {text}; it is damaged or was not closed properly "
                           "(`ros2 bag reindex` repairs an unfinished one)") from error


def _require_described(path: Path) -> None:
    """DatasetError for storage files that only the metadata.yaml of their bag makes readable, when it is not there."""
    described = (path if path.is_dir() else path.parent) / "metadata.yaml"
    if path.is_file():
        if path.name.endswith(".zstd"):
            remedy = (f"pass the folder {path.parent}" if described.is_file()
                      else f"decompress it (`zstd -d {path.name}`) and pass the {path.stem}")
            raise DatasetError(f"{path} is a compressed file of a rosbag2, whose metadata.yaml says how it was "
                               f"compressed; {remedy}")
    elif old := sorted(path.glob("*.bag")):
        raise DatasetError(f"{path} holds ROS 1 bags, which are single files; pass one of them, e.g. {old[0]}")
    elif not described.is_file():
        files = sorted(p for p in path.iterdir() if p.name.endswith((".mcap", ".db3")))
        alone = f", or pass its file {files[0]}" if len(files) == 1 else ""
        raise DatasetError(f"{path} has no metadata.yaml, which says what a rosbag2 holds; `ros2 bag reindex {path}` "
                           f"writes it{alone}")


def _require_plain_messages(reader: AnyReader, path: Path) -> None:
    """DatasetError for a storage file with compressed messages: only the metadata.yaml of its bag tells the reader."""
    if path.is_dir() or not reader.is2:
        return
    _, _, raw = next(reader.messages(), (None, 0, b""))
    if bytes(raw[:4]) == _ZSTD_MAGIC:
        remedy = (f"pass the folder {path.parent}" if (path.parent / "metadata.yaml").is_file()
                  else "pass the folder of the bag with its metadata.yaml")
        raise DatasetError(f"the messages in {path} are compressed, which only the metadata.yaml of the bag says; "
                           f"{remedy}")


def list_topics(reader: AnyReader) -> str:
    """`/a (pkg/msg/Type), ...` for messages to the user."""
    return ", ".join(f"{name} ({info.msgtype})" for name, info in sorted(reader.topics.items())) or "no topics"


def _messages(reader: AnyReader, topics: list[str]) -> Iterator[tuple[str, Any]]:
    connections = [c for c in reader.connections if c.topic in topics]
    for connection, _, raw in reader.messages(connections=connections):
        yield connection.topic, reader.deserialize(raw, connection.msgtype)


def _first(reader: AnyReader, path: Path, topic: str) -> Any:
    for _, message in _messages(reader, [topic]):
        return message
    raise DatasetError(f"bag {path}: topic {topic} has no message; the bag is truncated or its recording failed")


def _stamps(reader: AnyReader, topic: str) -> list[int]:
    """Header stamps of a topic [ns], in recording order; recording times where the headers carry no stamp."""
    connections = [c for c in reader.connections if c.topic == topic]
    stamps, recorded = [], []
    for _, time_ns, raw in reader.messages(connections=connections):
        # The header comes first in every image message: sec and nanosec follow 4 bytes of CDR (ROS 1: sequence) head.
        sec, nanosec = struct.unpack_from("<iI", raw, 4)
        stamps.append(sec * 10**9 + nanosec)
        recorded.append(time_ns)
    expected = reader.topics[topic].msgcount
    if len(stamps) < expected:
        raise DatasetError(f"bag is truncated: {topic} should have {expected} messages, only {len(stamps)} are there")
    return stamps if all(stamps) else recorded


def _k(info: Any) -> Any:
    return info.k if hasattr(info, "k") else info.K


def _sibling(image_topic: str) -> str:
    """/camera/color/image_raw -> /camera/color/camera_info."""
    return raw_topic(image_topic).rpartition("/")[0] + "/camera_info"


def _require_topic(reader: AnyReader, path: Path, topic: str, types: tuple[str, ...], option: str) -> str:
    if topic not in reader.topics or reader.topics[topic].msgtype not in types:
        raise DatasetError(f"{path} has no topic {topic} of type {' or '.join(types)} ({option}); it has: "
                           f"{list_topics(reader)}")
    return topic


def _image_topics(reader: AnyReader, path: Path, color: str | None, depth: str | None) -> tuple[str, str]:
    """The colour and the depth topic: as given, or those of one camera, found by encoding, frame and name."""
    found: dict[str, list[ImageTopic]] = {"color": [], "depth": []}
    for name, info in reader.topics.items():
        if info.msgtype in _IMAGES and info.msgcount and not any(word in name for word in _NOT_A_CAMERA):
            message = _first(reader, path, name)
            found.setdefault(kind_of(message), []).append(ImageTopic(name, _frame_of(message)))
    for given, kind, what, option in ((color, "color", "colour", "--image-topic"),
                                      (depth, "depth", "depth", "--depth-topic")):
        if given is not None:
            _require_topic(reader, path, given, _IMAGES, option)
            found[kind] = [ImageTopic(given, _frame_of(_first(reader, path, given)))]
        if not found[kind]:
            raise DatasetError(f"{path} has no {what} images (sensor_msgs/msg/Image); name a topic with {option}; it "
                               f"has: {list_topics(reader)}")
    if color is not None and depth is not None:
        return color, depth
    return choose_topics(path, found["color"], found["depth"])


def _frame_of(message: Any) -> str:
    return message.header.frame_id.lstrip("/")


def _info_topic(reader: AnyReader, path: Path, image_topic: str, given: str | None) -> str:
    if given is not None:
        return _require_topic(reader, path, given, (_INFO,), "--info-topic")
    infos = [name for name, info in reader.topics.items() if info.msgtype == _INFO and info.msgcount]
    if _sibling(image_topic) in infos:
        return _sibling(image_topic)
    if len(infos) == 1:
        return infos[0]
    raise DatasetError(f"{path} has no camera_info for {image_topic} (expected {_sibling(image_topic)}); choose one "
                       f"with --info-topic; it has: {list_topics(reader)}")
