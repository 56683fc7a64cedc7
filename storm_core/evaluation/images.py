"""The images of a BOP scene one by one: a damaged image is an error of that image, not of the dataset."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from storm_core.bags.folder import read_frame
from storm_core.bags.image_files import color_folder, images_by_number
from storm_core.bags.recording import FRAME_RATE
from storm_core.bop.cameras import SCENE_CAMERA, parse_camera, scene_cameras
from storm_core.errors import DatasetError
from storm_core.types import Frame


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """Where one image is; plain data that travels to another process or host.

    Attributes:
      rgb, depth: files, empty when there is none. camera: entry of scene_camera.json, None when there is none.
      folder: the scene, for messages.
    """

    scene_id: int
    im_id: int
    stamp_ns: int
    folder: str
    rgb: str
    depth: str
    camera: Mapping[str, Any] | None

    @property
    def key(self) -> tuple[int, int]:
        return self.scene_id, self.im_id


def scene_images(scene: Path, im_ids: Iterable[int] | None = None) -> tuple[ImageFiles, ...]:
    """The wanted images of a scene in the order of their numbers; None = every image that any file speaks of.

    Raises:
      DatasetError: scene_camera.json is missing or damaged, or the scene holds nothing at all.
    """
    cameras = scene_cameras(scene)
    rgbs, depths = _files(color_folder(scene)), _files(scene / "depth")
    wanted = sorted({*cameras, *rgbs} if im_ids is None else set(im_ids))
    if im_ids is None and not wanted:
        raise DatasetError(f"{scene} is empty: no images in rgb/, no entry in scene_camera.json; remove the folder or "
                           "copy it again")
    scene_id = int(scene.name)
    return tuple(ImageFiles(
        scene_id=scene_id, im_id=i, stamp_ns=round((1.0 + i / FRAME_RATE) * 1e9), folder=str(scene),
        rgb=str(rgbs.get(i, "")), depth=str(depths.get(i, "")), camera=cameras.get(i)) for i in wanted)


def read_image(image: ImageFiles) -> Frame:
    """The frame.

    Raises:
      DatasetError: a part is missing, damaged or contradicts another (names the file).
    """
    stem = f"{image.im_id:06d}"
    scene = Path(image.folder)
    for folder, file in ((color_folder(scene), image.rgb), (scene / "depth", image.depth)):
        if not file:
            raise DatasetError(f"{folder / stem}.* is missing")
    source = scene / SCENE_CAMERA
    if image.camera is None:
        raise DatasetError(f"{source} has no entry for image {image.im_id}")
    camera = parse_camera(image.camera, f"{source} [{image.im_id}]")
    return read_frame(Path(image.rgb), Path(image.depth), camera, image.stamp_ns)


def _files(folder: Path) -> dict[int, Path]:
    return images_by_number(folder) if folder.is_dir() else {}


@lru_cache(maxsize=64)
def require_reachable(folder: str) -> None:
    """DatasetError when this host cannot see the scene: every image would look missing."""
    if not Path(folder).is_dir():
        raise DatasetError(f"{folder} is not there; workers on other hosts need the dataset under the same path")
