"""Write RGB-D recordings and their ground truth as rosbag2 (mcap or sqlite3)."""

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError

from storm_core.bags import messages
from storm_core.bags.message_types import typestore
from storm_core.errors import DatasetError, SetupError
from storm_core.types import Frame

IMAGE_TOPIC = "/camera/color/image_raw"
DEPTH_TOPIC = "/camera/aligned_depth_to_color/image_raw"
INFO_TOPIC = "/camera/color/camera_info"
TRUTH_PREFIX = "/ground_truth/"
STORAGES = ("mcap", "sqlite3")


class BagWriter:
    """A rosbag2 recording under construction; used as a context manager.

    The bag is built beside its final place and moved there at the end; an exception leaves nothing behind.

        with BagWriter(path) as bag:
            bag.frame(frame)
            bag.truth("cube", frame.stamp_ns, cam_from_obj, frame.frame_id)

    Attributes:
      path: folder of the finished bag; must not exist yet.
    """

    def __init__(self, path: Path | str, *, storage: str = "mcap", compress: bool = True) -> None:
        """Args:
          storage: `mcap` or `sqlite3`.
          compress: zstd; inside the file for mcap (plays directly), message by message for sqlite3.
        """
        if storage not in STORAGES:
            raise DatasetError(f"bag storage must be one of {', '.join(STORAGES)}, got {storage!r}")
        self.path = Path(path)
        if self.path.exists():
            raise DatasetError(f"{self.path} exists already; remove it or choose another name for the bag")
        self._partial = self.path.with_name(f".{self.path.name}.partial")
        self._storage, self._compress = storage, compress
        self._types = typestore()
        self._connections: dict[str, Any] = {}
        self._writer: Writer | None = None

    def __enter__(self) -> "BagWriter":
        try:
            if self._partial.exists():
                shutil.rmtree(self._partial)
            # rosbags names the data file after its folder, so the folder inside carries the final name already.
            self._writer = Writer(self._partial / self.path.name, version=9,
                                  storage_plugin=StoragePlugin[self._storage.upper()])
            if self._compress:
                mode = CompressionMode.STORAGE if self._storage == "mcap" else CompressionMode.MESSAGE
                self._writer.set_compression(mode, CompressionFormat.ZSTD)
            self._writer.open()
        except (OSError, WriterError) as error:
            shutil.rmtree(self._partial, ignore_errors=True)
            raise SetupError(f"cannot write a bag to {self.path}: {error}; choose a writable folder") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        assert self._writer is not None
        try:
            self._writer.close()
            if kind is None:
                (self._partial / self.path.name).rename(self.path)
        except (OSError, WriterError) as failure:
            raise SetupError(f"cannot finish the bag {self.path}: {failure}; is the disk full?") from failure
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def frame(self, frame: Frame, *, depth_unit: str = "mm") -> None:
        """Write colour, aligned depth (`mm`: 16UC1, `m`: 32FC1) and camera_info of one frame."""
        header = messages.header(frame.stamp_ns, frame.frame_id)
        self.message(IMAGE_TOPIC, frame.stamp_ns, messages.image(header, frame.rgb, "rgb8"))
        if depth_unit == "mm":
            depth = np.clip(np.round(frame.depth * 1e3), 0, 65535).astype(np.uint16)
            self.message(DEPTH_TOPIC, frame.stamp_ns, messages.image(header, depth, "16UC1"))
        else:
            self.message(DEPTH_TOPIC, frame.stamp_ns, messages.image(header, frame.depth, "32FC1"))
        self.message(INFO_TOPIC, frame.stamp_ns, messages.camera_info(header, frame.camera))

    def truth(self, object_name: str, stamp_ns: int, cam_from_obj: NDArray[np.float64], frame_id: str) -> None:
        """Write one ground-truth pose to /ground_truth/<object>."""
        self.message(TRUTH_PREFIX + topic_name(object_name), stamp_ns, messages.pose_stamped(
            messages.header(stamp_ns, frame_id), cam_from_obj))

    def message(self, topic: str, stamp_ns: int, message: Any) -> None:
        """Write any message of the typestore, as received at `stamp_ns`."""
        assert self._writer is not None, "use BagWriter as a context manager"
        kind = message.__msgtype__
        try:
            if topic not in self._connections:
                self._connections[topic] = self._writer.add_connection(topic, kind, typestore=self._types)
            self._writer.write(self._connections[topic], stamp_ns, self._types.serialize_cdr(message, kind))
        except OSError as error:
            raise SetupError(f"cannot write to the bag {self.path}: {error}; is the disk full?") from error


def topic_name(object_name: str) -> str:
    """An object name as a ROS topic segment: `1` -> `obj_1`, `soup can` -> `soup_can`."""
    text = re.sub(r"__+", "_", re.sub(r"[^A-Za-z0-9_]", "_", object_name))
    return text if text[:1].isalpha() else f"obj_{text.lstrip('_')}"


def write_recording(path: Path | str, frames: Iterable[Frame], truths: Mapping[str, Mapping[int, NDArray[np.float64]]],
                    *, storage: str = "mcap") -> None:
    """A whole recording with its ground truth.

    Args:
      truths: object name -> {stamp_ns: cam_from_obj (4, 4) [m]}; a frame without an entry gets no ground truth.
    """
    with BagWriter(path, storage=storage) as bag:
        for frame in frames:
            bag.frame(frame)
            for name, poses in truths.items():
                if frame.stamp_ns in poses:
                    bag.truth(name, frame.stamp_ns, poses[frame.stamp_ns], frame.frame_id)
