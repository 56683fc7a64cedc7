"""Poses that a declared symmetry makes equal: a track never jumps from one to another."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from storm_core.config import TrackingConfig
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import angle_between, from_rotation_translation, inverse, se3_exp, so3_exp
from storm_core.geometry.symmetry import symmetry_group
from storm_core.metrics.motion import flips
from storm_core.pipeline.warmup import warm_up
from storm_core.tracking.symmetric import continued, turning_axis
from storm_core.tracking.tracker import RegionDepthTracker
from storm_core.types import Track
from test.unit.tracking.scenes import STEP_NS, background, observe, printed_can, registered

BOX = {"symmetries_discrete": [np.diag([*np.array(signs, float), 1.0]).reshape(-1).tolist()
                               for signs in ((1, -1, -1), (-1, 1, -1), (-1, -1, 1))]}
ROUND = {"symmetries_continuous": [{"axis": [0, 0, 1], "offset": [4, 2, 0]}]}
CYLINDER = {"symmetries_continuous": [{"axis": [0, 0, 1], "offset": [0, 0, 0]}],
            "symmetries_discrete": [np.diag([1.0, -1.0, -1.0, 1.0]).reshape(-1).tolist()]}


def declared(info: dict, mesh: trimesh.Trimesh | None = None) -> ObjectModel:
    """A model with these symmetries; the shape of `mesh`, else any."""
    model = printed_can()
    if mesh is not None:
        p = np.asarray(mesh.subdivide_to_size(0.008).vertices)
        model = replace(
            model, vertices=p.astype(np.float32), faces=np.asarray(mesh.subdivide_to_size(0.008).faces, np.int32),
            colors=np.full((len(p), 3), (190, 120, 60), np.uint8), eval_vertices=p,
            diameter=float(np.linalg.norm(np.ptp(p, axis=0))))
    return replace(model, symmetries=symmetry_group(info, 1e-3))


BOXY, TURNED, CAN = declared(BOX), declared(ROUND), declared(CYLINDER)

small = st.tuples(*[st.floats(-0.15, 0.15)] * 6)


@given(small, st.integers(0, 3), st.tuples(*[st.floats(-1.5, 1.5)] * 3))
def test_a_twin_of_a_box_continues_the_pose_it_is_the_twin_of(xi: tuple, k: int, turn: tuple) -> None:
    model = BOXY
    reference = from_rotation_translation(so3_exp(turn), [0.1, 0.0, 0.6])
    pose = se3_exp(np.array(xi)) @ reference
    assert np.allclose(continued(model, pose @ model.symmetries[k], reference), pose, atol=1e-9)


@given(small, st.floats(-3.1, 3.1), st.booleans())
def test_any_turn_about_a_continuous_axis_is_undone_exactly(xi: tuple, angle: float, flip: bool) -> None:
    for info, model in ((ROUND, TURNED), (CYLINDER, CAN)):
        reference = from_rotation_translation(so3_exp([0.5, 0.3, -0.2]), [0.1, 0.0, 0.6])
        offset = np.array(info["symmetries_continuous"][0]["offset"]) * 1e-3
        turn = so3_exp([0, 0, angle])
        twin = from_rotation_translation(turn, offset - turn @ offset)
        if flip and info is CYLINDER:
            twin = twin @ np.diag([1.0, -1.0, -1.0, 1.0])
        pose = se3_exp(np.array(xi)) @ reference
        found = continued(model, pose @ twin, reference)
        # The same look: what is left between the two is a turn about the axis, and none that brings it nearer.
        between = inverse(pose) @ found
        assert abs(between[2, 2] - 1) < 1e-9
        assert np.allclose(between[:3, :3] @ offset + between[:3, 3], offset, atol=1e-9)
        nearest = [angle_between(found @ se3_exp([0, 0, 0, 0, 0, t]), reference) for t in (-0.01, 0.01)]
        assert angle_between(found, reference) <= min(nearest) + 1e-9


def test_only_continuous_declarations_have_an_axis() -> None:
    assert turning_axis(BOXY) is None and turning_axis(declared({})) is None
    assert np.allclose(np.abs(turning_axis(TURNED)), [0, 0, 1])


SHAPES = {
    "box": (BOX, trimesh.creation.box((0.1, 0.07, 0.05))),
    "cylinder": (CYLINDER, trimesh.creation.cylinder(0.035, 0.1, sections=48)),
    "bowl": (ROUND | {"symmetries_continuous": [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]},
             trimesh.creation.cone(0.06, 0.07, sections=48)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_registrations_of_twins_never_show_as_flips(shape: str) -> None:
    model = declared(*SHAPES[shape])
    rng = np.random.default_rng(0)
    backdrop = background(rng)
    tracker = RegionDepthTracker({model.name: model}, TrackingConfig())
    truths, found = [], []
    for i in range(12):
        pose = from_rotation_translation(
            so3_exp([2.2 + 0.01 * i, 0.3, 0.02 * i]), [0.002 * i, 0.0, 0.5 - 0.002 * i])
        frame = observe(model, pose, i * STEP_NS, backdrop, rng)
        truths.append(pose)
        if i % 4 == 0:  # registered anew, as any of the equal poses
            twin = pose @ model.symmetries[rng.integers(len(model.symmetries))]
            tracker.stop(model.name)
            found.append(tracker.start(frame, registered(model.name, twin, frame.stamp_ns)).cam_from_obj)
        else:
            track = tracker.track(frame)[model.name]
            assert isinstance(track, Track)
            found.append(track.cam_from_obj)
        if i % 4 == 2:  # a correction that is right but for the twin
            twin = model.symmetries[rng.integers(len(model.symmetries))]
            assert tracker.nudge(model.name, frame.stamp_ns, found[-1] @ twin @ inverse(found[-1]))
    measured = flips(np.array(found), np.array(truths), model.symmetries)
    assert (measured.symmetric, measured.turned) == (0, 0)


def test_a_warm_up_leaves_no_trace() -> None:
    """Else the first registration would be taken for the twin that looks most like the staged pose."""
    model = declared(*SHAPES["box"])
    rng = np.random.default_rng(0)
    truth = from_rotation_translation(so3_exp([2.2, 0.3, 0.0]), [0.0, 0.0, 0.5])
    frame = observe(model, truth, 0, background(rng), rng)
    tracker = RegionDepthTracker({model.name: model}, TrackingConfig())
    for twin in truth @ model.symmetries:
        warm_up({model.name: model}, tracker=tracker)
        followed = tracker.start(frame, registered(model.name, twin, 0)).cam_from_obj
        assert np.allclose(followed, twin, atol=1e-12)
        tracker.reset(model.name)
