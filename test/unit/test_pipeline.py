"""The offline pipeline on rendered sequences: find, track, hold back while hidden, recover."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from storm_core.config import build
from storm_core.geometry.pose import angle_between, from_rotation_translation
from storm_core.pipeline.build import build_pipeline, build_registrar
from storm_core.pipeline.system import Pipeline
from storm_core.pipeline.warmup import staged_mask, staged_view, warm_up
from storm_core.types import Frame, ObjectOutput
from test.synthetic import frame_of, model_of, pose, textured_box

BOX = textured_box()
SCREEN = model_of(trimesh.creation.box(extents=(0.5, 0.4, 0.01)).subdivide_to_size(0.05), "screen", None)


def truth_at(i: int) -> np.ndarray:
    return pose((0.4 + 0.01 * i, 0.9, -0.5), (0.02 + 0.002 * i, 0.02, 0.62))


def frames(n: int, hidden: range = range(0), absent: range = range(0)) -> list[Frame]:
    out = []
    for i in range(n):
        objects = [] if i in absent else [(BOX, truth_at(i))]
        if i in hidden:
            objects.append((SCREEN, pose((0, 0, 0), (0, 0, 0.4))))
        out.append(frame_of(objects, stamp_ns=i * 33_333_333, noise=0.002, seed=i))
    return out


@pytest.fixture
def pipeline(tmp_path) -> Pipeline:  # noqa: ANN001
    config = build({"onboarding.cache": str(tmp_path), "score_model.enable": False})
    return build_pipeline(config, {"box": BOX})


def run(pipeline: Pipeline, sequence: list[Frame]) -> list[ObjectOutput]:
    return [pipeline.step(frame).objects[0] for frame in sequence]


def test_tracks_a_moving_object_and_never_publishes_a_wrong_pose(pipeline: Pipeline) -> None:
    outputs = run(pipeline, frames(12))
    assert outputs[0].trusted, outputs[0]
    assert sum(o.trusted for o in outputs) >= 11
    for i, o in enumerate(outputs):
        if o.trusted:
            assert np.linalg.norm(o.cam_from_obj[:3, 3] - truth_at(i)[:3, 3]) < 0.006
            assert np.rad2deg(angle_between(o.cam_from_obj, truth_at(i))) < 3.0
            assert np.linalg.eigvalsh(o.covariance).min() > 0


def test_nothing_is_trusted_while_hidden_and_the_object_is_found_again(pipeline: Pipeline) -> None:
    hidden = range(5, 14)
    outputs = run(pipeline, frames(20, hidden=hidden))
    assert not any(outputs[i].trusted for i in hidden), [(i, o.state, o.reason) for i, o in enumerate(outputs)]
    again = [i for i in range(14, 20) if outputs[i].trusted]
    assert again and again[0] <= 16
    assert np.linalg.norm(outputs[again[-1]].cam_from_obj[:3, 3] - truth_at(again[-1])[:3, 3]) < 0.006


def test_an_absent_object_is_reported_absent_without_a_pose(pipeline: Pipeline) -> None:
    outputs = run(pipeline, frames(6, absent=range(6)))
    assert all(o.cam_from_obj is None and not o.trusted for o in outputs)
    assert outputs[-1].state in ("ABSENT", "SEARCHING")


def test_a_frozen_stream_is_not_trusted(pipeline: Pipeline) -> None:
    sequence = frames(4)
    stuck = [dataclasses.replace(sequence[-1], stamp_ns=sequence[-1].stamp_ns + k * 33_333_333) for k in range(1, 9)]
    outputs = run(pipeline, sequence + stuck)
    assert outputs[3].trusted
    assert not outputs[-1].trusted and outputs[-1].reason.value in ("frozen_input", "suspect_timeout")


def test_a_simulated_camera_without_noise_may_stand_still(tmp_path) -> None:  # noqa: ANN001
    config = build({"onboarding.cache": str(tmp_path), "score_model.enable": False, "monitor.freeze_frames": 0})
    still = frame_of([(BOX, truth_at(0))])
    outputs = run(build_pipeline(config, {"box": BOX}),
                  [dataclasses.replace(still, stamp_ns=k * 33_333_333) for k in range(12)])
    assert all(output.trusted for output in outputs[1:])


@pytest.mark.parametrize("extents", [(0.15, 0.008, 0.008), (0.1, 0.1, 0.003)])
def test_thin_objects_that_lie_askew_in_their_mesh_are_warmed_up_and_are_thin(
    tmp_path: Path, extents: tuple[float, float, float]
) -> None:
    registrar = None
    for turn in Rotation.random(40, random_state=0).as_matrix():
        mesh = trimesh.creation.box(extents=extents)
        mesh.apply_transform(from_rotation_translation(turn, np.zeros(3)))
        model = model_of(mesh, "thin", None)
        assert model.thickness == pytest.approx(min(extents), rel=1e-4)
        if registrar is None:
            registrar = build_registrar(build({"onboarding.cache": str(tmp_path)}), {"thin": model})
            warm_up({"thin": model}, registrar=registrar)
        frame, _ = staged_view(model)
        assert staged_mask(frame, model).sum() > 50
