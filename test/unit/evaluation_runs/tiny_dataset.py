"""A BOP dataset of two small rendered scenes with exact truth, written in a fraction of a second."""

import json
from pathlib import Path

import cv2
import numpy as np
import trimesh

from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.rendering.raster import NumbaRenderer
from test.synthetic import bracket, frame_of, pose, textured_box

CAMERA = PinholeCamera(320, 240, 300.0, 300.0, 159.5, 119.5)
BOX, BRACKET = textured_box("1"), bracket("2")
MODELS = {1: BOX, 2: BRACKET}
POSES = {1: pose((0.4, 0.3, 0.1), (-0.06, 0.02, 0.55)), 2: pose((-0.5, 0.4, 0.3), (0.09, 0.0, 0.55))}
FAST = ["--set", "onboarding.rotations=160", "--set", "score_model.enable=false"]


def write_dataset(root: Path, scenes: int = 2, images: int = 2) -> Path:
    """<root>/{models, test/000001 ...}; every image shows objects 1 and 2, moved a little from image to image."""
    (root / "models").mkdir(parents=True)
    for obj_id, model in MODELS.items():
        _write_model(root / "models" / f"obj_{obj_id:06d}.ply", model)
    (root / "models" / "models_info.json").write_text(json.dumps(
        {str(i): {"diameter": 1e3 * m.diameter} for i, m in MODELS.items()}))
    for scene_id in range(1, scenes + 1):
        _write_scene(root / "test" / f"{scene_id:06d}", scene_id, images)
    return root


def placed(scene_id: int, im_id: int) -> dict[int, np.ndarray]:
    """cam_from_obj of each object in one image."""
    shift = np.eye(4)
    shift[:3, 3] = [0.004 * im_id, 0.002 * scene_id, 0.01 * scene_id]
    return {obj_id: shift @ p for obj_id, p in POSES.items()}


def _write_scene(scene: Path, scene_id: int, images: int) -> None:
    for part in ("rgb", "depth", "mask_visib"):
        (scene / part).mkdir(parents=True)
    truth, infos, cameras = {}, {}, {}
    for im_id in range(images):
        poses = placed(scene_id, im_id)
        frame = frame_of([(MODELS[i], p) for i, p in poses.items()], camera=CAMERA, noise=0.001,
                         seed=100 * scene_id + im_id)
        cv2.imwrite(str(scene / "rgb" / f"{im_id:06d}.png"), frame.rgb[..., ::-1])
        cv2.imwrite(str(scene / "depth" / f"{im_id:06d}.png"), np.round(frame.depth * 1e4).astype(np.uint16))
        truth[str(im_id)], infos[str(im_id)] = [], []
        for k, (obj_id, p) in enumerate(poses.items()):
            mask = NumbaRenderer().render(MODELS[obj_id], p[None], CAMERA).mask[0]
            cv2.imwrite(str(scene / "mask_visib" / f"{im_id:06d}_{k:06d}.png"), mask.astype(np.uint8) * 255)
            truth[str(im_id)].append({"obj_id": obj_id, "cam_R_m2c": p[:3, :3].reshape(9).tolist(),
                                      "cam_t_m2c": (1e3 * p[:3, 3]).tolist()})
            infos[str(im_id)].append({"visib_fract": 1.0})
        cameras[str(im_id)] = {"cam_K": CAMERA.matrix.reshape(9).tolist(), "depth_scale": 0.1}
    for name, content in (("scene_gt", truth), ("scene_gt_info", infos), ("scene_camera", cameras)):
        (scene / f"{name}.json").write_text(json.dumps(content))


def _write_model(file: Path, model: ObjectModel) -> None:
    mesh = trimesh.Trimesh(model.vertices * 1e3, model.faces, process=False)
    if model.colors is not None:
        mesh.visual.vertex_colors = np.c_[model.colors, np.full(len(model.colors), 255, np.uint8)]
    mesh.export(file)
