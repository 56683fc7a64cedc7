"""Objects of one mesh keep places of their own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from storm_core.config import build
from storm_core.errors import MeshError
from storm_core.geometry.instances import mesh_name
from storm_core.geometry.mesh_io import listed_objects, load_models
from storm_core.pipeline.build import build_pipeline
from storm_core.recovery.machine import ObjectState, State
from storm_core.recovery.places import Places
from test.synthetic import frame_of, model_of, pose, textured_box

BOX = textured_box()
NAMES = ("box", "box#2", "box#3")
MODELS = {name: replace(BOX, name=name) for name in NAMES} | {"other": textured_box("other", seed=1)}


def at(x: float) -> np.ndarray:
    return pose((0.1, 0.2, 0.3), (x, 0.0, 0.6))


def test_a_number_after_the_name_means_another_object_of_the_mesh() -> None:
    assert [mesh_name(n) for n in ("cup", "cup#2", "cup#10", "cup#1", "cup#", "#2", "a#b#2")] == [
        "cup", "cup", "cup", "cup#1", "cup#", "#2", "a#b"]


def test_objects_of_one_mesh_are_loaded_under_their_own_names(tmp_path: Path) -> None:
    import trimesh

    trimesh.creation.box(extents=(0.1, 0.05, 0.03)).export(tmp_path / "cup.ply")
    models = load_models(tmp_path, ("cup", "cup#2"), unit="m")
    assert [model.name for model in models.values()] == ["cup", "cup#2"] == list(models)
    assert models["cup"].sha256 == models["cup#2"].sha256
    assert listed_objects(tmp_path, ("cup", "cup#2")) == ("cup", "cup#2")
    for wrong in (("cup", "cup"), ("cup#2", "cup#2")):
        with pytest.raises(MeshError, match="cup#2"):
            load_models(tmp_path, wrong, unit="m")
    with pytest.raises(MeshError, match="no object"):
        load_models(tmp_path, ("mug#2",), unit="m")


@given(st.lists(st.tuples(st.sampled_from((*NAMES, "other")), st.floats(-0.2, 0.2), st.sampled_from(State)),
                max_size=40))
def test_two_trusted_objects_of_one_mesh_are_never_at_one_place(steps: list[tuple[str, float, State]]) -> None:
    places, held = Places(MODELS), {}
    for name, x, state in steps:
        now = ObjectState(state=state)
        holder = places.take(name, at(x), now)
        assert holder != name and (holder is None or MODELS[holder].sha256 == MODELS[name].sha256)
        # Whoever is told to go is searched again.
        now = ObjectState(state=State.LOST) if holder else now
        places.update(name, now)
        held.pop(name, None)
        if now.trusted:
            held[name] = x
        # A younger one that stands where an older one moves is told when it is looked at next.
        for other in NAMES:
            if other in held and places.take(other, at(held[other]), ObjectState(state=State.TRACKING)):
                places.update(other, ObjectState(state=State.LOST))
                del held[other]
        alike = sorted(held[other] for other in NAMES if other in held)
        assert not np.any(np.diff(alike) < 0.7 * BOX.size.min() - 1e-9), held


def test_trusted_objects_stay_and_doubtful_ones_go() -> None:
    places = Places(MODELS)
    trusted, doubtful = ObjectState(state=State.TRACKING), ObjectState(state=State.SUSPECT)
    assert places.take("box", at(0.0), doubtful) is None
    assert places.take("box#2", at(0.01), trusted) is None, "a doubtful pose keeps nobody away"
    assert places.take("box", at(0.0), doubtful) == "box#2"
    assert places.take("box", at(0.2), trusted) is None and places.take("other", at(0.2), trusted) is None
    assert np.array_equal(places.others("box#3"), [at(0.2), at(0.01)])
    assert len(places.others("other")) == 0
    places.update("box#2", ObjectState(state=State.SEARCHING))
    assert np.array_equal(places.others("box#3"), [at(0.2)])


def test_the_pipeline_gives_each_of_two_copies_its_own_object(tmp_path: Path) -> None:
    config = build({"onboarding.cache": str(tmp_path), "onboarding.rotations": 300, "score_model.enable": False})
    pipeline = build_pipeline(config, {name: MODELS[name] for name in NAMES[:2]})

    def truths(i: int) -> list[np.ndarray]:
        return [pose((0.3, 0.2, 0.1), (-0.12 + 0.002 * i, 0.0, 0.62)), pose((0.2, -0.6, 1.4), (0.12, 0.002 * i, 0.6))]

    seats = []
    for i in range(4):
        frame = frame_of([(BOX, truth) for truth in truths(i)], stamp_ns=i * 33_333_333, noise=0.001, seed=i)
        outputs = {o.object_name: o for o in pipeline.step(frame).objects}
        if i == 0:
            continue
        assert outputs["box"].trusted and outputs["box#2"].trusted
        off = [[np.linalg.norm(outputs[n].cam_from_obj[:3, 3] - truth[:3, 3]) for truth in truths(i)]
               for n in ("box", "box#2")]
        assert np.min(off, axis=1).max() < 0.006
        seats.append(tuple(np.argmin(off, axis=1)))
    assert sorted(seats[0]) == [0, 1] and len(set(seats)) == 1, f"identities change: {seats}"


@pytest.mark.parametrize("askew", [(0.0, 0.0, 0.0), (0.0, 0.5, 0.78)])
def test_two_pens_side_by_side_are_two_however_they_lie_in_their_mesh(askew: tuple[float, float, float]) -> None:
    turn = pose(askew, (0.0, 0.0, 0.0))
    mesh = trimesh.creation.box(extents=(0.15, 0.012, 0.012))
    mesh.apply_transform(turn)
    pen = model_of(mesh, "pen", None)
    places, held = Places({"pen": pen, "pen#2": replace(pen, name="pen#2")}), ObjectState(state=State.TRACKING)
    here, aside = pose((0, 0, 0), (0, 0, 0.6)), turn[:3, :3] @ np.array([0.0, 1.0, 0.0])
    assert places.take("pen", here, held) is None
    for gap, taken in ((0.01, "pen"), (0.03, None)):
        there = here.copy()
        there[:3, 3] += gap * aside
        assert places.take("pen#2", there, held) == taken
