"""Views of an object that serve longer than one pose, and what stands in for exact work."""

import threading

import numba
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from storm_core.config import MonitorConfig, TrackingConfig
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import bare_features, fit_normal, frame_features
from storm_core.monitor.monitor import EvidenceMonitor
from storm_core.parallel import on_threads
from storm_core.rendering.raster import NumbaRenderer
from storm_core.tracking.gauss_newton import positive_definite
from storm_core.tracking.histogram import ColorModel, count
from storm_core.tracking.optimise import assess, center_of, moved, rank, tolerance
from storm_core.tracking.sparse_model import border_kernel, rendered_view, turned_away
from storm_core.tracking.tracker import RegionDepthTracker
from storm_core.types import Track
from test.unit.tracking.scenes import CAMERA, STEP_NS, background, observe, registered, swing, wedge

MODEL = wedge()
POSE = swing(1)[0]
RNG = np.random.default_rng(5)
FRAME = observe(MODEL, POSE, 0, background(RNG), RNG)
VIEW = rendered_view(MODEL, POSE, CAMERA)


def test_borders_agree_with_their_slow_twin() -> None:
    """The twin averages the whole mask first and takes the differences of neighbours then."""
    mask = (VIEW.depth > 0).astype(np.uint8)
    side = len(mask)
    soft = np.zeros((side, side))
    for v in range(2, side - 2):
        for u in range(2, side - 2):
            soft[v, u] = mask[v - 2 : v + 3, u - 2 : u + 3].mean()
    out = np.empty(3)
    checked = 0
    for v in range(3, side - 3):
        for u in range(3, side - 3):
            if not mask[v, u] or mask[v - 1 : v + 2, u - 1 : u + 2].all():
                continue
            smooth = np.array([0.5, 1.0, 0.5])
            near = soft[v - 1 : v + 2, u - 1 : u + 2]
            gradient = np.array([smooth @ (near[:, 0] - near[:, 2]), (near[0] - near[2]) @ smooth])
            assert border_kernel(mask, u, v, out)
            length = np.linalg.norm(gradient)
            np.testing.assert_allclose(out[:2], gradient / length, atol=1e-12)
            assert out[2] == pytest.approx(np.clip((soft[v, u] - 0.5) / (length / 4), -0.5, 1.5))
            checked += 1
    assert checked > 50


def test_a_turn_in_the_picture_turns_nothing_away_and_others_do_by_their_angle() -> None:
    center = center_of(MODEL, POSE)
    sight = center / np.linalg.norm(center)
    across = np.cross(sight, [0.0, 1.0, 0.0])
    for axis, expected in ((sight, 0.0), (across / np.linalg.norm(across), 0.3)):
        turned = moved(POSE, center, np.concatenate([np.zeros(3), 0.3 * axis]))
        assert turned_away(VIEW, turned, MODEL.center) == pytest.approx(expected, abs=1e-6)
    nearer = moved(POSE, center, np.concatenate([-0.2 * center, np.zeros(3)]))
    assert turned_away(VIEW, nearer, MODEL.center) == pytest.approx(-np.log(0.8), abs=1e-6)


def test_the_coarse_surface_looks_like_the_fine_one() -> None:
    import trimesh

    from test.synthetic import model_of

    mesh = trimesh.creation.icosphere(subdivisions=5, radius=0.05)
    mesh.vertices *= [1.0, 0.7, 0.5]
    model = model_of(mesh, "egg", None)
    faces = model.coarse.faces
    assert len(faces) <= 2000 < len(model.faces)
    fine, coarse = rendered_view(model, POSE, CAMERA).depth, NumbaRenderer().depth(model, POSE[None], CAMERA)[0][0]
    crop = rendered_view(model, POSE, CAMERA).crop
    v, u = np.nonzero(fine)
    x, y = np.rint(crop[4] + crop[6] * u).astype(int), np.rint(crop[5] + crop[6] * v).astype(int)
    both = coarse[y, x] > 0
    assert both.mean() > 0.95
    # Reading the picture at the nearest pixel costs up to half of its 1.8 mm on steep sides.
    assert np.median(np.abs(fine[v, u] - coarse[y, x])[both]) < 5e-4


def test_the_coarse_surface_wears_the_colours_of_the_fine_one() -> None:
    import trimesh

    from test.synthetic import model_of

    mesh = trimesh.creation.icosphere(subdivisions=5, radius=0.05)
    colors = np.clip(128 + 2400 * mesh.vertices, 0, 255).astype(np.uint8)
    model = model_of(mesh, "ball", colors)
    coarse = model.coarse
    assert coarse.colors is not None and len(coarse.colors) == len(coarse.vertices) < len(model.vertices)
    expected = np.clip(128 + 2400 * coarse.vertices, 0, 255)
    assert np.abs(coarse.colors - expected).mean() < 4.0
    assert model_of(mesh, "plain", None).coarse.colors is None


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_matrices_are_positive_definite_when_they_have_full_rank(seed: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    factor = np.linalg.qr(rng.normal(size=(6, 6)))[0][:, :columns] * rng.uniform(0.5, 2.0, columns)
    gram = factor @ factor.T
    # A tiny pivot on the way blows rounding up, which then fills what is empty.
    assume(all(np.linalg.eigvalsh(gram[:k, :k])[0] > 1e-2 for k in range(1, columns + 1)))
    assert positive_definite(gram) == (columns == 6)


def test_ranking_puts_starts_in_the_order_of_their_quality() -> None:
    posterior = ColorModel(count(FRAME, VIEW, tolerance(MODEL.diameter))).posterior
    rng = np.random.default_rng(0)
    center = center_of(MODEL, POSE)
    scale = np.array([0.2 * MODEL.diameter] * 3 + [0.35] * 3)
    starts = np.array([moved(POSE, center, step * scale * rng.normal(size=6)) for step in np.linspace(0, 1, 30)])
    rough = rank(FRAME, MODEL, VIEW, starts, posterior)
    exact = [assess(FRAME, MODEL, VIEW, start, posterior).quality for start in starts]
    assert np.corrcoef(rough, exact)[0, 1] > 0.95
    assert np.argmax(rough) == np.argmax(exact) == 0


def test_one_pose_is_compared_like_many_and_its_normals_are_those_of_the_picture() -> None:
    center = center_of(MODEL, POSE)
    poses = np.array([POSE, moved(POSE, center, np.array([0.003, 0, 0, 0, 0.05, 0]))])
    features = frame_features(FRAME)
    together = compare(features, MODEL, poses)
    alone = np.concatenate([compare(features, MODEL, pose[None]) for pose in poses])
    np.testing.assert_allclose(alone, together, rtol=1e-9, atol=1e-9)
    bare = to_evidence(compare(bare_features(FRAME), MODEL, POSE[None])[0])
    whole = to_evidence(together[0])
    assert bare.normal == pytest.approx(whole.normal, abs=0.02)
    assert (bare.inlier, bare.contour) == (whole.inlier, whole.contour)


def test_the_normal_of_a_tilted_plane_is_exact() -> None:
    normal = np.array([0.3, -0.4, -0.866])
    normal /= np.linalg.norm(normal)
    v, u = np.indices((60, 80))
    camera = np.array([70.0, 72.0, 39.5, 29.5])
    rays = np.stack([(u - camera[2]) / camera[0], (v - camera[3]) / camera[1], np.ones_like(u, float)], -1)
    depth = (-0.5 / (rays @ normal)).astype(np.float32)
    out = np.zeros(3)
    assert fit_normal(depth, 40, 30, camera, out)
    np.testing.assert_allclose(out, normal, atol=1e-3)
    assert not fit_normal(np.zeros_like(depth), 40, 30, camera, out)


def test_threads_give_the_results_in_order_and_only_where_there_is_work() -> None:
    main = threading.get_ident()
    assert on_threads(lambda k: (k, threading.get_ident()), [7]) == [(7, main)]
    limit = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert {where for _, where in on_threads(lambda k: (k, threading.get_ident()), range(5))} == {main}
    finally:
        numba.set_num_threads(limit)
    assert on_threads(lambda k: k * k, range(20)) == [k * k for k in range(20)]
    with pytest.raises(ZeroDivisionError):
        on_threads(lambda k: 1 / k, [1, 0])


def test_many_objects_are_tracked_and_judged_as_if_alone() -> None:
    rng = np.random.default_rng(1)
    backdrop = background(rng)
    poses = swing(6)
    frames = [observe(MODEL, pose, i * STEP_NS, backdrop, rng) for i, pose in enumerate(poses)]
    found = {}
    for names in (("a",), ("a", "b", "c")):
        models = {name: wedge(name) for name in names}
        tracker, monitor = RegionDepthTracker(models, TrackingConfig()), EvidenceMonitor(models, MonitorConfig())
        for name in names:
            tracker.start(frames[0], registered(name, poses[0], 0))
        for frame in frames[1:]:
            tracks = list(tracker.track(frame).values())
            assert all(isinstance(track, Track) for track in tracks)
            judgements = on_threads(lambda track: monitor.judge(frame, track), tracks)  # noqa: B023
        for track, judgement in zip(tracks, judgements, strict=True):
            found[len(names), track.object_name] = (track.cam_from_obj, judgement.probability)
    for pose, probability in found.values():
        np.testing.assert_array_equal(pose, found[1, "a"][0])
        assert probability == found[1, "a"][1]
