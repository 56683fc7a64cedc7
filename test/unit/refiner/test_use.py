"""The learned networks at work: in registration, in the tracker's search, and on the command line."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from storm_core.benchmarks.refiner_floor import work_of
from storm_core.cli.main import main
from storm_core.config import OnboardingConfig, RefinerConfig, RegistrationConfig
from storm_core.errors import WeightsError
from storm_core.evaluation.refiner import RIGHT, Case, disturbed, errors, methods, recall
from storm_core.evidence.features import frame_features
from storm_core.geometry.pose import angle_between
from storm_core.onboarding.onboard import onboard
from storm_core.registration.learned import LARGEST_VOTE, LearnedHelp, learned_help
from storm_core.registration.register import best_candidate
from storm_core.render_compare import choice
from storm_core.render_compare.choice import Proposals
from storm_core.render_compare.motion import moved
from storm_core.render_compare.shape import OFFICIAL_SHAPE
from storm_core.render_compare.weights import save_pair_weights
from storm_core.tracking.reseed import PROPOSED, proposed
from test.unit.refiner.made import random_weights, small_object, view_of


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Files of a refiner and a scorer that have learned nothing."""
    out = {}
    for kind in ("refiner", "scorer"):
        save_pair_weights(tmp_path / f"{kind}.safetensors", random_weights(kind))
        out[kind] = str(tmp_path / f"{kind}.safetensors")
    return out


class Oracle:
    """Moves every hypothesis to the truth; counts what it was asked."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth, self.asked = truth, 0

    def __call__(self, frame, model, cam_from_objs):  # noqa: ANN001, ANN204
        self.asked += len(cam_from_objs)
        return np.repeat(self.truth[None], len(cam_from_objs), 0)


def test_registration_takes_what_the_refiner_proposes() -> None:
    model = small_object()
    frame, truth = view_of(model)
    features = frame_features(frame)
    onboarded = onboard(model, OnboardingConfig(rotations=60))
    flipped = moved(truth[None], model.center, np.zeros((1, 3)), truth[:3, :3] @ np.diag([1.0, -1, -1])
                    @ truth[:3, :3].T)
    oracle = Oracle(truth)
    found = best_candidate(features, onboarded, flipped, RegistrationConfig(),
                           learned=LearnedHelp(oracle, None, 12))  # type: ignore[arg-type]
    assert found is not None and oracle.asked >= 1
    assert angle_between(truth @ model.symmetries, found.cam_from_obj).min() < np.radians(5)


def test_help_is_only_there_when_it_is_asked_for(files: dict[str, str]) -> None:
    assert learned_help(RefinerConfig()) is None
    help_ = learned_help(RefinerConfig(scoring=True, scorer_weights=files["scorer"]))
    assert help_ is not None and help_.proposals is None and help_.scorer is not None
    model = small_object()
    frame, pose = view_of(model)
    poses = np.repeat(pose[None], 3, 0)
    poses[1:, 0, 3] += [0.01, 0.05]
    votes = help_.votes(frame, model, poses)
    assert votes.max() == 0 and votes.min() >= -LARGEST_VOTE
    assert len(help_.proposed(frame, model, poses)) == 0
    assert (LearnedHelp(None, None, 3).votes(frame, model, poses) == 0).all()


def test_proposals_keep_only_poses_before_the_camera(files: dict[str, str]) -> None:
    model = small_object()
    frame, pose = view_of(model)
    behind = pose.copy()
    behind[2, 3] = -1.0
    propose = Proposals(RefinerConfig(weights=files["refiner"], iterations=1))
    assert len(propose(frame, model, np.stack([pose, behind]))) == 1


def test_the_search_of_the_tracker_lets_the_first_starts_move() -> None:
    model = small_object()
    frame, pose = view_of(model)
    found = proposed(frame, model, Oracle(pose), [np.eye(4)] * 9)  # type: ignore[arg-type]
    assert len(found) == PROPOSED and all(np.array_equal(p, pose) and p.flags.c_contiguous for p in found)


def test_missing_weights_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(choice, "shipped", lambda kind: tmp_path / f"{kind}.safetensors")
    with pytest.raises(WeightsError, match="storm train refiner"):
        learned_help(RefinerConfig(registration=True))


@pytest.mark.parametrize("kind", ["refiner", "scorer"])
def test_shipped_weights_are_those_of_the_manifest(kind: str) -> None:
    file = choice.shipped(kind)
    if not file.is_file():
        pytest.skip(f"no trained {kind} ships with this version")
    entries = yaml.safe_load((file.parent / "manifest.yaml").read_text())["shipped"]
    entry = next(e for e in entries if e["file"] == file.name)
    assert entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert entry["bytes"] == file.stat().st_size <= 10 * 2**20
    choice.open_network(choice.open_weights("", kind), "numpy")


def test_disturbances_have_the_size_they_should_have() -> None:
    model = small_object()
    frame, pose = view_of(model)
    case = Case(frame, model, pose)
    rng = np.random.default_rng(0)
    poses = disturbed(case, 30.0, 4, rng)
    assert np.allclose(np.degrees(angle_between(poses, pose)), 30.0)
    found = errors([case], methods(None, 1), (0.0, 90.0), 3, 0)
    assert set(found) == {"start", "icp", "3 x icp"} and found["start"][0.0].max() < 1e-9
    assert found["start"][90.0].min() > RIGHT and found["start"][90.0].shape == (1, 3)
    assert recall(np.array([[0.0, 0.5], [0.05, 0.02]]), 0)["right"] == 0.75


def test_the_work_of_the_published_network() -> None:
    """2 operations per multiplication. Measured on the published code: 23.3 GFLOP of the refiner, where the counter did
    not see the products of its two fused attentions (0.33 each), and 21.9 GFLOP of the scorer."""
    assert work_of(OFFICIAL_SHAPE, "refiner").operations / 1e9 == pytest.approx(23.3 + 2 * 0.33, abs=0.1)
    assert work_of(OFFICIAL_SHAPE, "scorer").operations / 1e9 == pytest.approx(21.9, abs=0.3)


def test_evaluation_and_bench_commands(files: dict[str, str], tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--set", f"refiner.weights={files['refiner']}", "--set", f"refiner.scorer_weights={files['scorer']}"]
    out = tmp_path / "out.json"
    assert main(["evaluate", "refiner", "--views", "2", "--starts", "2", "--turns", "20", "--scorer", *given,
                 "--json", str(out)]) == 0
    table = json.loads(out.read_text())["refiner"]
    assert set(table) == {"start", "icp", "3 x icp", "refiner", "refiner + icp"}
    assert table["start"]["20.0"]["interval"][0] <= table["start"]["20.0"]["right"]
    assert main(["bench", "refiner", "--hypotheses", "2", "--iterations", "1", "--repeats", "1", *given,
                 "--json", str(out)]) == 0
    bench = json.loads(out.read_text())["bench"]
    assert set(bench) == {"crops_2", "network_2", "refine_2"} and bench["refine_2"]["ours_ms"] > 0
    assert main(["evaluate", "refiner", "--views", "0"]) == 1
    assert "--views" in capsys.readouterr().err
