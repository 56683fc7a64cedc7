"""Declared symmetries form a group; those of the shape are found by measuring."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from storm_core.errors import MeshError
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import angle_between, from_rotation_translation, se3_exp, so3_exp, transform
from storm_core.geometry.symmetry import free_axis, nearest_equivalent, shape_symmetries, symmetry_group, turned_to
from test.synthetic import model_of, pose

FLIP_X = np.diag([1.0, -1, -1, 1])


def turn_about(axis: np.ndarray, angle: float, offset: np.ndarray) -> np.ndarray:
    r = so3_exp(np.asarray(axis) * angle)
    return from_rotation_translation(r, offset - r @ offset)


def is_member(group: np.ndarray, element: np.ndarray, atol: float = 1e-3) -> bool:
    return bool((np.abs(group - element).max((1, 2)) < atol).any())


@settings(max_examples=30)
@given(st.integers(2, 8), st.booleans(), st.booleans(), st.tuples(*[st.floats(-50, 50)] * 3),
       st.sampled_from([20.0, 30.0, 45.0]))
def test_group_is_closed_and_has_inverses(n: int, flip: bool, continuous: bool, offset: tuple, step: float) -> None:
    center = np.array(offset)
    generators = [turn_about([0, 0, 1], 2 * np.pi / n, center)]
    if flip:
        generators.append(turn_about([1, 0, 0], np.pi, center))
    info = {"symmetries_discrete": [g.reshape(-1).tolist() for g in generators]}
    if continuous and n in (2, 3, 4, 6, 8):
        # Steps that n does not divide would make the group finer than asked, not wrong; keep the sizes small.
        step = 360.0 / 24
        info["symmetries_continuous"] = [{"axis": [0, 0, 1], "offset": list(offset)}]
    group = symmetry_group(info, 1e-3, step_deg=step)
    assert np.allclose(group[0], np.eye(4))
    around = 24 if continuous and n in (2, 3, 4, 6, 8) else n
    assert len(group) == around * (2 if flip else 1)
    for a in group[:: max(1, len(group) // 6)]:
        assert is_member(group, np.linalg.inv(a))
        assert all(is_member(group, a @ b) for b in group)
    assert np.allclose(transform(group, center[None] * 1e-3), center * 1e-3, atol=1e-9)


def test_no_declaration_means_identity_only() -> None:
    assert np.array_equal(symmetry_group({}, 1e-3), np.eye(4)[None])


def test_continuous_axis_has_the_step_asked_for_and_respects_its_offset() -> None:
    group = symmetry_group({"symmetries_continuous": [{"axis": [0, 0, 2], "offset": [10, 0, 0]}]}, 1e-3, step_deg=5)
    assert len(group) == 72
    angles = np.sort(angle_between(group, np.eye(4)))
    assert angles[1] == pytest.approx(np.radians(5))
    half = group[np.argmax(angle_between(group, np.eye(4)))]
    assert np.allclose(half[:3, 3], [0.02, 0, 0], atol=1e-9)  # t = offset - R offset


def test_sphere_gets_turns_in_all_directions() -> None:
    axes = [{"axis": [0, 0, 1], "offset": [0, 0, 0]}, {"axis": [1, 0, 0], "offset": [0, 0, 0]}]
    info = {"symmetries_continuous": axes}
    group = symmetry_group(info, 1e-3)
    wanted = so3_exp(np.random.default_rng(0).normal(size=(50, 3)))
    nearest = [angle_between(group, from_rotation_translation(r, np.zeros(3))).min() for r in wanted]
    assert np.allclose(group[0], np.eye(4)) and max(nearest) < np.radians(30)


@pytest.mark.parametrize("info, word", [
    ({"symmetries_discrete": [[1, 0, 0]]}, "16 finite numbers"),
    ({"symmetries_discrete": [np.diag([2.0, 1, 1, 1]).reshape(-1).tolist()]}, "no rotation"),
    ({"symmetries_continuous": [{"axis": [0, 0, 0], "offset": [0, 0, 0]}]}, "axis"),
    ({"symmetries_discrete": [turn_about([0, 0, 1], 1.2345, np.zeros(3)).reshape(-1).tolist()]}, "more than"),
])
def test_bad_declarations_are_refused(info: dict, word: str) -> None:
    with pytest.raises(MeshError, match=word):
        symmetry_group(info, 1e-3)


@settings(max_examples=30)
@given(st.tuples(*[st.floats(-2, 2)] * 6), st.integers(0, 71), st.floats(-0.03, 0.03))
def test_nearest_equivalent_undoes_a_symmetric_turn(xi: tuple, k: int, small: float) -> None:
    group = symmetry_group({"symmetries_continuous": [{"axis": [0, 0, 1], "offset": [0, 0, 0]}]}, 1e-3, step_deg=5)
    reference = se3_exp(np.array(xi))
    turned = reference @ group[k] @ turn_about([0, 0, 1], small, np.zeros(3))
    back = nearest_equivalent(turned, group, reference)
    assert angle_between(back, reference) < abs(small) + 1e-6
    assert any(np.allclose(back, turned @ s) for s in group)


def box_model(extents: tuple[float, float, float], symmetries: np.ndarray | None = None) -> ObjectModel:
    return model_of(trimesh.creation.box(extents=extents), "box", None, symmetries)


def test_shape_of_a_cube_has_24_turns() -> None:
    found = shape_symmetries(box_model((0.1, 0.1, 0.1)))
    assert len(found) == 24 and np.allclose(found[0], np.eye(4))


def test_shape_of_a_box_has_4_turns_also_when_it_lies_askew_and_far_from_the_origin() -> None:
    mesh = trimesh.creation.box(extents=(0.1, 0.06, 0.03))
    mesh.apply_transform(pose((0.4, -0.8, 1.1), (0.3, 0.2, -0.1)))
    found = shape_symmetries(model_of(mesh, "box", None))
    assert len(found) == 4
    vertices = np.asarray(mesh.vertices)
    for t in found:
        assert np.abs(transform(t, vertices)[:, None] - vertices[None]).sum(-1).min(1).max() < 2e-3


def test_declared_symmetries_are_not_repeated() -> None:
    declared = np.array([np.eye(4), FLIP_X])
    assert len(shape_symmetries(box_model((0.1, 0.06, 0.03), declared))) == 2


def test_asymmetric_shape_has_none() -> None:
    base = trimesh.creation.box(extents=(0.1, 0.07, 0.04))
    horn = trimesh.creation.box(extents=(0.03, 0.03, 0.08))
    horn.apply_translation((0.035, 0.02, 0.06))
    found = shape_symmetries(model_of(trimesh.util.concatenate([base, horn]), "horned", None))
    assert np.array_equal(found, np.eye(4)[None])


@settings(max_examples=30)
@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: np.linalg.norm(a) > 0.1),
       st.tuples(*[st.floats(-50, 50)] * 3), st.booleans())
def test_a_continuous_axis_is_found_in_its_group(axis: tuple, offset: tuple, flip: bool) -> None:
    info: dict = {"symmetries_continuous": [{"axis": list(axis), "offset": list(offset)}]}
    unit = np.array(axis) / np.linalg.norm(axis)
    if flip:
        across = np.cross(unit, [1.0, 0, 0] if abs(unit[0]) < 0.7 else [0, 1.0, 0])
        info["symmetries_discrete"] = [turn_about(across / np.linalg.norm(across), np.pi,
                                                  np.array(offset)).reshape(-1).tolist()]
    found, point = free_axis(symmetry_group(info, 1e-3))
    assert abs(found @ unit) == pytest.approx(1.0, abs=1e-6)
    away = point - 1e-3 * np.array(offset)
    assert np.linalg.norm(away - (away @ unit) * unit) < 1e-6


def test_discrete_groups_and_spheres_have_no_free_axis() -> None:
    six = [turn_about([0, 0, 1], k * np.pi / 3, np.zeros(3)).reshape(-1).tolist() for k in range(1, 6)]
    ball = [{"axis": axis, "offset": [0, 0, 0]} for axis in ([0, 0, 1], [1, 0, 0])]
    assert free_axis(symmetry_group({}, 1e-3)) is None
    assert free_axis(symmetry_group({"symmetries_discrete": six}, 1e-3)) is None
    assert free_axis(symmetry_group({"symmetries_continuous": ball}, 1e-3)) is None


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.floats(-3.1, 3.1))
def test_turning_about_the_free_axis_undoes_a_spin_and_leaves_no_better_turn(seed: int, spin: float) -> None:
    rng = np.random.default_rng(seed)
    axis, point = rng.normal(size=3), rng.uniform(-0.1, 0.1, 3)
    axis /= np.linalg.norm(axis)
    truth = se3_exp(rng.normal(size=6))
    spun = truth @ turn_about(axis, spin, point)
    np.testing.assert_allclose(turned_to(spun[None], truth[None], axis, point)[0], truth, atol=1e-9)
    other = se3_exp(rng.normal(size=6) * 0.3) @ spun
    best = angle_between(turned_to(spun[None], other[None], axis, point)[0], other)
    grid = np.array([spun @ turn_about(axis, a, point) for a in np.linspace(-np.pi, np.pi, 181)])
    assert best <= angle_between(grid, other).min() + 1e-9
