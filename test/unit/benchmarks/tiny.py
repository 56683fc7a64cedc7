"""A small rendered dataset: a textured wedge that swings in front of clutter, as a BOP scene with its mesh."""

import json
from pathlib import Path

import cv2
import numpy as np
import trimesh

from storm_core.bags.recording import open_recording
from storm_core.bags.truth import load_truth
from storm_core.benchmarks.clip import Clip, Plan, plan_clip
from storm_core.geometry.mesh_io import load_models
from test.unit.tracking.scenes import CAMERA, background, observe, swing, wedge

N = 6
MODEL = wedge()
POSES = swing(N, 2.0)


def write_dataset(root: Path) -> Path:
    """`root`/test/000001 and `root`/models; the scene's folder."""
    rng = np.random.default_rng(0)
    scene = root / "test" / "000001"
    (root / "models").mkdir(parents=True)
    trimesh.Trimesh(MODEL.vertices * 1e3, MODEL.faces, vertex_colors=MODEL.colors, process=False).export(
        root / "models" / "obj_000001.ply")
    (root / "models" / "models_info.json").write_text(json.dumps({"1": {"diameter": MODEL.diameter * 1e3}}))
    for part in ("rgb", "depth"):
        (scene / part).mkdir(parents=True)
    behind = background(rng)
    for k, pose in enumerate(POSES):
        frame = observe(MODEL, pose, 0, behind, rng)
        cv2.imwrite(str(scene / "rgb" / f"{k:06d}.png"), frame.rgb[:, :, ::-1])
        cv2.imwrite(str(scene / "depth" / f"{k:06d}.png"), np.rint(np.maximum(frame.depth, 0) * 1e4).astype(np.uint16))
    camera = {"cam_K": CAMERA.matrix.reshape(-1).tolist(), "depth_scale": 0.1}
    (scene / "scene_camera.json").write_text(json.dumps({str(k): camera for k in range(N)}))
    (scene / "scene_gt.json").write_text(json.dumps({str(k): [
        {"obj_id": 1, "cam_R_m2c": p[:3, :3].reshape(9).tolist(), "cam_t_m2c": (1e3 * p[:3, 3]).tolist()}]
        for k, p in enumerate(POSES)}))
    return scene


def clip_of(scene: Path) -> Clip:
    """The clip of its only object."""
    recording = open_recording(scene)
    model = load_models(scene.parents[1] / "models", ["1"], max_faces=8000)["1"]
    truth = load_truth(recording, {"1": 1}, ["1"])
    assert truth is not None
    plan = plan_clip("tiny/1", recording, model, truth.frames["1"])
    assert isinstance(plan, Plan)
    return plan.read()
