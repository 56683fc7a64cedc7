"""Small recordings of noise with known poses, in every format that is read."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from storm_core.bags import messages
from storm_core.bags.message_types import typestore
from storm_core.bags.write import DEPTH_TOPIC, IMAGE_TOPIC, INFO_TOPIC
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.pose import se3_exp
from storm_core.types import Frame

CAMERA = PinholeCamera(96, 64, 90.0, 91.0, 47.3, 31.8)
START = 1_700_000_000_000_000_000
PERIOD = 33_333_333
N = 6

Stamped = tuple[str, int, Any]
"""topic, time of recording [ns], message"""


def frames(n: int = N) -> list[Frame]:
    rng = np.random.default_rng(1)
    return [Frame(rgb=rng.integers(0, 255, (64, 96, 3), dtype=np.uint8), camera=CAMERA,
                  depth=np.round(rng.uniform(0.3, 2.0, (64, 96)), 3).astype(np.float32),
                  stamp_ns=START + k * PERIOD, frame_id="cam") for k in range(n)]


def track(n: int = N) -> dict[int, np.ndarray]:
    """{stamp_ns: cam_from_obj} of an object that moves and turns."""
    return {START + k * PERIOD: se3_exp([0.01 * k, -0.01, 0.5, 0.3, -0.2, 0.02 * k]) for k in range(n)}


def images(items: Iterable[Frame]) -> list[Stamped]:
    """The camera's messages."""
    out: list[Stamped] = []
    for frame in items:
        at = messages.header(frame.stamp_ns, frame.frame_id)
        depth = np.round(frame.depth * 1e3).astype(np.uint16)
        out += [(IMAGE_TOPIC, frame.stamp_ns, messages.image(at, frame.rgb, "rgb8")),
                (DEPTH_TOPIC, frame.stamp_ns, messages.image(at, depth, "16UC1")),
                (INFO_TOPIC, frame.stamp_ns, messages.camera_info(at, frame.camera))]
    return out


def tf(stamp: int, parent: str, children: Mapping[str, np.ndarray], topic: str = "/tf") -> Stamped:
    at = messages.header(stamp, parent)
    return topic, stamp, messages.transforms(messages.transform(at, c, pose) for c, pose in children.items())


def poses(topic: str, track: Mapping[int, np.ndarray], frame_id: str = "cam") -> list[Stamped]:
    return [(topic, s, messages.pose_stamped(messages.header(s, frame_id), pose)) for s, pose in track.items()]


def write_rosbag2(path: Path, items: Iterable[Stamped], storage: str = "mcap", compression: str = "") -> Path:
    """compression: '', MESSAGE, FILE or STORAGE (mcap only), always zstd."""
    writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
    if compression:
        writer.set_compression(CompressionMode[compression], CompressionFormat.ZSTD)
    connections: dict[str, Any] = {}
    with writer:
        for topic, time, message in items:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=typestore())
            writer.write(connections[topic], time, typestore().serialize_cdr(message, kind))
    return path


def write_rosbag1(path: Path, items: Iterable[Stamped]) -> Path:
    """The same messages in the old format: lower-case fields become upper-case, headers get numbers."""
    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage"))
    connections: dict[str, Any] = {}
    with Writer1(path) as writer:
        for topic, time, message in items:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic], time, store.serialize_ros1(_old(message, store), kind))
    return path


def _old(message: Any, store: Any) -> Any:
    kind = getattr(message, "__msgtype__", None)
    if isinstance(message, list):
        return [_old(item, store) for item in message]
    if kind is None:
        return message
    fields = [_old(getattr(message, name), store) for name in message.__dataclass_fields__ if name != "__msgtype__"]
    return store.types[kind](*([0, *fields] if kind == "std_msgs/msg/Header" else fields))
