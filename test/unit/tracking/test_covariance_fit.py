"""The error model fitted to errors that were drawn from a known one."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from storm_core.cli.main import main
from storm_core.geometry.pose import so3_exp
from storm_core.tracking.uncertainty import Conditions, ErrorModel
from storm_core.training.covariance import Batch, Run, calibrated, coverage, fit, scaled

TRUE = ErrorModel(geometry_noise=8.0, texture_noise=3.0, pixel=0.4, blend=6.0, print=0.1, turn=0.5, weak=0.1,
                  depth=0.4, scale=1.0, slip=0.3)
SPIN = np.outer([0, 0, 0, 0, 0, 1.0], [0, 0, 0, 0, 0, 1.0])


def undrawn(length: int, rng: np.random.Generator, *, free: bool = False) -> Run:
    """A run whose errors are zero."""
    n = length
    conditions = Conditions(
        geometry=np.stack([np.diag(rng.uniform(0.5, 2, 6) * [1e8, 1e8, 1e8, 1e5, 1e5, 10.0]) for _ in range(n)]),
        texture=rng.uniform(1e4, 1e5, (n, 1, 1)) * SPIN, variance=rng.uniform(0.05, 0.6, n),
        blended=rng.choice([0.02, 0.3], n), measured=rng.choice([0.0, 0.9], n), innovation=rng.exponential(0.03, n),
        distance=np.full(n, 0.5), focal_px=np.full(n, 600.0), diameter=np.full(n, 0.12),
        free=np.tile([0, 0, float(free)], (n, 1)))
    return Run(stratum="free" if free else "fixed", conditions=conditions, errors=np.zeros((n, 6)),
               rotations=np.stack([so3_exp([0, 0, 0.02 * k]) for k in range(n)]), new_key=np.arange(n) % 10 == 9,
               counted=np.arange(n) % 7 != 3)


def drawn(seed: int, runs: int = 12, length: int = 40) -> Batch:
    """Runs whose errors come from TRUE, frame by frame."""
    rng = np.random.default_rng(seed)
    out = []
    for k in range(runs):
        run = undrawn(length - k, rng, free=k % 4 == 3)
        p = Batch([run]).covariances(TRUE)
        errors = np.stack([rng.multivariate_normal(np.zeros(6), matrix) for matrix in p])
        if k % 4 == 3:
            errors[:, 5] = 0  # measured modulo the free turn
        out.append(replace(run, errors=errors))
    return Batch(out)


def test_side_by_side_is_the_same_as_one_after_the_other() -> None:
    rng = np.random.default_rng(2)
    runs = [undrawn(n, rng, free=n == 7) for n in (5, 9, 7)]
    together = Batch(runs)
    alone = [Batch([run]).covariances(TRUE) for run in sorted(runs, key=lambda r: -len(r.errors))]
    places = [(run, k) for k in range(9) for run in range(3) if k < len(alone[run])]
    np.testing.assert_allclose(together.covariances(TRUE), np.stack([alone[run][k] for run, k in places]), rtol=1e-9)
    assert sorted(set(together.dimensions.tolist())) == [5, 6] and len(together.strata) == 21


def test_the_true_model_holds_95_percent_in_every_group_of_axes() -> None:
    found = coverage(TRUE, drawn(0))
    for group in ("all", "lateral", "depth", "rotation"):
        assert found["all"][group] == pytest.approx(0.95, abs=0.035), group
    assert found["all"]["median_level"] == pytest.approx(0.5, abs=0.08)
    assert set(found) == {"all", "fixed", "free"}


def test_calibration_undoes_a_wrong_scale() -> None:
    batch = drawn(1)
    for factor in (0.3, 3.0):
        wrong = scaled(TRUE, factor)
        found = calibrated(wrong, batch)
        assert batch.inside(found) == pytest.approx(0.95, abs=0.01)
        assert found.pixel == pytest.approx(TRUE.pixel, rel=0.2)
        assert found.turn == TRUE.turn, "it is relative to the shift"


def test_the_fit_comes_back_from_a_wrong_start() -> None:
    start = replace(TRUE, pixel=1.2, blend=1.0, depth=0.1, geometry_noise=2.0)
    batch, other = drawn(3), drawn(4)
    found = fit(batch, start)
    assert batch.inside(found) == pytest.approx(0.95, abs=0.01) and other.inside(found) == pytest.approx(0.95, abs=0.03)
    for name in ("blend", "pixel"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=0.5), name
    assert {f.name for f in fields(found)} == {f.name for f in fields(TRUE)}


def test_the_command_fits_a_small_benchmark_and_refuses_pictures(tmp_path: Path,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    data, out = tmp_path / "data", tmp_path / "fit.json"
    assert main(["simulate", "benchmark", "--suite", "tracking", "--split", "train", "--strata", "distractors=none",
                 "--frames", "12", "--small", "--workers", "1", "--out", str(data)]) == 0
    assert main(["train", "covariance", "--bop-dir", str(data), "--workers", "1", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert set(found["parameters"]) == {f.name for f in fields(ErrorModel)} and found["fits"] > 5
    assert found["coverage_95"]["all"]["all"] > 0.8
    assert "in the 95 % ellipsoid" in capsys.readouterr().out
    single = tmp_path / "single"
    assert main(["simulate", "benchmark", "--suite", "registration", "--strata", "distractors=none", "--count", "1",
                 "--small", "--workers", "1", "--out", str(single)]) == 0
    assert main(["train", "covariance", "--bop-dir", str(single), "--json", str(out)]) == 1
    assert "holds no sequences" in capsys.readouterr().err
