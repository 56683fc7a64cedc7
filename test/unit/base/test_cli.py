"""The command line: exit statuses, one clear line, lazy imports, shared options."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from storm_core.cli import arguments
from storm_core.cli import main as cli
from storm_core.errors import ConfigError, MeshError
from test.real_data import ROOT


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | int]:
    """Replaces `storm doctor` by a command that returns or raises what the test puts into the list."""
    behaviour: list[BaseException | int] = []

    def run(args: argparse.Namespace) -> int:
        if isinstance(behaviour[0], BaseException):
            raise behaviour[0]
        return behaviour[0]

    monkeypatch.setattr("storm_core.cli.doctor.run", run)
    monkeypatch.setattr("storm_core.cli.doctor.add_parser",
                        lambda subparsers: subparsers.add_parser("doctor").set_defaults(run=run))
    return behaviour


def test_exit_statuses(fake: list, capsys: pytest.CaptureFixture) -> None:
    fake[:] = [0]
    assert cli.main(["doctor"]) == 0
    fake[:] = [1]
    assert cli.main(["doctor"]) == 1
    for wrong in ([], ["nonsense"], ["doctor", "--nonsense"]):
        assert cli.main(wrong) == 2
        assert "usage: storm" in capsys.readouterr().err
    assert cli.main(["--help"]) == 0 and cli.main(["--version"]) == 0


@pytest.mark.parametrize("error, line", [
    (MeshError("mesh a.ply does not exist;\nsay where it is"), "mesh a.ply does not exist; say where it is"),
    (KeyboardInterrupt(), "interrupted"),
])
def test_problems_are_one_line_on_stderr(fake: list, capsys: pytest.CaptureFixture, error: BaseException,
                                         line: str) -> None:
    fake[:] = [error]
    assert cli.main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("storm: error: ") and line in err
    assert cli.main(["doctor", "--verbose"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_says_so_and_shows_where(fake: list, capsys: pytest.CaptureFixture) -> None:
    fake[:] = [ZeroDivisionError("oh")]
    assert cli.main(["doctor"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "bug in STORM" in err.splitlines()[-1]


def test_every_command_has_a_module_and_every_module_a_command() -> None:
    folder = ROOT / "storm_core" / "cli"
    files = {p.stem: p for p in folder.glob("*.py")} | {p.parent.name: p for p in folder.glob("*/__init__.py")}
    commands = {name for name, file in files.items() if "def add_parser" in file.read_text()}
    assert commands == set(cli.COMMANDS)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_help_of_each_command_describes_every_option(name: str, capsys: pytest.CaptureFixture) -> None:
    assert cli.main([name, "--help"]) == 0
    assert f"usage: storm {name}" in capsys.readouterr().out
    for action in _actions(cli._parser([name]), name):
        assert action.help, f"storm {name}: {action.option_strings or action.dest} has no help"


def _actions(parser: argparse.ArgumentParser, name: str) -> list[argparse.Action]:
    sub = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices[name]
    out, queue = [], [sub]
    while queue:
        current = queue.pop()
        for action in current._actions:
            if isinstance(action, argparse._SubParsersAction):
                queue += action.choices.values()
            else:
                out.append(action)
    return out


def test_help_loads_no_heavy_package() -> None:
    code = "import sys; from storm_core.cli.main import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"numpy", "numba", "cv2", "scipy", "rclpy", "torch"} & set(found.stderr.split())


def options(*texts: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    arguments.add_models(parser)
    return parser.parse_args(texts)


def test_shared_options_become_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "storm.yaml"
    path.write_text("models: from_file\nseed: 3\nmonitor: {healthy: 0.9}\n")
    config = arguments.config_from(options("--config", str(path), "--objects", "1", "mug", "--mesh-unit", "mm",
                                           "--set", "monitor.healthy=0.6", "--set", "tracking.motion_prior=false"))
    assert config.objects == ("1", "mug") and config.mesh_unit == "mm" and config.models == "from_file"
    assert config.seed == 3 and config.monitor.healthy == 0.6 and config.tracking.motion_prior is False
    assert arguments.config_from(options("--config", str(path), "--models", "given")).models == "given"


@pytest.mark.parametrize("text, word", [
    ("monitor.helthy=1", "unknown parameter monitor.helthy"), ("monitor.healthy", "PATH=VALUE"), ("=1", "PATH=VALUE"),
    ("monitor.healthy=2", "outside"), ("monitor.healthy=[1", "cannot read the value"),
])
def test_wrong_assignments(text: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        arguments.config_from(options("--set", text))


def test_models_must_be_given() -> None:
    with pytest.raises(ConfigError, match="--models"):
        arguments.require_models(arguments.config_from(options()))


@pytest.mark.parametrize(("options", "seed"), [([], 5), (["--seed", "0"], 0), (["--seed", "7"], 7)])
def test_a_seed_is_that_of_the_file_unless_one_is_given(tmp_path: Path, options: list[str], seed: int) -> None:
    (tmp_path / "c.yaml").write_text("seed: 5\n")
    parser = argparse.ArgumentParser()
    arguments.add_config(parser)
    arguments.add_config_seed(parser)
    args = parser.parse_args(["--config", str(tmp_path / "c.yaml"), *options])
    assert arguments.config_from(args).seed == seed


@pytest.mark.parametrize("command", [
    ["replay", "x"], ["track", "x"], ["register", "x"], ["segment", "x"], ["refine", "x"],
    ["evaluate", "tracking", "x", "--pred", "y"], ["evaluate", "masks", "--bop-dir", "x"],
    ["evaluate", "compare", "x", "y"], ["evaluate", "refiner"]], ids=" ".join)
def test_a_negative_seed_is_wrong_usage(command: list[str], capsys: pytest.CaptureFixture) -> None:
    assert cli.main([*command, "--seed", "-1"]) == 2
    assert "a seed is a whole number from 0, got '-1'" in capsys.readouterr().err.splitlines()[-1]
