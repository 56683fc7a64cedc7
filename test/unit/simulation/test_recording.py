"""Whole recordings: determinism, truth that agrees with the pictures, the events of the demo, files."""

import json

import numpy as np
import pytest

from storm_core.bags.recording import open_recording
from storm_core.bags.truth import load_truth
from storm_core.bop.dataset import object_ids
from storm_core.cli.main import main
from storm_core.errors import ConfigError
from storm_core.rendering.raster import NumbaRenderer
from storm_core.simulation.recording import SimulatedRecording


@pytest.fixture(scope="module")
def demo():
    return SimulatedRecording("demo", 0)


@pytest.fixture(scope="module")
def drawn():
    """The `still` scenario that `still` has on disk."""
    return SimulatedRecording("still", 5)


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """The `still` scenario on disk, both formats."""
    out = tmp_path_factory.mktemp("still")
    assert main(["simulate", "still", "--out", str(out), "--format", "both", "--seed", "5"]) == 0
    return out


def test_same_seed_same_bytes_whatever_the_threads():
    first = SimulatedRecording("still", 7, threads=1)
    again = SimulatedRecording("still", 7, threads=2)
    for k in (0, 11):
        a, b = first.render(k), again.render(k)
        assert a.frame.rgb.tobytes() == b.frame.rgb.tobytes()
        assert a.frame.depth.tobytes() == b.frame.depth.tobytes()
    assert np.array_equal(next(iter(again)).frame.rgb, first.render(0).frame.rgb)
    other = SimulatedRecording("still", 8).render(0)
    assert not np.array_equal(other.frame.rgb, first.render(0).frame.rgb)


def test_unknown_scenario_names_the_known_ones():
    with pytest.raises(ConfigError, match="demo, still"):
        SimulatedRecording("nowhere")


@pytest.mark.parametrize("index", [0, 108, 352])
def test_truth_agrees_with_the_pictures(demo, index):
    simulated = demo.render(index)
    camera = simulated.frame.camera
    for name, truth in simulated.truth.items():
        rendering = NumbaRenderer().render(demo.models[name], truth.cam_from_obj[None], camera)
        silhouette = rendering.mask[0]
        # Single against double precision: pixel centres on an edge may fall to either side.
        assert (silhouette ^ truth.mask_full).sum() <= 0.01 * truth.mask_full.sum() + 3
        assert not (truth.mask & ~truth.mask_full).any()
        seen = truth.mask & silhouette
        assert np.abs(simulated.depth - rendering.depth[0])[seen].max() < 2e-3
        measured = seen & (simulated.frame.depth > 0)
        error = np.abs(simulated.frame.depth - rendering.depth[0])[measured]
        assert np.median(error) < 0.003
        assert truth.visib_fract == pytest.approx(truth.mask.sum() / max(truth.mask_full.sum(), 1), abs=0.15)
        assert np.allclose(demo.cam_from_obj(name, index), truth.cam_from_obj)


def test_events_of_the_demo(demo):
    """Rest, full occlusion of 1.5 s, exit and return, fast motion: at the times the scenario gives."""
    def visible(t):
        return demo.render(round(t * 30)).truth["cereal_box"].visib_fract

    assert visible(0.5) > 0.99 and visible(4.5) > 0.99
    assert visible(5.4) == 0 and visible(6.0) == 0 and visible(6.6) == 0
    assert visible(7.6) > 0.99
    assert visible(9.0) == 0 and visible(9.6) == 0
    assert visible(11.0) > 0.99 and visible(13.9) > 0.99
    assert 12 <= len(demo) / 30 <= 15
    places = np.array([demo.cam_from_obj("cereal_box", k)[:3, 3] for k in range(len(demo))])
    speed = np.linalg.norm(np.diff(places, axis=0), axis=1) * 30
    assert max(speed[340:370]) > 0.4
    assert max(speed[:35]) < 0.05


def test_an_object_that_leaves_counts_its_hidden_part(demo):
    """visib_fract is measured against the whole silhouette, also the part beyond the image border."""
    truth = demo.render(250).truth["cereal_box"]
    assert truth.mask_full[:, 0].any()
    assert truth.silhouette_px > truth.mask_full.sum()
    assert truth.visib_fract < 0.95


def test_fast_motion_blurs_the_picture(demo):
    def sharpness(index):
        simulated = demo.render(index)
        gray = simulated.frame.rgb.astype(float).mean(2)
        mask = simulated.truth["cereal_box"].mask
        return np.abs(np.diff(gray, axis=1))[mask[:, 1:]].mean()

    assert sharpness(352) < 0.8 * sharpness(10)


def test_bop_scene_and_bag_give_back_the_frames(still, drawn):
    scene, bag = open_recording(still / "test" / "000001"), open_recording(still / "bag")
    assert len(scene) == len(bag) == len(drawn) == 15
    frames = zip(scene.frames(), bag.frames(), strict=True)
    for k, (from_scene, from_bag) in enumerate(frames):
        if k > 2:
            break
        frame = drawn.render(k).frame
        assert np.array_equal(from_scene.rgb, frame.rgb) and np.array_equal(from_bag.rgb, frame.rgb)
        assert np.abs(from_scene.depth - frame.depth).max() < 1e-4
        assert np.abs(from_bag.depth - frame.depth).max() < 1e-4
        assert from_bag.stamp_ns == frame.stamp_ns
        assert from_scene.camera == from_bag.camera == frame.camera


def test_ground_truth_of_both_formats_is_the_same(still, drawn):
    names = list(drawn.models)
    scene, bag = open_recording(still / "test" / "000001"), open_recording(still / "bag")
    of_scene = load_truth(scene, object_ids(still / "models", names), names)
    of_bag = load_truth(bag, {}, names)
    for name in names:
        for k in (0, 14):
            expected = drawn.cam_from_obj(name, k)
            assert np.allclose(of_scene.frames[name][k][0].cam_from_obj, expected, atol=1e-6)
            assert np.allclose(of_bag.frames[name][k][0].cam_from_obj, expected, atol=1e-6)


def test_visible_masks_match_their_annotation(still):
    import cv2

    scene = still / "test" / "000001"
    infos = json.loads((scene / "scene_gt_info.json").read_text())["3"]
    for k, info in enumerate(infos):
        mask = cv2.imread(str(scene / "mask_visib" / f"000003_{k:06d}.png"), cv2.IMREAD_UNCHANGED) > 0
        assert mask.sum() == info["px_count_visib"]
        v, u = np.nonzero(mask)
        assert info["bbox_visib"] == [u.min(), v.min(), u.max() - u.min() + 1, v.max() - v.min() + 1]


def test_simulate_refuses_to_overwrite(still, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(still.parent))
    for out in (str(still), f"~/{still.name}"):
        assert main(["simulate", "still", "--out", out]) == 1
        assert f"{still / 'models'} exists already" in capsys.readouterr().err


def test_simulate_into_a_file_is_one_clear_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["simulate", "still", "--out", str(tmp_path / "file" / "out")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "file" in error
