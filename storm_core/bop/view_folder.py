"""Reference views as a folder that people and other programs read: a BOP scene with one object, and views.json."""

import json
from pathlib import Path

import cv2
import numpy as np

from storm_core.bags.folder import read_frame
from storm_core.bags.image_files import images_by_number
from storm_core.bop.cameras import parse_camera, read_json, scene_cameras
from storm_core.bop.dataset import read_annotations
from storm_core.errors import DatasetError
from storm_core.geometry.camera import PinholeCamera
from storm_core.onboarding.views import BACKGROUND, ReferenceViews

DEPTH_UNIT_MM = 0.1
"""mm per count of the depth images."""
INDEX = "views.json"


def write_views(folder: Path, views: ReferenceViews, obj_id: int) -> None:
    """rgb/, depth/, mask_visib/, scene_camera.json, scene_gt.json, scene_gt_info.json and views.json.

    Image `lamp * V + view` is view `view` under lamp `lamp`.
    """
    for part in ("rgb", "depth", "mask_visib"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    cameras, poses, infos = {}, {}, {}
    for lamp in range(len(views.lights)):
        for view in range(len(views)):
            number = lamp * len(views) + view
            stem, mask = f"{number:06d}", views.mask[view]
            counts = np.round(views.depth[view] * (1e3 / DEPTH_UNIT_MM))
            if counts.max() > 65535:
                raise DatasetError(f"{views.object_name} is too far from its cameras for 16-bit depth images "
                                   f"({views.depth[view].max():.2f} m); it is {views.diameter:.2f} m across")
            for part, name, picture in (("rgb", stem, views.rgb[lamp, view, ..., ::-1]),
                                        ("depth", stem, counts.astype(np.uint16)),
                                        ("mask_visib", f"{stem}_000000", mask.astype(np.uint8) * 255)):
                _, code = cv2.imencode(".png", np.ascontiguousarray(picture))
                (folder / part / f"{name}.png").write_bytes(code.tobytes())
            pose, (rows, columns) = views.cam_from_objs[view], np.nonzero(mask)
            cameras[str(number)] = {"cam_K": views.camera.matrix.reshape(9).tolist(), "depth_scale": DEPTH_UNIT_MM}
            poses[str(number)] = [{"obj_id": obj_id, "cam_R_m2c": pose[:3, :3].reshape(9).tolist(),
                                   "cam_t_m2c": (pose[:3, 3] * 1e3).tolist()}]
            box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
            infos[str(number)] = [{"visib_fract": 1.0, "px_count_visib": int(mask.sum()),
                                   "px_count_all": int(mask.sum()), "bbox_visib": box, "bbox_obj": box}]
    index = {"object": views.object_name, "obj_id": obj_id, "sha256": views.sha256, "lights": views.lights,
             "views": len(views), "diameter_mm": views.diameter * 1e3}
    for name, content in (("scene_camera", cameras), ("scene_gt", poses), ("scene_gt_info", infos), ("views", index)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1))


def read_views(folder: Path) -> ReferenceViews:
    """The views of a folder that `write_views` made.

    Raises:
      DatasetError: not such a folder, or a part is missing or damaged (names it).
    """
    index = read_json(folder / INDEX, "what the reference views show; make them with `storm render views`")
    try:
        name, lights, count = str(index["object"]), tuple(index["lights"]), int(index["views"])
        diameter, digest = float(index["diameter_mm"]) * 1e-3, str(index["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{folder / INDEX} is not in the form of `storm render views` ({error!r})") from error
    colors, depths = images_by_number(folder / "rgb"), images_by_number(folder / "depth")
    cameras = scene_cameras(folder)
    annotations = read_annotations(folder)
    lacking = [k for k in range(count * len(lights)) if k not in colors or k not in depths or k not in annotations]
    if lacking or not lights or count < 1:
        raise DatasetError(f"{folder} lacks view {lacking[0] if lacking else 0} of {count * len(lights)}; render the "
                           "views again")
    frames = [read_frame(colors[k], depths[k], parse_camera(cameras.get(k), f"{folder} view {k}"), k)
              for k in range(count * len(lights))]
    size = frames[0].camera.width
    if any(f.camera.width != size or f.camera.height != size for f in frames):
        raise DatasetError(f"{folder}: all views must be squares of one size, the first is {size} px wide")
    rgb = np.stack([f.rgb for f in frames]).reshape(len(lights), count, size, size, 3)
    masks = []
    for k in range(count):
        file = folder / "mask_visib" / f"{k:06d}_000000.png"
        mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        if mask is None or mask.shape != (size, size) or not mask.any():
            raise DatasetError(f"{file} is missing, damaged, empty or not {size}x{size} px; render the views again")
        masks.append(mask > 0)
    mask = np.stack(masks)
    rgb = np.where(mask[None, ..., None], rgb, np.uint8(BACKGROUND))
    depth = np.where(mask, np.stack([f.depth for f in frames[:count]]), np.float32(0))
    poses = np.stack([annotations[k][0].cam_from_obj for k in range(count)])
    return ReferenceViews(object_name=name, sha256=digest, diameter=diameter, rgb=rgb, depth=depth, mask=mask,
                          cam_from_objs=poses, camera=PinholeCamera(size, size, *frames[0].camera.vector.tolist()),
                          lights=lights)
