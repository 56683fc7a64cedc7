"""Benchmarks on disk: the same bytes whatever the processes, strata that hold what they say, files others can read."""

import hashlib
import json

import cv2
import numpy as np
import pytest

from storm_core.bags.recording import open_recording
from storm_core.bags.truth import load_truth
from storm_core.bop.dataset import read_annotations, read_targets
from storm_core.cli.main import main
from storm_core.errors import DatasetError
from storm_core.geometry.mesh_io import load_models
from storm_core.geometry.pose import angle_between
from storm_core.rendering.raster import NumbaRenderer
from storm_core.simulation.benchmark import COVER, FILE, StratumFigure, by_stratum, load_benchmark
from storm_core.simulation.itinerary import PACES, Orbit, wander
from storm_core.simulation.occluders import SIDES
from storm_core.simulation.strata import SUITES, cells

TINY = ["--small", "--frames", "6", "--seed", "2"]
CELLS = ["baseline", "occlusion=60", "instances=3", "sensor=structured_light"]


def simulate(out, *options):
    return main(["simulate", "benchmark", "--out", str(out), *options])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Four short scenes of the tracking suite, as dataset and bags, made by one process."""
    out = tmp_path_factory.mktemp("benchmark") / "tiny"
    assert simulate(out, "--suite", "tracking", "--strata", *CELLS, "--format", "both", "--workers", "1", *TINY) == 0
    return out


@pytest.fixture(scope="module")
def failure(tmp_path_factory):
    """Every event once, 10 frames each."""
    out = tmp_path_factory.mktemp("benchmark") / "failure"
    assert simulate(out, "--suite", "failure", "--count", "8", "--small", "--frames", "10") == 0
    return out


def digests(folder):
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest()
            for f in sorted(folder.rglob("*")) if f.is_file()}


def test_same_arguments_same_bytes_whatever_the_processes(tiny, tmp_path):
    again = tmp_path / "again"
    assert simulate(again, "--suite", "tracking", "--strata", *CELLS, "--format", "both", "--workers", "2", *TINY) == 0
    assert digests(again) == digests(tiny)


def test_another_seed_gives_other_objects_and_pictures(tiny, tmp_path):
    other = tmp_path / "other"
    assert simulate(other, "--suite", "tracking", "--strata", "baseline", *TINY[:-1], "3") == 0
    mine, theirs = load_benchmark(tiny), load_benchmark(other)
    assert not {o.sha256 for o in mine.objects.values()} & {o.sha256 for o in theirs.objects.values()}
    picture = "test/000001/rgb/000000.png"
    assert (tiny / picture).read_bytes() != (other / picture).read_bytes()


def test_the_description_says_what_is_there(tiny):
    benchmark = load_benchmark(tiny)
    assert benchmark.name == "storm-tracking-v1-test-seed2-small"
    assert [s.stratum for s in benchmark.scenes.values()] == CELLS
    for scene in benchmark.scenes.values():
        annotations = read_annotations(tiny / scene.folder)
        assert sorted(annotations) == list(range(6))
        assert all(tuple(a.obj_id for a in found) == tuple(scene.labels.values()) for found in annotations.values())
        assert scene.present and set(scene.labels.values()) <= set(benchmark.objects)
        best = max((np.array([found[k].visible for found in annotations.values()])
                    for k, obj_id in enumerate(scene.labels.values()) if obj_id == scene.target), key=np.sum)
        assert scene.visible == pytest.approx((best.min(), best.mean()), abs=1e-4)
    assert sum(k == benchmark.scenes[3].target for k in benchmark.scenes[3].labels.values()) == 3


def test_strata_of_one_round_differ_in_their_factor_only(tiny):
    scenes = [read_annotations(tiny / s.folder) for s in load_benchmark(tiny).scenes.values()]
    for other in scenes[1:]:
        for k in range(6):
            assert np.allclose(scenes[0][k][0].cam_from_obj, other[k][0].cam_from_obj)
    ideal, holes = ((cv2.imread(str(tiny / f"test/00000{k}/depth/000002.png"), -1) == 0).mean() for k in (1, 4))
    assert ideal != holes


def test_targets_are_the_objects_that_scenes_are_about(tiny):
    benchmark, targets = load_benchmark(tiny), read_targets(tiny)
    counted = {(scene, image): 0 for scene in benchmark.scenes for image in range(6)}
    for scene, image, obj_id in targets:
        assert obj_id == benchmark.scenes[scene].target
        counted[scene, image] += 1
    for (scene, image), count in counted.items():
        found = read_annotations(tiny / benchmark.scenes[scene].folder)[image]
        assert count == sum(a.obj_id == benchmark.scenes[scene].target and a.visible >= 0.1 for a in found)


def test_models_load_with_their_symmetries_and_match_the_pictures(tiny):
    benchmark = load_benchmark(tiny)
    models = load_models(tiny / "models", max_faces=40_000)
    for obj_id, found in benchmark.objects.items():
        model = models[str(obj_id)]
        assert model.diameter == pytest.approx(found.diameter_m, rel=1e-4)
        assert (len(model.symmetries) > 1) == (found.symmetry != "none")
        assert not [w for w in model.warnings if "watertight" in w]
    scene = open_recording(tiny / "test/000002")
    for k, frame in enumerate(scene.frames()):
        annotations = read_annotations(tiny / "test/000002")[k]
        for number, annotation in enumerate(annotations):
            visible, whole = (cv2.imread(str(tiny / f"test/000002/{part}/{k:06d}_{number:06d}.png"), -1) > 0
                              for part in ("mask_visib", "mask"))
            assert not (visible & ~whole).any()
            pose = annotation.cam_from_obj[None]
            drawn = NumbaRenderer().render(models[str(annotation.obj_id)], pose, frame.camera)
            assert (drawn.mask[0] ^ whole).sum() <= 0.04 * whole.sum() + 12
            measured = visible & drawn.mask[0] & (frame.depth > 0)
            if measured.sum() > 50:
                assert np.median(np.abs(frame.depth - drawn.depth[0])[measured]) < 0.006


def test_bags_hold_the_same_truth(tiny):
    scene = load_benchmark(tiny).scenes[3]
    bag = open_recording(tiny / scene.bag)
    truth = load_truth(bag, {}, list(scene.labels))
    annotations = read_annotations(tiny / scene.folder)
    for k, label in enumerate(scene.labels):
        for image in (0, 5):
            expected = annotations[image][k].cam_from_obj
            assert np.allclose(truth.frames[label][image][0].cam_from_obj, expected, atol=1e-6)


def test_occluders_hide_what_the_stratum_says(tmp_path):
    """A held sheet and a carton, on two objects: the visible share is right to a few hundredths."""
    out = tmp_path / "pictures"
    cells = [f"occlusion={share}" for share in (0, 20, 40, 60, 80)]
    assert simulate(out, "--suite", "registration", "--strata", *cells, "--count", "10", "--small") == 0
    for scene in load_benchmark(out).scenes.values():
        hidden = int(scene.tags["occlusion"]) / 100
        whole = cv2.imread(str(out / scene.folder / "mask" / "000000_000000.png"), -1) > 0
        seen = cv2.imread(str(out / scene.folder / "mask_visib" / "000000_000000.png"), -1) > 0
        assert seen.sum() / whole.sum() == pytest.approx(1 - hidden, abs=0.06)


def test_events_happen(failure):
    benchmark = load_benchmark(failure)
    scenes = {s.tags["event"]: s for s in benchmark.scenes.values()}
    start, end = (round(scenes["occluded"].events[0].from_s * 30), round(scenes["occluded"].events[0].to_s * 30))
    assert 0 < start < end < 9 and scenes["none"].events == ()

    def of_target(event, k):
        scene = scenes[event]
        return [a for a in read_annotations(failure / scene.folder)[k] if a.obj_id == scene.target]

    for event in ("occluded", "moved", "removed", "swapped", "left_view"):
        during = of_target(event, start + 1)
        assert during and during[0].visible < 0.02, event
        assert of_target(event, 0)[0].visible > 0.8, event
    assert of_target("occluded", 9)[0].visible > 0.8 and of_target("left_view", 9)[0].visible > 0.8
    for event in ("removed", "swapped"):
        assert of_target(event, 9) == []
    last = read_annotations(failure / scenes["swapped"].folder)[9]
    twin = [a for a in last if benchmark.objects[a.obj_id].role == "same_shape"]
    assert twin[0].visible > 0.8
    assert not [a for a in read_annotations(failure / scenes["swapped"].folder)[0] if a.obj_id == twin[0].obj_id]
    stays, moves = (of_target(event, 9)[0].cam_from_obj for event in ("none", "moved"))
    assert 0.05 < np.linalg.norm(stays[:3, 3] - moves[:3, 3]) < 0.12
    assert of_target("moved", 9)[0].visible > 0.8
    blind = failure / scenes["depth_lost"].folder / "depth"
    assert cv2.imread(str(blind / f"{start + 1:06d}.png"), -1).max() == 0
    assert cv2.imread(str(blind / "000009.png"), -1).max() > 0
    turns = {event: max(angle_between(of_target(event, k)[0].cam_from_obj, of_target(event, k + 1)[0].cam_from_obj)
                        for k in range(9)) for event in ("none", "shaken")}
    assert turns["shaken"] > 2 * turns["none"]


def test_absent_objects_are_absent(tmp_path):
    out = tmp_path / "absence"
    assert simulate(out, "--suite", "absence", "--strata", "presence", "--count", "5", "--small",
                    "--workers", "1") == 0
    benchmark = load_benchmark(out)
    scenes = {s.tags["presence"]: s for s in benchmark.scenes.values()}
    assert len(benchmark.scenes) == 5 and set(scenes) == {"present", "empty", "clutter", "same_shape", "same_print"}
    for presence, scene in scenes.items():
        assert scene.present == (presence == "present") == (scene.target in scene.labels.values())
        assert (scene.visible is None) == (presence != "present")
        roles = {benchmark.objects[k].role for k in scene.labels.values()}
        assert (presence in roles) == presence.startswith("same")
    assert scenes["empty"].labels == {}
    assert {scene for scene, _, _ in read_targets(out)} == {scenes["present"].scene}
    assert benchmark.strata_of(scenes["empty"].scene) == ("presence=empty", "object=textured")


def test_a_picture_names_what_hides_its_object(tmp_path):
    """The share that is asked for is hidden, by a carton or from every side of the picture in turn."""
    out = tmp_path / "covered"
    assert simulate(out, "--suite", "registration", "--strata", "occlusion=40", "--count", "16", "--small") == 0
    benchmark = load_benchmark(out)
    covers = {scene.tags[COVER] for scene in benchmark.scenes.values()}
    assert covers == {"carton", *SIDES}
    for number, scene in benchmark.scenes.items():
        assert benchmark.strata_of(number) == ("occlusion=40", f"cover={scene.tags[COVER]}")
        assert scene.visible[0] == pytest.approx(0.6, abs=0.05)
        label = next(k for k, obj_id in enumerate(scene.labels.values()) if obj_id == scene.target)
        visible, whole = (cv2.imread(str(out / scene.folder / f"{part}/000000_{label:06d}.png"), -1) > 0
                          for part in ("mask_visib", "mask"))
        offset = np.argwhere(whole & ~visible).mean(0) - np.argwhere(visible).mean(0)
        toward = {"right": (0, 1), "left": (0, -1), "below": (1, 0), "above": (-1, 0)}.get(scene.tags[COVER])
        assert toward is None or offset @ toward > 0.6 * np.linalg.norm(offset)


def test_splits_share_no_object():
    """Seeds of all objects are disjoint, look-alikes too, and so are the meshes themselves."""
    from storm_core.simulation.object_pool import SPLITS, procedural_pool

    pools = {split: procedural_pool(split, 0) for split in SPLITS}
    made = {split: {pool[k].model.sha256 for role in ("textured", "textureless", "discrete")
                    for k in range(pool.targets[role][0], pool.targets[role][0] + 3)} for split, pool in pools.items()}
    assert all(len(found) == 9 for found in made.values())
    assert len(set.union(*made.values())) == 27
    for split, after in (("train", "val"), ("val", "test")):
        assert max(procedural_pool(split, 9999).seeds()) < min(procedural_pool(after, 0).seeds())


def test_the_users_own_meshes_stand_on_the_table(tiny, tmp_path):
    meshes = tmp_path / "meshes"
    meshes.mkdir()
    source = load_benchmark(tiny).objects
    chosen = sorted(source)[:2]
    for obj_id in chosen:
        (meshes / f"part_{obj_id}.ply").write_bytes((tiny / f"models/obj_{obj_id:06d}.ply").read_bytes())
    out = tmp_path / "out"
    assert simulate(out, "--suite", "registration", "--models", str(meshes), "--mesh-unit", "mm", "--small",
                    "--count", "2", "--strata", "baseline", "--workers", "1") == 0
    benchmark = load_benchmark(out)
    assert {o.role for o in benchmark.objects.values()} == {"user"}
    assert {s.target for s in benchmark.scenes.values()} == {1, 2}
    assert {o.name for o in benchmark.objects.values()} == {f"part_{k}" for k in chosen}
    assert all(s.tags["object"] == "user" for s in benchmark.scenes.values())


def test_figures_are_grouped_by_stratum(tiny):
    benchmark = load_benchmark(tiny)
    grouped = by_stratum({1: {"ar": 0.9}, 2: {"ar": 0.4, "ms": None}, 3: {"ar": 0.5, "ms": 7.0}}, benchmark)
    assert list(grouped) == CELLS
    assert grouped["occlusion=60"] == {"ar": StratumFigure(mean=0.4, scenes=1, missing=0),
                                       "ms": StratumFigure(mean=None, scenes=0, missing=1)}
    assert grouped["sensor=structured_light"]["ar"] == StratumFigure(mean=None, scenes=0, missing=1)
    with pytest.raises(DatasetError, match=r"no scenes \[9\]"):
        by_stratum({9: {"ar": 1.0}}, benchmark)


@pytest.mark.parametrize(("options", "words"), [
    (["--suite", "trackign"], "unknown suite 'trackign'; known: tracking, registration"),
    ([], "needs --suite; known: tracking"),
    (["--suite", "tracking", "--strata", "fog"], "unknown stratum 'fog'.*occlusion=0|20"),
    (["--suite", "tracking", "--strata", "light=fog"], "unknown stratum 'light=fog'"),
    (["--suite", "tracking", "--sensor", "sonar"], "unknown depth sensor 'sonar'; known: active_stereo"),
    (["--suite", "tracking", "--split", "dev"], "unknown split 'dev'; known: train, val, test"),
    (["--suite", "tracking", "--count", "0"], "--count must be at least 1, got 0"),
    (["--suite", "registration", "--frames", "3"], "single pictures"),
    (["--suite", "tracking", "--seed", "10000"], "--seed must be between 0 and 9999"),
    (["--suite", "tracking", "--models", "EMPTY"], "no meshes in"),
    (["--suite", "tracking", "--models", "MESHES", "--strata", "object=thin"], "needs procedural objects"),
])
def test_bad_input_is_one_clear_line(tiny, tmp_path, capsys, options, words):
    import re

    (tmp_path / "empty").mkdir()
    named = {"EMPTY": str(tmp_path / "empty"), "MESHES": str(tiny / "models")}
    assert simulate(tmp_path / "out", *[named.get(option, option) for option in options]) == 1
    error = capsys.readouterr().err
    assert re.search(words, error) and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_existing_folders_and_foreign_options_are_refused(tiny, tmp_path, capsys):
    before = digests(tiny)
    assert simulate(tiny, "--suite", "tracking") == 1
    assert "exists already" in capsys.readouterr().err and digests(tiny) == before
    assert main(["simulate", "still", "--out", str(tmp_path / "x"), "--suite", "tracking"]) == 1
    assert "--suite belongs to storm simulate benchmark" in capsys.readouterr().err


def test_a_damaged_description_is_named(tiny, tmp_path):
    with pytest.raises(DatasetError, match="benchmark.json is missing"):
        load_benchmark(tmp_path)
    content = json.loads((tiny / FILE).read_text())
    del content["scenes"][0]["tags"]
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="tags"):
        load_benchmark(tmp_path)
    (tmp_path / FILE).write_text(json.dumps(content | {"format": "other"}))
    with pytest.raises(DatasetError, match="format"):
        load_benchmark(tmp_path)


@pytest.mark.parametrize("pace", PACES)
def test_a_long_walk_stays_on_its_cap(pace):
    orbit = Orbit(aim=(0.0, 0.0, 0.05), distance=0.35, azimuth=0.0, elevation=0.5)
    for seed in range(8):
        path = wander(orbit, PACES[pace], 20.0, np.random.default_rng(seed))
        away = [np.linalg.norm(path.at(t)[:3, 3] - orbit.aim) for t in np.linspace(0, 20, 80)]
        assert 0.28 < min(away) and max(away) < 0.43


def test_the_suite_symmetric_is_about_declared_symmetries(tmp_path):
    out = tmp_path / "symmetric"
    assert simulate(out, "--suite", "symmetric", "--small", "--frames", "2", "--count", "6", "--workers", "1") == 0
    benchmark = load_benchmark(out)
    assert [s.tags["object"] for s in benchmark.scenes.values()] == ["cylinder"] * 2 + ["box"] * 2 + ["bowl"] * 2
    assert {benchmark.objects[s.target].symmetry for s in benchmark.scenes.values() if s.tags["object"] != "box"} == {
        "continuous"}
    assert {benchmark.objects[s.target].symmetry for s in benchmark.scenes.values() if s.tags["object"] == "box"} == {
        "discrete"}
    assert SUITES["symmetric"].frames * SUITES["symmetric"].rounds * len(cells(SUITES["symmetric"])) >= 10_000


def test_a_fifth_of_the_suite_detection_lacks_its_object(tmp_path):
    suite = SUITES["detection"]
    tags = list(cells(suite).values())
    absent = [t for t in tags if t["presence"] != "present"]
    assert 5 * len(absent) == len(tags)
    assert all(t["occlusion"] == "0" and t["distractors"] == "clutter" for t in absent)
    assert {t["presence"] for t in absent} == {"clutter", "same_shape", "same_print"}
    out = tmp_path / "detection"
    strata = ["baseline", "distractors=same_shape", "presence=same_shape", "presence=clutter"]
    assert simulate(out, "--suite", "detection", "--small", "--strata", *strata, "--workers", "1") == 0
    benchmark = load_benchmark(out)
    there = [[benchmark.scenes[k].target in {a.obj_id for a in truth[0]},
              benchmark.scenes[k].target + 1 in {a.obj_id for a in truth[0]}]
             for k, truth in ((k, read_annotations(out / s.folder)) for k, s in benchmark.scenes.items())]
    # (the object, the same shape with another print)
    assert there == [[True, False], [True, True], [False, True], [False, False]]
    assert [s.present for s in benchmark.scenes.values()] == [True, True, False, False]
