"""The weights that ship: listed, intact, and able to find poses of objects they never saw."""

import hashlib
from pathlib import Path

import numpy as np
import yaml

from storm_core.config import ScoreModelConfig
from storm_core.geometry.pose import angle_between
from storm_core.score_model.annealing import anneal
from storm_core.score_model.clouds import scene_points
from storm_core.score_model.modes import find_modes
from storm_core.score_model.network_refiner import NetworkRefiner
from storm_core.score_model.network_score import NetworkScore, Runtime
from storm_core.score_model.particles import uniform_particles
from storm_core.score_model.weights import load_weights, shipped
from storm_core.training.score_batches import point_error
from storm_core.training.score_scenes import random_view
from test.unit.tracking.scenes import background, disturbed, observe, registered, swing, wedge

MODELS = Path(__file__).resolve().parents[3] / "models"
VIEWS = 12


def test_the_manifest_names_the_file_as_it_is() -> None:
    listed = yaml.safe_load((MODELS / "manifest.yaml").read_text())["shipped"]
    entry, = [entry for entry in listed if entry["name"] == "score_model"]
    content = (MODELS / entry["file"]).read_bytes()
    assert shipped() == MODELS / entry["file"]
    assert (entry["sha256"], entry["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert len(content) < 2_000_000
    assert load_weights().sha256 == entry["sha256"]


def test_poses_of_new_objects_are_found_from_masks_alone() -> None:
    """Twelve views of validation objects with sensor noise, occluders and disturbed masks, 20 particles, 12 steps."""
    runtime, schedule = Runtime(load_weights()), load_weights().schedule
    right = 0
    for seed in range(VIEWS):
        rng = np.random.default_rng(seed)
        view = random_view("val", 400, rng)
        seen = scene_points(view.depth, view.mask, view.camera, view.model.diameter, 80, rng)
        assert seen is not None
        score = NetworkScore(runtime, seen, view.model, view.camera)
        path = anneal(score, uniform_particles(20, schedule.shift_high, rng), schedule, rng, steps=12)
        score.render(path.particles)
        best = score.evaluate(path.particles, 0.0)[1].argmin()
        right += point_error(view, score.poses(path.particles))[best] < 0.1 * view.model.diameter
    assert right > VIEWS // 2


def test_a_pose_is_refined_and_a_good_one_is_not_made_worse() -> None:
    model, pose = wedge(), swing(1)[0]
    rng = np.random.default_rng(11)
    frame = observe(model, pose, 0, background(rng), rng)
    refiner = NetworkRefiner({model.name: model}, ScoreModelConfig(method="network", particles=20))
    for shift, turn in ((np.zeros(3), np.zeros(3)), (np.array([0.005, -0.004, 0.006]), np.array([0.1, -0.1, 0.05]))):
        start = disturbed(pose, shift, turn, model.center)
        result = refiner.refine(frame, registered(model.name, start, 0))
        end = result.registration.cam_from_obj
        assert np.linalg.norm((end - pose)[:3, 3]) < 0.004
        assert angle_between(end, pose) < 0.05
        np.testing.assert_allclose(result.registration.covariance, result.registration.covariance.T)
        assert (np.linalg.eigvalsh(result.registration.covariance) > 0).all()
        assert find_modes(model, result.cam_from_objs, result.weights)[0].weight > 0.5
