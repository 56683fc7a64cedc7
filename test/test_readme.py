"""Every command line of the README is run here, or the test that runs it is named."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from test.real_data import ROOT, real_data

README = (ROOT / "README.md").read_text()


class Run(NamedTuple):
    """Run the command in an empty folder with `change` (pattern, replacement) applied, to make it short.

    Attributes:
      needs: test data the command reads; without it the test is skipped.
      after: beginnings of commands that must have run before in the same folder.
    """

    change: tuple[tuple[str, str], ...] = ()
    needs: str = ""
    after: tuple[str, ...] = ()


class Covered(NamedTuple):
    """Run elsewhere: by this test (file::name), or, with an empty test, not on this machine for the given reason."""

    test: str
    why: str


SIMULATE = "storm simulate demo"
SHORT = (r"$", " --max-frames 5 --no-video --set score_model.enable=false")
FEW = (r"$", " --images 0")

HOW: tuple[tuple[str, Run | Covered], ...] = (
    (r"make demo$", Covered("test/unit/simulation/test_demo.py", "renders, judges and reports a short recording")),
    (r"make test( TESTS=.*)?$", Covered("", "this is what runs now; .ci/run calls it")),
    (r"make lint$", Run(change=((r"^.*$", f"{sys.executable} -m ruff check {ROOT}"),))),
    (r"source \.venv/bin/activate$", Covered("", "only sets PATH; the commands here run with a PATH of their own")),
    (r"storm doctor$", Run()),
    (r"storm simulate demo ", Run(change=((r"simulate demo", "simulate still"),))),
    (r"storm replay recording --ros ", Covered("test/ros/test_session.py", "replays a recording through the nodes")),
    (r"storm replay \$STORM_TEST_DATA/visp_rbt", Run(change=(SHORT,), needs="visp_rbt")),
    (r"storm replay \$STORM_TEST_DATA/visp_castle_sim", Run(change=(SHORT,), needs="visp_castle_sim")),
    (r"storm replay \$STORM_TEST_DATA/rosbag_visp_rbt", Run(change=(SHORT,), needs="rosbag_visp_rbt")),
    (r"storm register \$STORM_TEST_DATA/ycbv_frames", Run(change=((r"$", " --images 629 --objects 2"),),
                                                          needs="ycbv_frames")),
    (r"storm replay recording", Run(change=(SHORT,), after=(SIMULATE,))),
    (r"storm evaluate tracking recording", Run(after=(SIMULATE, "storm replay recording --models"))),
    (r"storm (segment|register) recording", Run(after=(SIMULATE,))),
    (r"storm refine recording", Run(change=((r"$", " --set score_model.steps=2 --set score_model.particles=8"),),
                                    after=(SIMULATE,))),
    (r"storm train verifier ", Run(change=((r"$", " --scenes 3"),))),
    (r"storm up ", Covered("test/ros/test_up_cli.py", "starts the processes with these options")),
    (r"colcon build ", Covered("", "needs colcon; test/ros/test_graph.py checks what it installs")),
    (r"ros2 launch storm_ros ", Covered("test/ros/test_graph.py", "compares the launch file with the graph")),
)


def commands() -> list[str]:
    blocks = re.findall(r"```(?:bash|sh|console|shell)\n(.*?)```", README, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def how(command: str) -> Run | Covered:
    for pattern, way in HOW:
        if re.match(pattern, command):
            return way
    raise AssertionError(f"the README has a command that no test covers: {command!r}; add it to HOW")


def test_every_command_is_covered_and_no_rule_is_idle() -> None:
    found = commands()
    assert len(found) > 10
    used = {next(pattern for pattern, _ in HOW if re.match(pattern, command)) for command in found if how(command)}
    assert used == {pattern for pattern, _ in HOW}
    for _, way in HOW:
        if isinstance(way, Covered) and way.test:
            assert (ROOT / way.test).is_file(), f"{way.test} does not exist"


def test_every_block_of_commands_is_marked_as_such() -> None:
    fences = re.findall(r"^```(.*)$", README, re.MULTILINE)[::2]
    assert set(fences) == {"bash"}, "other fences would hide commands from this test"


def test_links_and_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).is_file(), f"{target} does not exist"
    for file in re.findall(r"`((?:config|test|launch|models|docs)/[\w./]+\.\w+)`", README):
        assert (ROOT / file).is_file(), f"{file} does not exist"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which `storm` is the one under test."""
    folder = tmp_path_factory.mktemp("readme")
    script = folder / "bin" / "storm"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m storm_core.cli.main "$@"\n')
    script.chmod(0o755)
    return folder


_DONE: dict[str, subprocess.CompletedProcess[str]] = {}


def execute(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The outcome of a command; each one runs only once."""
    if command not in _DONE:
        way = how(command)
        assert isinstance(way, Run)
        for first in way.after:
            execute(next(c for c in commands() if c.startswith(first)), folder)
        line = command
        for pattern, replacement in way.change:
            line = re.sub(pattern, lambda _, text=replacement: text, line, count=1)
        data = str(real_data(way.needs).parent) if way.needs else ""
        env = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "STORM_TEST_DATA": data,
                            "PYTHONPATH": str(ROOT)}
        _DONE[command] = subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True,
                                        timeout=300, check=False)
    return _DONE[command]


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in commands() if isinstance(how(c), Run)])
def test_command_runs(command: str, workplace: Path) -> None:
    done = execute(command, workplace)
    allowed = {0, 1} if command == "storm doctor" else {0}  # doctor reports on the machine the tests run on
    assert done.returncode in allowed, f"{done.args[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    for option in ("--json", "--out"):
        named = re.search(rf"{option} (\S+)", command)
        assert named is None or (workplace / named.group(1)).exists(), f"{named and named.group(1)} was not written"
