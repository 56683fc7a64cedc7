"""The small learned verifier: what it sees, and that its plain forward pass is the trained network."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml

from storm_core.errors import WeightsError
from storm_core.evidence.compare import crop_camera
from storm_core.monitor.crop import AROUND, GAP, INPUTS, PLANES, SIDE, crop_of, inputs
from storm_core.monitor.network import CropNetwork, shapes
from storm_core.monitor.weights import load_network, save_weights
from storm_core.rendering.raster import NumbaRenderer
from test.synthetic import CAMERA, frame_of, pose, textured_box

MODELS = Path(__file__).resolve().parents[3] / "models"
MODEL = textured_box()
TRUTH = pose((0.4, 0.3, 0.1), (0.01, 0.0, 0.55))
FRAME = frame_of([(MODEL, TRUTH)], noise=0.0)


def network(seed: int = 0) -> CropNetwork:
    rng = np.random.default_rng(seed)
    return CropNetwork({name: (0.1 * rng.standard_normal(shape)).astype(np.float32)
                        for name, shape in shapes().items()})


def test_a_crop_shows_what_a_full_render_shows() -> None:
    """The slow twin: render the whole image, look up every crop pixel there."""
    moved = TRUTH.copy()
    moved[2, 3] += 0.02 * MODEL.diameter
    crop = crop_of(FRAME, MODEL, moved)
    full = NumbaRenderer().render(MODEL, moved[None], CAMERA)
    fx, fy, cx, cy, x0, y0, step = crop_camera(moved, MODEL.center, MODEL.diameter, CAMERA.vector, SIDE)
    center = moved[:3, :3] @ MODEL.center + moved[:3, 3]
    u, v = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    x, y = np.floor(x0 + step * u + 0.5).astype(int), np.floor(y0 + step * v + 0.5).astype(int)
    seen = full.mask[0][y, x]
    assert (seen == (crop[8] > 0)).mean() > 0.96  # outlines fall between pixels
    both = seen & (crop[8] > 0) & (FRAME.depth[y, x] > 0)
    gap = (crop[6].astype(float) - 128) / 127 * GAP
    wanted = (FRAME.depth[y, x] - full.depth[0][y, x]) / MODEL.diameter
    inner = both & (np.abs(wanted) < GAP / 2)
    assert inner.sum() > 200 and np.median(np.abs(gap - wanted)[inner]) < 0.004
    around = (crop[7].astype(float) - 128) / 127 * AROUND
    assert np.median(np.abs(around - (FRAME.depth[y, x] - center[2]) / MODEL.diameter)[both]) < 0.006
    assert fx / fy == pytest.approx(CAMERA.fx / CAMERA.fy) and cx == pytest.approx(cy, abs=SIDE)


def test_what_was_not_measured_is_unknown_not_zero() -> None:
    crop = crop_of(FRAME, MODEL, TRUTH)
    crop[6:8] = 0
    x = inputs(crop)
    assert x.shape == (INPUTS, SIDE, SIDE) and not x[6].any() and not x[7].any() and not x[9].any()


def test_light_and_white_balance_are_no_evidence() -> None:
    crop = crop_of(FRAME, MODEL, TRUTH)
    other = crop.copy()
    other[:3] = np.clip(0.7 * crop[:3].astype(float) + np.array([10, 0, 25])[:, None, None], 0, 255)
    assert np.abs(inputs(other) - inputs(crop))[:, crop[8] > 0].mean() < 0.03


def test_batches_are_judged_like_single_crops() -> None:
    crops = np.stack([crop_of(FRAME, MODEL, TRUTH), np.random.default_rng(0).integers(
        0, 255, (PLANES, SIDE, SIDE)).astype(np.uint8)])
    net = network()
    alone = [net.log_odds(inputs(crop[None]))[0] for crop in crops]
    np.testing.assert_allclose(net.log_odds(inputs(crops)), alone, atol=1e-4)


def test_compiled_and_numpy_answer_alike() -> None:
    rng = np.random.default_rng(2)
    noise, plain, hidden, dark = rng.integers(0, 255, (4, PLANES, SIDE, SIDE)).astype(np.uint8)
    plain[:6] = 100  # a surface of one colour is not blown up
    hidden[8] = 0  # nothing of the object is in the picture
    dark[6:8] = 0  # nothing is measured
    net = network()
    for crop in (crop_of(FRAME, MODEL, TRUTH), noise, plain, hidden, dark):
        assert net.of_crop(crop) == pytest.approx(net.log_odds(inputs(crop[None]))[0], rel=1e-3, abs=1e-4)


def test_numpy_and_torch_answer_alike() -> None:
    torch = pytest.importorskip("torch", reason="training needs torch: make full")
    from storm_core.training.monitor_crops import CropModule

    net, module = network(), CropModule()
    module.load_state_dict({name: torch.from_numpy(value) for name, value in net.params.items()})
    x = np.random.default_rng(1).standard_normal((3, INPUTS, SIDE, SIDE)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(net.log_odds(x), module(torch.from_numpy(x)).numpy(), rtol=1e-3, atol=1e-4)


def test_weights_survive_the_disk_and_damage_is_named(tmp_path: Path) -> None:
    file, net = tmp_path / "net.npz", network()
    save_weights(file, net.params, {"steps": 3})
    for name, value in load_network(file).params.items():
        np.testing.assert_array_equal(value, net.params[name])
    save_weights(tmp_path / "short.npz", {k: v for k, v in net.params.items() if k != "head1.bias"}, {})
    with pytest.raises(WeightsError, match="head1.bias"):
        load_network(tmp_path / "short.npz")
    (tmp_path / "junk.npz").write_bytes(b"PK nothing")
    with pytest.raises(WeightsError, match="storm train"):
        load_network(tmp_path / "junk.npz")
    with pytest.raises(WeightsError, match="no weights"):
        load_network(tmp_path / "missing.npz")


def test_the_shipped_network_is_listed_intact_small_and_tells_right_from_shifted() -> None:
    entry, = [e for e in yaml.safe_load((MODELS / "manifest.yaml").read_text())["shipped"] if e["name"] == "monitor"]
    content = (MODELS / entry["file"]).read_bytes()
    assert (entry["sha256"], entry["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert len(content) < 300_000
    shifted = TRUTH.copy()
    shifted[:3, 3] += [0.3 * MODEL.diameter, 0.0, 0.0]
    right, wrong = load_network().log_odds(inputs(np.stack([crop_of(FRAME, MODEL, p) for p in (TRUTH, shifted)])))
    assert right > 1 and wrong < -1
