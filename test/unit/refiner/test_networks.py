"""The networks without torch: they say the same as in torch, and refuse weights that do not fit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storm_core.errors import BackendError, ConfigError, WeightsError
from storm_core.render_compare.forward import PairForward, tensor_shapes
from storm_core.render_compare.refiner import HostRefiner, Hypotheses, PairScorer
from storm_core.render_compare.shape import OFFICIAL_SHAPE, NetworkShape
from test.unit.refiner.made import SHAPE, random_weights, small_object, view_of


def pairs(count: int, shape: NetworkShape = SHAPE) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(count, 2, shape.channels, shape.crop, shape.crop)).astype(np.float32)


@pytest.mark.parametrize("shape", [SHAPE, replace(SHAPE, batch_norm=False, rotation=6, feedforward=12, crop=27)],
                         ids=["small", "no norm, odd crop"])
@pytest.mark.parametrize("kind", ["refiner", "scorer"])
def test_numpy_agrees_with_torch(kind: str, shape: NetworkShape) -> None:
    pytest.importorskip("torch", reason="the twin needs torch")
    from storm_core.render_compare.torch_network import TorchNetwork

    weights = random_weights(kind, shape)
    plain, twin, x = PairForward(weights), TorchNetwork(weights, "cpu"), pairs(5, shape)
    if kind == "refiner":
        for ours, theirs in zip(plain.motions(x), twin.motions(x), strict=True):
            assert np.allclose(ours, theirs, atol=1e-4)
    else:
        vectors = plain.describe(x)
        assert np.allclose(vectors, twin.describe(x), atol=1e-4)
        assert np.allclose(plain.compare(vectors), twin.compare(vectors), atol=1e-4)


def test_published_sizes() -> None:
    """Parameter counts that were measured on the published code (16.83 M and 15.77 M)."""
    for kind, millions in (("refiner", 16.83), ("scorer", 15.77)):
        sizes = tensor_shapes(OFFICIAL_SHAPE, kind)
        learned = [s for name, s in sizes.items() if "running" not in name and name != "pos_embed.pe"]
        assert sum(int(np.prod(s)) for s in learned) / 1e6 == pytest.approx(millions, abs=0.005)


def test_torch_and_the_list_of_tensors_agree() -> None:
    pytest.importorskip("torch", reason="the networks need torch")
    from storm_core.render_compare.networks import RefineNet, ScoreNet

    for kind, network in (("refiner", RefineNet(SHAPE)), ("scorer", ScoreNet(SHAPE))):
        state = {k: tuple(v.shape) for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
        assert state == tensor_shapes(SHAPE, kind)


def test_the_order_of_hypotheses_does_not_matter_to_the_scorer() -> None:
    forward, x = PairForward(random_weights("scorer")), pairs(6)
    order = np.array([3, 1, 5, 0, 4, 2])
    scores = forward.compare(forward.describe(x))
    assert np.allclose(forward.compare(forward.describe(x[order])), scores[order], atol=1e-5)


def test_weights_of_another_network_are_refused() -> None:
    weights = random_weights("refiner")
    with pytest.raises(WeightsError, match="encodeA.0.net.0.bias has shape .4,., needs .8,."):
        PairForward(replace(weights, shape=replace(SHAPE, width=8)))
    lacking = {k: v for k, v in weights.tensors.items() if k != "rot_head.1.bias"}
    with pytest.raises(WeightsError, match="rot_head.1.bias has shape None"):
        PairForward(replace(weights, tensors=lacking))


def test_impossible_shapes_are_refused() -> None:
    for wrong in ({"heads": 3}, {"rotation": 4}, {"crop": 8}, {"width": 0}):
        with pytest.raises(ConfigError):
            NetworkShape(**wrong)


def test_objects_share_batches_and_batches_change_nothing() -> None:
    weights = random_weights("refiner")
    first, second = small_object(), small_object(7, "pebble", "bare")
    frame, pose = view_of(first)
    poses = np.repeat(pose[None], 5, 0)
    poses[:, :3, 3] += np.random.default_rng(0).normal(0, 0.01, (5, 3))
    asked = [Hypotheses(first, poses), Hypotheses(second, poses[:2]), Hypotheses(first, poses[:0])]
    whole = HostRefiner(PairForward(weights), weights.scaling).refine(frame, asked, 2)
    small = HostRefiner(PairForward(weights), weights.scaling, batch=3).refine(frame, asked, 2)
    assert [len(p) for p in whole] == [5, 2, 0]
    for a, b in zip(whole, small, strict=True):
        assert np.allclose(a, b, atol=1e-6)
    few = HostRefiner(PairForward(weights), weights.scaling, max_hypotheses=2).refine(frame, asked[:1], 2)[0]
    assert np.allclose(few, whole[0][:2], atol=1e-6)
    scores = PairScorer(PairForward(random_weights("scorer")), weights.scaling, batch=3)
    assert scores.score(frame, asked[0]).shape == (5,) and scores.score(frame, asked[2]).shape == (0,)


def test_the_device_path_moves_as_the_host_does() -> None:
    torch = pytest.importorskip("torch", reason="the device path is torch")
    from storm_core.render_compare.device import DeviceRefiner
    from storm_core.render_compare.torch_network import TorchNetwork

    weights = random_weights("refiner")
    model = small_object()
    frame, pose = view_of(model)
    poses = np.repeat(pose[None], 3, 0)
    poses[:, :3, 3] += np.random.default_rng(0).normal(0, 0.005, (3, 3))
    asked = [Hypotheses(model, poses), Hypotheses(model, poses[:1])]
    device = DeviceRefiner(TorchNetwork(weights, "cpu"), "cpu", batch=2)
    host = HostRefiner(PairForward(weights), weights.scaling)
    for a, b in zip(device.refine(frame, asked, 1), host.refine(frame, asked, 1), strict=True):
        assert np.abs(a - b).max() < 5e-3
    # Memory runs out until the batch is small enough; a batch of one that does not fit is an error.
    real = device._motions

    def short_of_memory(x):  # noqa: ANN001, ANN202
        if len(x) > 1:
            raise torch.OutOfMemoryError("made up")
        return real(x)

    device._motions = short_of_memory
    device.refine(frame, asked, 1)
    assert device.batch == 1


def test_the_bench_says_which_device_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from storm_core.benchmarks.refiner_stages import foundationpose_network

    torch = pytest.importorskip("torch", reason="the networks of others run in torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    models = tmp_path / "learning" / "models"
    models.mkdir(parents=True)
    (models / "refine_network.py").write_text("class RefineNet:\n    pass\n")
    with pytest.raises(BackendError, match="refiner.device is cuda, but torch sees no CUDA device"):
        foundationpose_network(str(tmp_path), NetworkShape(), "cuda")
