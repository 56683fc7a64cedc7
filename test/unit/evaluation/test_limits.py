"""--fail-under and --fail-over: exit statuses that continuous integration can rely on."""

import argparse
import math

import pytest

from storm_core.cli.limits import OVER, UNDER, Limit, add_limits, broken, within_limits
from storm_core.errors import ConfigError

RESULTS = {"objects": {"cup": {"add_auc": 0.8, "mssd_mm": {"p50": 3.0}, "coverage": math.nan, "first_pose_s": None,
                               "ci95": {"add_auc": [0.7, 0.9]}, "precision_recall": {"recall": [0.1, 0.2]}},
                       "box": {"add_auc": 0.95, "mssd_mm": {"p50": 1.0}, "coverage": 1.0, "first_pose_s": 0.5}},
           "stages_ms": {"total": {"p95": 30.0}}, "suspicion": []}


def status(*options: str) -> int:
    parser = argparse.ArgumentParser()
    add_limits(parser)
    return within_limits(parser.parse_args(list(options)), RESULTS)


@pytest.mark.parametrize(("options", "problems"), [
    ((), []),
    (("--fail-under", "add_auc=0.8"), []),
    (("--fail-under", "add_auc=0.9"), ["objects.cup.add_auc is 0.8, below 0.9"]),
    (("--fail-under", "objects.box.add_auc=0.9"), []),
    (("--fail-under", "objects.*.add_auc=0.96"), ["objects.cup.add_auc", "objects.box.add_auc"]),
    (("--fail-over", "mssd_mm.p50=2"), ["objects.cup.mssd_mm.p50 is 3, above 2"]),
    (("--fail-over", "stages_ms.total.p95=30"), []),
    (("--fail-under", "coverage=0"), ["objects.cup.coverage is missing"]),
    (("--fail-over", "first_pose_s=9"), ["objects.cup.first_pose_s is missing"]),
    (("--fail-under", "add_auc=0.9", "--fail-over", "p95=20"), ["objects.cup.add_auc", "stages_ms.total.p95"])])
def test_limits(options: tuple[str, ...], problems: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert status(*options) == (1 if problems else 0)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(problems)
    assert all(line.startswith("storm: error: ") and problem in line
               for line, problem in zip(said, problems, strict=True))


def test_a_figure_that_is_not_there_is_a_mistake_not_a_pass() -> None:
    with pytest.raises(ConfigError, match="do you mean objects.box.add_auc, objects.cup.add_auc"):
        broken([Limit("auc", 0.5, UNDER)], RESULTS)
    for key in ("nothing", "suspicion"):
        with pytest.raises(ConfigError, match="no such figure$"):
            broken([Limit(key, 0.5, OVER)], RESULTS)


@pytest.mark.parametrize("text", ["add_auc", "add_auc=high", "add_auc=nan", "=0.5", ""])
def test_wrong_usage_exits_with_two(text: str) -> None:
    with pytest.raises(SystemExit) as stop:
        status("--fail-under", text)
    assert stop.value.code == 2


def test_a_number_that_is_not_one_breaks_both_kinds_of_limits() -> None:
    for option in (UNDER, OVER):
        assert Limit("x", 0.0, option).broken_by(math.nan) and Limit("x", 0.0, option).broken_by(None)
        assert Limit("x", 0.0, option).broken_by([1.0]) and not Limit("x", 0.0, option).broken_by(0.0)
