"""One copy of each network, however many stages of a process use it."""

import gc
from pathlib import Path

import pytest

from storm_core.config import build
from storm_core.models.sharing import OnePerProcess, state_of
from storm_core.monitor.network import CropNetwork
from storm_core.pipeline.build import (
    build_mask_sampler,
    build_monitor,
    build_registrar,
    build_score_refiner,
    build_tracker,
)
from storm_core.render_compare.forward import PairForward
from storm_core.render_compare.weights import save_pair_weights
from storm_core.score_model.network_score import Runtime
from test.unit.refiner.made import random_weights, small_object


class Thing:
    pass


def test_what_somebody_holds_is_the_same_for_all_and_is_freed_with_the_last(tmp_path: Path) -> None:
    shared: OnePerProcess[Thing] = OnePerProcess()
    first = shared.get("a", Thing)
    assert shared.get("a", Thing) is first and shared.get("b", Thing) is not first
    assert len(shared._there) == 1, "nobody holds the other"
    del first
    gc.collect()
    assert len(shared._there) == 0
    file = tmp_path / "w"
    missing = state_of(file)
    file.write_text("old")
    old = state_of(file)
    file.write_text("newer")
    assert len({missing, old, state_of(file)}) == 3, "a file that is written anew is another one"


def test_what_fails_is_tried_again() -> None:
    shared: OnePerProcess[Thing] = OnePerProcess()
    with pytest.raises(ZeroDivisionError):
        shared.get("a", lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    assert isinstance(shared.get("a", Thing), Thing)


def there(kind: type) -> int:
    """Objects of this class in this process."""
    gc.collect()
    return sum(type(o) is kind for o in gc.get_objects())


def test_all_stages_of_a_process_look_through_the_same_networks(tmp_path: Path) -> None:
    """As in composed mode: what pose_node (a registrar, two trackers), tom_node and score_node are built from."""
    kinds = (PairForward, CropNetwork, Runtime)
    before = [there(kind) for kind in kinds]
    for kind in ("refiner", "scorer"):
        save_pair_weights(tmp_path / f"{kind}.safetensors", random_weights(kind))
    config = build({"onboarding.cache": str(tmp_path), "refiner.registration": True, "refiner.tracking": True,
                    "refiner.scoring": True, "refiner.weights": str(tmp_path / "refiner.safetensors"),
                    "refiner.scorer_weights": str(tmp_path / "scorer.safetensors"), "score_model.method": "network"})
    models = {"box": small_object()}
    stages = [make(config, models) for make in (build_registrar, build_tracker, build_tracker, build_monitor,
                                                build_monitor, build_score_refiner, build_mask_sampler)]
    assert [there(kind) - was for kind, was in zip(kinds, before, strict=True)] in ([2, 1, 1], [2, 0, 1]), \
        "one refiner, one scorer; the monitor's may be there from an earlier test"
    assert there(CropNetwork) >= 1
    stages.clear()
    assert there(PairForward) == before[0] and there(Runtime) == before[2], "the networks outlive their users"
