"""Recordings made of image files: BOP scenes (one or several) and plain folders with rgb/, depth/ and camera.json."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storm_core.bags.image_files import is_scene, pair_images
from storm_core.bags.recording import FRAME_RATE, fingerprint
from storm_core.bop.cameras import SCENE_CAMERA, CameraEntry, parse_camera, read_json, scene_cameras
from storm_core.errors import DatasetError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.depth import register_depth
from storm_core.types import Frame

SCENE_GAP_S = 10.0
"""Pause between the last frame of one scene and the first of the next, so that stamps always increase [s]."""
_FIRST_STAMP_S = 1.0  # stamp zero means "no stamp" in ROS


@dataclass(frozen=True)
class _Image:
    """Files and cameras of one frame."""

    scene_id: int
    im_id: int
    stamp_ns: int
    rgb: Path
    depth: Path
    camera: CameraEntry


class ImageRecording:
    """Frames from image files; see `Recording`."""

    def __init__(self, path: Path, scenes: list[Path]) -> None:
        self.path = path
        self.name = _name(path)
        images: list[_Image] = []
        cameras: list[Path] = []
        start_s = _FIRST_STAMP_S
        for scene in scenes:
            found, camera_file = _scene_images(scene, start_s)
            images += found
            cameras.append(camera_file)
            start_s = found[-1].stamp_ns * 1e-9 + SCENE_GAP_S
        self._images, self._camera_files = images, cameras
        self.ids = tuple((i.scene_id, i.im_id) for i in images)
        self.stamps_ns = tuple(i.stamp_ns for i in images)
        for scene_id in {i.scene_id for i in images}:
            _read(next(i for i in images if i.scene_id == scene_id))

    @cached_property
    def sha256(self) -> str:
        return fingerprint(self.path, [*self._camera_files, *(f for i in self._images for f in (i.rgb, i.depth))])

    def frames(self, only: Collection[int] | None = None) -> Iterator[Frame]:
        for k, image in enumerate(self._images):
            if only is None or k in only:
                yield _read(image)

    def __len__(self) -> int:
        return len(self._images)


def _name(path: Path) -> str:
    """`dataset/test/000001` -> `dataset_000001`: a scene number alone says nothing in a report."""
    parts = [p for p in path.resolve().parts[-3:] if p not in ("test", "val", "train")]
    return "_".join(parts[-2:]) if parts[-1].isdigit() and len(parts) > 1 else parts[-1]


def scene_folders(path: Path, scene: int | None = None) -> list[Path]:
    """The scene folders at `path`: itself, the scenes of a split, or those of a dataset's only split (or `test`).

    Args:
      scene: number of the only one that is wanted.

    Raises:
      DatasetError: there are none, or not the wanted one.
    """
    if not path.exists():
        raise DatasetError(f"{path} does not exist; pass a folder of images or a bag (.mcap, .db3, .bag)")
    if not path.is_dir():
        raise DatasetError(f"{path} is a file of unknown kind; pass a folder of images or a bag (.mcap, .db3, .bag)")
    if is_scene(path):
        scenes = [path]
        if scene is not None and not path.name.isdigit():
            raise DatasetError(f"{path} is one folder of images without a scene number; leave out --scene {scene}")
    else:
        scenes = _scenes_of_split(path) or _scenes_of_split(_only_split(path))
    if scene is None:
        return scenes
    chosen = [s for s in scenes if int(s.name) == scene]
    if not chosen:
        raise DatasetError(f"{path} has no scene {scene}; it has {', '.join(str(int(s.name)) for s in scenes)}")
    return chosen


def require_one_split(path: Path, setting: str) -> None:
    """For trainings: where several splits lie side by side, a person chooses; the default of `scene_folders` is test.

    Args:
      setting: what names the folder, as the remedy shows it: `data.path=`, `--bop `.

    Raises:
      DatasetError: `path` is a dataset of several splits (names them).
    """
    if not path.is_dir() or is_scene(path) or _scenes_of_split(path):
        return
    splits = _splits(path)
    if len(splits) > 1:
        names = [p.name for p in splits]
        best = path / ("train" if "train" in names else names[0])
        raise DatasetError(f"{path} has several splits: {', '.join(names)}; choose what trains, e.g. {setting}{best}")


def _splits(path: Path) -> list[Path]:
    return [p for p in sorted(path.iterdir()) if p.is_dir() and _scenes_of_split(p)]


def _only_split(path: Path) -> Path:
    """The only split of a dataset, or `test` of several."""
    splits = _splits(path)
    if len(splits) > 1:
        splits = [p for p in splits if p.name == "test"] or splits
    if len(splits) > 1:
        raise DatasetError(f"{path} has several splits: {', '.join(p.name for p in splits)}; pass one of them")
    if not splits:
        parts = ", ".join(sorted(p.name for p in path.iterdir())[:12]) or "nothing"
        raise DatasetError(f"{path} is neither a bag nor a folder with rgb/ or BOP scenes; it holds {parts}")
    return splits[0]


def _scenes_of_split(path: Path) -> list[Path]:
    return [p for p in sorted(path.iterdir()) if p.name.isdigit() and is_scene(p)]


def _scene_images(scene: Path, start_s: float) -> tuple[list[_Image], Path]:
    """All images of one scene in the order of their times or numbers, and the file their cameras come from."""
    pairs = pair_images(scene)
    cameras, camera_file = _cameras(scene, [pair.number for pair in pairs])
    scene_id = int(scene.name) if scene.name.isdigit() else 0
    images = []
    for pair in pairs:
        if pair.number not in cameras:
            raise DatasetError(f"{camera_file} has no entry for image {pair.number} ({pair.rgb.name})")
        camera = parse_camera(cameras[pair.number], f"{camera_file} [{pair.number}]")
        images.append(_Image(scene_id, pair.number, pair.stamp_ns(start_s, FRAME_RATE), pair.rgb, pair.depth, camera))
    return images, camera_file


def _cameras(scene: Path, numbers: Sequence[int]) -> tuple[dict[int, Any], Path]:
    """{image number: entry} of scene_camera.json, or camera.json for each of `numbers`; and that file."""
    plain_file = scene / "camera.json"
    if (scene / SCENE_CAMERA).exists():
        return scene_cameras(scene), scene / SCENE_CAMERA
    if plain_file.exists():
        return dict.fromkeys(numbers, read_json(plain_file, "the intrinsics")), plain_file
    raise DatasetError(f"{scene} has no scene_camera.json (BOP) and no camera.json; add one with cam_K "
                       "(9 numbers, px) and depth_scale (mm per count)")


def _read(image: _Image) -> Frame:
    return read_frame(image.rgb, image.depth, image.camera, image.stamp_ns)


def read_frame(rgb_file: Path, depth_file: Path, entry: CameraEntry, stamp_ns: int) -> Frame:
    """One frame from its two image files; DatasetError names the file that is damaged or contradicts the other."""
    rgb = _read_image(rgb_file, cv2.IMREAD_COLOR)[..., ::-1]
    raw = _read_image(depth_file, cv2.IMREAD_UNCHANGED)
    if raw.ndim != 2 or raw.dtype not in (np.uint16, np.float32):
        raise DatasetError(f"{depth_file} must be a one-channel 16-bit or float depth image, got {raw.shape} "
                           f"{raw.dtype}")
    depth = np.nan_to_num(raw.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0) * np.float32(entry.depth_unit)
    camera = entry.color_camera(rgb.shape[1], rgb.shape[0])
    depth = align_depth(depth, camera, entry, str(depth_file))
    return Frame(rgb=np.ascontiguousarray(rgb), depth=depth, camera=camera, stamp_ns=stamp_ns)


def align_depth(depth: NDArray[np.float32], camera: PinholeCamera, entry: CameraEntry,
                source: str) -> NDArray[np.float32]:
    """Depth in the colour camera [m]: as it is when already aligned, registered when its own camera is known."""
    h, w = depth.shape
    if entry.color_from_depth is not None:
        return register_depth(depth, entry.depth_camera(w, h), entry.color_from_depth, camera)
    if (h, w) != (camera.height, camera.width):
        raise DatasetError(f"{source}: depth is {w}x{h} but colour is {camera.width}x{camera.height}; record depth "
                           "aligned with colour, or add depth_K and depth_from_color to the camera file")
    return depth


def _read_image(file: Path, flags: int) -> NDArray:
    pixels = cv2.imread(str(file), flags)
    if pixels is None or _cut_short(file):
        raise DatasetError(f"{file} cannot be decoded; the image is damaged or no image")
    return pixels


def _cut_short(file: Path) -> bool:
    """A JPEG without its end marker; decoders fill the rest with grey and say nothing."""
    if file.suffix.lower() not in (".jpg", ".jpeg"):
        return False
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - 1024))
        return b"\xff\xd9" not in stream.read()
