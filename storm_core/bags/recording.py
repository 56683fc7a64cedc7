"""Recordings: one way to read BOP scenes, plain folders, rosbag2 and ROS 1 bags as synchronised RGB-D frames.

Ground truth is never read here; see `storm_core.bags.truth`.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from storm_core.errors import DatasetError
from storm_core.types import Frame

FRAME_RATE = 30.0
"""Assumed rate [Hz] of image folders that carry no stamps."""

BAG_SUFFIXES = (".bag", ".mcap", ".mcap.zstd", ".db3", ".db3.zstd")
_BLOCK = 1 << 20


class Recording(Protocol):
    """A finite sequence of frames in the order of their stamps.

    Attributes:
      path: what was opened. name: short name for reports.
      ids: (scene_id, im_id) of every frame, in order; bags have scene 0 and the frame number.
      stamps_ns: stamp of every frame [ns], increasing.
      sha256: fingerprint of the files the frames come from (names and contents), not of ground truth;
        made when it is first asked for, which reads them all.
    """

    path: Path
    name: str
    ids: tuple[tuple[int, int], ...]
    stamps_ns: tuple[int, ...]
    sha256: str

    def frames(self, only: Collection[int] | None = None) -> Iterator[Frame]:
        """Read the frames one by one; may be called again to start over.

        Args:
          only: indices of the frames that are wanted, in their order; None = all. The others are not decoded.
        """
        ...

    def __len__(self) -> int: ...


def open_recording(path: Path | str, *, image_topic: str | None = None, depth_topic: str | None = None,
                   info_topic: str | None = None, scene: int | None = None) -> Recording:
    """Open whatever `path` is; everything that can be checked without decoding all images is checked here.

    Args:
      path: BOP scene, split or dataset folder, plain folder (rgb/, depth/, camera.json), rosbag2 folder or file,
        ROS 1 bag file. Image files belong together as `image_files.pair_images` says.
      image_topic, depth_topic, info_topic: topics of a bag; None = found by type and name.
      scene: number of the only BOP scene to read; None = all, one after the other. Nothing else has a number.

    Raises:
      DatasetError: nothing readable there, or a part is missing, damaged or contradicts another.
    """
    from storm_core.bags.folder import ImageRecording, scene_folders
    from storm_core.bags.rosbag import BagRecording

    path = Path(path)
    if not path.exists():
        raise DatasetError(f"{path} does not exist; pass a BOP scene, a bag or a folder with rgb/, depth/, camera.json")
    if is_bag(path):
        if scene is not None:
            raise DatasetError(f"{path} is a bag, which has no scenes; leave out --scene {scene}")
        return BagRecording(path, image_topic=image_topic, depth_topic=depth_topic, info_topic=info_topic)
    topics = [t for t in (image_topic, depth_topic, info_topic) if t]
    if topics:
        raise DatasetError(f"{path} is a folder of images, not a bag; remove the topic {topics[0]}")
    return ImageRecording(path, scene_folders(path, scene))


def is_bag(path: Path) -> bool:
    """A ROS 1 bag file, a rosbag2 file or a rosbag2 folder (metadata.yaml or a storage file in it)."""
    if path.is_file():
        return path.name.endswith(BAG_SUFFIXES)
    return (path / "metadata.yaml").exists() or any(p.name.endswith(BAG_SUFFIXES) for p in path.iterdir())


def fingerprint(root: Path, files: Iterable[Path]) -> str:
    """Hash of names, sizes and contents of files: different whenever the recording is."""
    digest = hashlib.sha256()
    for file in sorted(files):
        relative = file.relative_to(root).as_posix() if file != root else file.name
        digest.update(f"{relative}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
