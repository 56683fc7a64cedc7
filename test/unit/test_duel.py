"""Poses at one place compete over the union of their silhouettes: on rendered cups with exact truth."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from storm_core.config import OnboardingConfig, RegistrationConfig
from storm_core.evidence.features import frame_features
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_exp
from storm_core.registration.duel import CLEAR_LEAD, SIDE, cut_out, dueled, explained, lead, tie
from storm_core.registration.judge import Judge
from storm_core.registration.register import GeometricRegistrar
from storm_core.rendering.raster import NumbaRenderer
from storm_core.types import Localization, Reason, Registration, RegistrationFailure
from test.synthetic import CAMERA, frame_of, model_of, pose

LYING = pose((1.9, 0.0, 0.0), (0.02, 0.01, 0.6))
"""A cup seen from the side and a little from above."""

ALONE = np.eye(4)[None]


def cup(colors: bool = True) -> ObjectModel:
    """A plain cup: a cylinder with a handle to the side of +x."""
    body = trimesh.creation.cylinder(radius=0.04, height=0.1, sections=48)
    handle = trimesh.creation.box(extents=(0.03, 0.012, 0.06))
    handle.apply_translation((0.05, 0, 0))
    mesh = trimesh.util.concatenate([body, handle]).subdivide_to_size(max_edge=0.015)
    paint = np.tile(np.array([[200, 60, 160]], np.uint8), (len(mesh.vertices), 1)) if colors else None
    return model_of(mesh, "cup", paint)


def spun(angle: float) -> np.ndarray:
    """The cup turned about its own axis [rad]."""
    turn = np.eye(4)
    turn[:3, :3] = so3_exp([0.0, 0.0, angle])
    return LYING @ turn


def test_a_handle_in_plain_view_refutes_the_pose_that_hides_it() -> None:
    model = cup()
    features = frame_features(frame_of([(model, spun(0.0))], noise=0.001))
    told = explained(features, model, np.stack([spun(np.pi / 2), spun(-np.pi / 2), spun(np.pi), spun(0.0)]))
    assert told.argmax() == 3 and told[3] - np.sort(told)[-2] > 2.0


def test_poses_elsewhere_and_what_stands_in_front_say_nothing() -> None:
    model = cup()
    frame = frame_of([(model, spun(0.0))], noise=0.001)
    away = spun(0.0)
    away[0, 3] += 3 * model.diameter
    told = explained(frame_features(frame), model, np.stack([spun(0.0), away]))
    assert np.isfinite(told[0]) and np.isnan(told[1])
    depth = frame.depth.copy()
    hidden = np.full_like(depth, 0.3)
    covered = explained(frame_features(replace(frame, depth=hidden)), model, np.stack([spun(0.0), spun(np.pi)]))
    assert covered == pytest.approx([0.0, 0.0])


def test_the_order_is_that_of_rank_and_duel_and_the_first_is_behind_nobody() -> None:
    model = cup()
    judge = Judge(frame_features(frame_of([(model, spun(0.3))], noise=0.001)), model)
    poses, odds, behind = dueled(judge, np.stack([spun(a) for a in (2.5, 0.3, -2.0)]), 72)
    assert poses[0] == pytest.approx(spun(0.3)) and len(odds) == 3
    assert behind[0] == 0.0 and (np.diff(behind) >= 0).all()


def test_the_lead_is_that_over_the_first_pose_that_differs() -> None:
    model = cup()
    near = spun(0.01)
    poses, behind = np.stack([spun(0.0), near, spun(2.0)]), np.array([0.0, 0.1, 4.0])
    assert lead(model, poses, behind, ALONE) == 4.0
    same = np.stack([np.eye(4), np.linalg.inv(spun(0.0)) @ spun(2.0)])
    assert lead(model, poses, behind, same) == np.inf
    assert tie(CLEAR_LEAD) == tie(np.inf) == 0.0 and tie(0.0) < -2.0


@pytest.mark.parametrize("colors", [True, False])
def test_a_cup_is_registered_by_its_handle_and_refused_when_that_is_hidden(tmp_path, colors: bool) -> None:
    model = cup(colors)
    registrar = GeometricRegistrar({"cup": model}, RegistrationConfig(), OnboardingConfig(cache=str(tmp_path)))
    start = np.stack([spun(a) for a in (0.8, 2.5, 4.0)])
    results = []
    for truth in (spun(0.0), spun(np.pi / 2)):
        frame = frame_of([(model, truth)], noise=0.001)
        where = Localization(object_name="cup", stamp_ns=0, mask=frame.depth > 0, cam_from_objs=start, probability=0.9)
        results.append(registrar.register(frame, where))
    found, hidden = results
    assert isinstance(found, Registration)
    assert np.linalg.norm(found.cam_from_obj[:3, 0] - spun(0.0)[:3, 0]) < 0.1, "the handle is where it is seen"
    assert isinstance(hidden, RegistrationFailure) and hidden.reason is Reason.AMBIGUOUS


@pytest.mark.parametrize("ratio", [0.7, 1.0, 1.4])
def test_the_cut_out_is_centred_whatever_the_shape_of_the_pixels(ratio: float) -> None:
    model, camera = cup(), replace(CAMERA, fy=ratio * CAMERA.fx)
    frame = frame_of([(model, LYING)], camera=camera)
    crop = cut_out(frame, model, LYING)
    center = LYING[:3, :3] @ model.center + LYING[:3, 3]
    assert crop.camera.project(center) == pytest.approx([SIDE / 2, SIDE / 2], abs=1e-6)
    whole = NumbaRenderer().render(model, LYING[None], camera).mask[0].sum()
    step = camera.fx / crop.camera.fx
    assert NumbaRenderer().render(model, LYING[None], crop.camera).mask[0].sum() * step**2 > 0.97 * whole


@pytest.mark.parametrize("light", [1.0, 0.3])
def test_a_print_is_read_across_the_edge_of_a_shadow(light: float) -> None:
    """A can with a print around it, its lower half as bright as `light` says."""
    mesh = trimesh.creation.cylinder(radius=0.033, height=0.12, sections=64).subdivide_to_size(max_edge=0.004)
    angle, height = np.arctan2(mesh.vertices[:, 1], mesh.vertices[:, 0]), mesh.vertices[:, 2]
    cells = np.floor(4 * angle / np.pi).astype(int) + 40 * np.floor(height / 0.02).astype(int)
    can = model_of(mesh, "can", np.random.default_rng(0).integers(40, 250, (400, 3))[cells % 400].astype(np.uint8))
    frame = frame_of([(can, LYING)], noise=0.001)
    lit = frame.rgb.astype(float)
    middle = int(frame.camera.project(LYING[:3, :3] @ can.center + LYING[:3, 3])[1])
    lit[middle:] *= light
    features = frame_features(replace(frame, rgb=lit.astype(np.uint8)))
    told = explained(features, can, np.stack([spun(angle) for angle in (0.0, 0.8, 1.6, 3.1, -1.6)]))
    assert told[0] - told[1:].max() > 20.0
