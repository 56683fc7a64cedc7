"""Weights on disk: STORM's own, and FoundationPose's official checkpoints."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from storm_core.errors import WeightsError
from storm_core.render_compare.forward import tensor_shapes
from storm_core.render_compare.shape import OFFICIAL_SHAPE
from storm_core.render_compare.tensor_file import read_tensors, write_tensors
from storm_core.render_compare.weights import load_pair_weights, save_pair_weights
from test.unit.refiner.made import random_weights

CONFIG = {"input_resize": [160, 160], "normalize_xyz": True, "crop_ratio": 1.4, "rot_normalizer": 0.349,
          "rot_rep": "axis_angle", "trans_rep": "tracknet", "use_BN": True, "c_in": 6}


def test_own_weights_survive_the_disk(tmp_path: Path) -> None:
    weights = random_weights("scorer")
    save_pair_weights(tmp_path / "w.safetensors", weights)
    again = load_pair_weights(tmp_path / "w.safetensors", "scorer")
    assert again.shape == weights.shape and again.scaling == weights.scaling and again.facts == weights.facts
    assert all(np.array_equal(again.tensors[k], v) for k, v in weights.tensors.items())
    assert len(again.sha256) == 64 and again.license == "Apache-2.0"
    with pytest.raises(WeightsError, match="holds a scorer, not a refiner"):
        load_pair_weights(tmp_path / "w.safetensors", "refiner")


def test_damaged_files_are_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(WeightsError, match="cannot read weights"):
        load_pair_weights(path, "refiner")
    save_pair_weights(path, random_weights("refiner"))
    content = path.read_bytes()
    for wrong in (content[:5], content[:2000], content[:-10], b"PK" + content, b""):
        path.write_bytes(wrong)
        with pytest.raises(WeightsError, match="damaged or no safetensors file"):
            load_pair_weights(path, "refiner")
    path.write_bytes(content[:-8] + b"\xff" * 8)
    with pytest.raises(WeightsError, match="not finite"):
        load_pair_weights(path, "refiner")
    write_tensors(path, {"x": np.zeros(3, np.float32)}, {})
    with pytest.raises(WeightsError, match="not those of STORM's refiner"):
        load_pair_weights(path, "refiner")


def test_the_format_is_that_of_safetensors(tmp_path: Path) -> None:
    package = pytest.importorskip("safetensors.numpy", reason="the reference is the safetensors package")
    tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(3, np.int64)}
    write_tensors(tmp_path / "ours", tensors, {"k": "v"})
    theirs = package.load_file(tmp_path / "ours")
    assert all(np.array_equal(theirs[k], v) for k, v in tensors.items())
    package.save_file(tensors, tmp_path / "theirs", {"k": "v"})
    again, metadata = read_tensors(tmp_path / "theirs")
    assert metadata == {"k": "v"} and all(np.array_equal(again[k], v) for k, v in tensors.items())


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the official layout: optimiser beside `model`, counters of the normalisations, config.yml."""
    torch = pytest.importorskip("torch", reason="official checkpoints are torch files")
    rng = np.random.default_rng(3)
    state = {}
    for name, size in tensor_shapes(OFFICIAL_SHAPE, "refiner").items():
        state[name] = torch.from_numpy(rng.random(size, np.float32))
        if name.endswith("running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
    folder = tmp_path_factory.mktemp("official")
    torch.save({"model": state, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}, folder / "model_best.pth")
    (folder / "config.yml").write_text(yaml.safe_dump(CONFIG))
    return folder / "model_best.pth"


def test_official_checkpoints_load_key_for_key(official: Path, caplog: pytest.LogCaptureFixture) -> None:
    import torch

    from storm_core.render_compare.choice import open_weights

    weights = open_weights(str(official), "refiner")
    kept = torch.load(official, weights_only=True)["model"]
    assert set(weights.tensors) == {k for k in kept if not k.endswith("num_batches_tracked")}
    assert all(np.array_equal(weights.tensors[k], kept[k].numpy()) for k in weights.tensors)
    # The published code transposes the turn, so it goes the other way round.
    assert weights.scaling.crop_ratio == 1.4 and weights.scaling.turn == -0.349 and weights.scaling.shift is None
    assert weights.shape == OFFICIAL_SHAPE
    assert "non-commercial" in weights.license and "non-commercial" in caplog.text


def test_wrong_official_checkpoints_are_one_clear_error(official: Path, tmp_path: Path) -> None:
    import torch

    from storm_core.render_compare.official import load_official

    def attempt(match: str, kind: str = "refiner") -> None:
        with pytest.raises(WeightsError, match=match):
            load_official(path, kind)

    path = tmp_path / "model_best.pth"
    attempt("cannot read .*config.yml")
    (tmp_path / "config.yml").write_text(yaml.safe_dump(CONFIG))
    attempt("cannot read the checkpoint")
    path.write_bytes(official.read_bytes()[:100_000])
    attempt("cut short")
    state = torch.load(official, weights_only=True)["model"]
    torch.save(dict(list(state.items())[:-1]), path)
    attempt("no official refiner: .* has shape None")
    torch.save(state, path)
    attempt("no official scorer", "scorer")
    for other in ([1, 2], dict(enumerate(state.values()))):
        torch.save(other, path)
        attempt("holds no weights")
    for text in ("epoch: 3\n", "hello world " * 50, "<html>not found</html>"):
        path.write_text(text)
        attempt("cannot read the checkpoint")
    torch.save(state, path)
    for wrong, match in (({"c_in": 4}, "c_in is 4"), ({"normalize_xyz": False}, "normalize_xyz"),
                         ({"rot_normalizer": None}, "lacks rot_normalizer"), ({"input_resize": [160, 120]}, "square"),
                         ({"trans_rep": "deepim"}, "trans_rep"), ({"crop_ratio": "wide"}, "must be numbers"),
                         ({"crop_ratio": -1}, "above 0, got -1"), ({"crop_ratio": 0}, "above 0"),
                         ({"rot_normalizer": float("nan")}, "above 0"), ({"input_resize": [8, 8]}, "input_resize is 8"),
                         ({"rot_rep": "quat"}, "rot_rep is 'quat'"), ({"rot_rep": ["6d"]}, "rot_rep is")):
        (tmp_path / "config.yml").write_text(yaml.safe_dump(CONFIG | wrong))
        attempt(match)


def test_figures_beside_an_official_network_do_no_harm(official: Path, tmp_path: Path) -> None:
    import torch

    from storm_core.render_compare.official import load_official

    (tmp_path / "config.yml").write_text(yaml.safe_dump(CONFIG))
    kept = torch.load(official, weights_only=True)
    torch.save(kept | {"best": np.float64(0.25), "step": np.int64(7), "rate": np.float32(0.1)}, tmp_path / "m.pth")
    again = load_official(tmp_path / "m.pth", "refiner")
    assert all(np.array_equal(again.tensors[k], kept["model"][k].numpy()) for k in again.tensors)


def test_a_damaged_onnx_file_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from storm_core.models import packages
    from storm_core.render_compare.onnx_file import OnnxRefiner

    class InvalidProtobuf(Exception):  # noqa: N818  that is its name, and its base
        pass

    def session(content: bytes, options: object) -> None:
        raise InvalidProtobuf("Protobuf parsing failed")

    monkeypatch.setattr(packages, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(SessionOptions=SimpleNamespace,
                                                                    InferenceSession=session))
    state = SimpleNamespace(InvalidProtobuf=InvalidProtobuf, version="1")
    monkeypatch.setitem(sys.modules, "onnxruntime.capi", SimpleNamespace(onnxruntime_pybind11_state=state))
    (tmp_path / "refiner.onnx").write_bytes(b"cut")
    with pytest.raises(WeightsError, match=r"cannot read .*InvalidProtobuf"):
        OnnxRefiner(tmp_path / "refiner.onnx")


def test_a_round_trip_through_onnx_says_the_same(tmp_path: Path) -> None:
    for package in ("torch", "onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"ONNX needs {package}")
    from storm_core.render_compare.forward import PairForward
    from storm_core.render_compare.onnx_file import OnnxRefiner, export_refiner

    weights = random_weights("refiner")
    export_refiner(weights, tmp_path / "refiner.onnx")
    x = np.random.default_rng(0).normal(size=(3, 2, 6, weights.shape.crop, weights.shape.crop)).astype(np.float32)
    found = OnnxRefiner(tmp_path / "refiner.onnx")
    assert found.shape.crop == weights.shape.crop
    for ours, theirs in zip(PairForward(weights).motions(x), found.motions(x), strict=True):
        assert np.allclose(ours, theirs, atol=1e-4)
