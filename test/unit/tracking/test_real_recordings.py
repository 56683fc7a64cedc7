"""The tracker and the score model on real recordings, started from the known pose of the first frame."""

import os
from pathlib import Path

import numpy as np
import pytest

from storm_core.bags.recording import open_recording
from storm_core.bop.cameras import MM, read_json
from storm_core.config import ScoreModelConfig, TrackingConfig
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.mesh_io import load_models
from storm_core.geometry.pose import transform
from storm_core.score_model.noise import perturbed
from storm_core.score_model.sampler import LangevinRefiner
from storm_core.tracking.tracker import RegionDepthTracker
from storm_core.types import Frame, Track
from test.unit.tracking.scenes import registered

DATA = Path(os.environ.get("STORM_TEST_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


def recording(name: str) -> tuple[ObjectModel, list[Frame], list[np.ndarray], list[bool]]:
    """Model, frames, true poses and which of these are good."""
    scene = DATA / name / "test" / "000001"
    if not scene.is_dir():
        pytest.skip(f"recording {name} is not in {DATA}; set STORM_TEST_DATA")
    (model,) = load_models(DATA / name / "models", ("1",), max_faces=4000).values()
    truth = read_json(scene / "scene_gt.json", "ground truth")
    poses = []
    for key in sorted(truth, key=int):
        pose = np.eye(4)
        pose[:3, :3] = np.reshape(truth[key][0]["cam_R_m2c"], (3, 3))
        pose[:3, 3] = np.array(truth[key][0]["cam_t_m2c"]) * MM
        poses.append(pose)
    quality = scene / "gt_quality.json"
    grades = read_json(quality, "quality") if quality.exists() else {}
    good = [grades.get(key, {}).get("gt_quality", "good") == "good" for key in sorted(truth, key=int)]
    return model, list(open_recording(scene).frames()), poses, good


def add(model: ObjectModel, a: np.ndarray, b: np.ndarray) -> float:
    vertices = model.eval_vertices[:: max(1, len(model.eval_vertices) // 1000)]
    return float(np.linalg.norm(transform(a, vertices) - transform(b, vertices), axis=1).mean())


@pytest.mark.parametrize(
    ("name", "stride", "area"),
    [
        ("visp_rbt", 1, 0.975),
        ("visp_rbt", 2, 0.975),
        ("visp_rbt", 4, 0.97),
        ("visp_rbt", 8, 0.97),
        ("visp_castle_sim", 2, 0.985),
        ("visp_castle_sim", 4, 0.985),
        ("visp_castle_sim", 8, 0.985),
        ("visp_castle_sim", 16, 0.985),
    ],
)
def test_real_objects_are_followed_through_blur_and_skipped_frames(name: str, stride: int, area: float) -> None:
    model, frames, poses, good = recording(name)
    tracker = RegionDepthTracker({model.name: model}, TrackingConfig())
    tracker.start(frames[0], registered(model.name, poses[0], frames[0].stamp_ns))
    errors = []
    for i in range(stride, len(frames), stride):
        track = tracker.track(frames[i])[model.name]
        assert isinstance(track, Track) and not track.coasting
        if good[i]:
            errors.append(add(model, track.cam_from_obj, poses[i]))
    assert np.mean(np.clip(1 - np.array(errors) / 0.1, 0, 1)) > area


@pytest.mark.parametrize(("name", "limit"), [("visp_rbt", 0.006), ("visp_castle_sim", 0.003)])
def test_particles_improve_disturbed_poses_and_keep_good_ones(name: str, limit: float) -> None:
    model, frames, poses, good = recording(name)
    refiner = LangevinRefiner({model.name: model}, ScoreModelConfig())
    rng = np.random.default_rng(0)
    for i in range(0, len(frames), 8):
        if not good[i]:
            continue
        start = perturbed(poses[i], model.center, 1, 0.02 * model.diameter, 0.05, rng)[0]
        refined = refiner.refine(frames[i], registered(model.name, start, i)).registration.cam_from_obj
        kept = refiner.refine(frames[i], registered(model.name, poses[i], i)).registration.cam_from_obj
        assert add(model, kept, poses[i]) < limit
        assert add(model, refined, poses[i]) < max(limit, 0.7 * add(model, start, poses[i]))
