"""Every command line of the README is run here, shortened where it would take minutes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from test.real_data import ROOT, real_data

README = (ROOT / "README.md").read_text()


class Run(NamedTuple):
    """Run the command in a folder made for these tests, with `change` (pattern, replacement) applied to make it short.

    Attributes:
      needs: test data the command reads; without it the test is skipped.
      program: what must be installed beside the project; without it the test is skipped.
      module: the same for an optional Python package.
      after: beginnings of commands that must have run before in the same folder.
      folder: where to run it: "." is as a user who cloned the repository, "ws" a colcon workspace.
      says: pattern that the output must contain.
      endless: the command runs until it is stopped: Ctrl-C is sent as soon as it `says` what it should.
      tries: a run in real time may fail once on a machine that is busy with something else.
    """

    change: tuple[tuple[str, str], ...] = ()
    needs: str = ""
    program: str = ""
    module: str = ""
    after: tuple[str, ...] = ()
    folder: str = "."
    says: str = ""
    endless: bool = False
    tries: int = 1


ADDED = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
"""Packages that whoever started the tests has added."""

# The environment of these tests takes the place of .venv, and is not set up again.
MAKE = f"make -C {ROOT} VENV={sys.prefix} -o {sys.prefix}/.ready"
SIMULATE = "storm simulate demo"
TRAIN_SOM = "storm train som"
BENCHMARK = "storm simulate benchmark --suite registration"
SEQUENCES = "storm simulate benchmark --suite tracking"
SHORT = (r"$", " --max-frames 5 --no-video --set score_model.enable=false")
ALL_ACTIVE = "(?s)" + "".join(rf"(?=.*\b{node}\S*: active)" for node in (
    "som_node", "pose_node", "score_node", "tom_node", "supervisor_node", "viz_node"))

HOW: tuple[tuple[str, Run], ...] = (
    (r"make demo$", Run(change=((r"^make demo$", f'{MAKE} demo DEMO="--fast --out $PWD/results/demo"'),), tries=2)),
    (r"make test( TESTS=.*)?$", Run(change=((r"^.*$", f'{MAKE} test TESTS="test/unit/base/test_recovery.py -q"'),))),
    (r"make lint$", Run(change=((r"^make", MAKE),))),
    (r"source \.venv/bin/activate$", Run(change=((r"$", " && storm --version"),))),
    (r"storm doctor$", Run()),
    (r"storm simulate demo ", Run(change=((r"simulate demo", "simulate still"),))),
    (r"storm replay recording --ros ", Run(change=((r"$", " --no-video"),), after=(SIMULATE,))),
    (r"storm replay \$STORM_TEST_DATA/visp_rbt", Run(change=(SHORT,), needs="visp_rbt")),
    (r"storm replay \$STORM_TEST_DATA/visp_castle_sim", Run(change=(SHORT,), needs="visp_castle_sim")),
    (r"storm replay \$STORM_TEST_DATA/rosbag_visp_rbt", Run(change=(SHORT,), needs="rosbag_visp_rbt")),
    (r"storm register \$STORM_TEST_DATA/ycbv_frames", Run(change=((r"$", " --images 629 --objects 2"),),
                                                          needs="ycbv_frames")),
    (r"storm replay recording", Run(change=((r"$", " --no-video"),), after=(SIMULATE,))),
    (r"storm evaluate (tracking|poses) ", Run(after=(SIMULATE, "storm replay recording --models"))),
    (r"storm evaluate compare", Run(after=("storm replay recording --models",
                                           "storm evaluate tracking recording --pred cereal_box"))),
    (r"storm evaluate (registration|masks|system) --bop-dir recording", Run(after=(SIMULATE,),
                                                                           change=((r"$", " --max-images 2"),))),
    (r"storm evaluate monitor --benchmark --bop-dir recording", Run(after=(SIMULATE,),
                                                                    change=((r"$", " --frames 12"),))),
    (r"storm track recording", Run(change=((r"$", " --no-video --frames 0:9"),), after=(SIMULATE,))),
    (r"storm bench tracking recording", Run(change=((r"$", " --max-frames 9 --repeats 1 --only storm"),),
                                            after=(SIMULATE,))),
    (r"storm bench ros ", Run(change=((r"--seconds 60", "--seconds 3 --clip 0.3"),), says="p50", tries=2)),
    (r"storm simulate benchmark --suite tracking", Run(change=((r"$", " --count 2 --frames 9 --small"),))),
    (r"storm evaluate system --bop-dir sequences", Run(change=((r"--stride 1 8", "--stride 1 4"),),
                                                       after=(SEQUENCES,))),
    (r"storm train covariance", Run(after=(SEQUENCES,))),
    (r"storm simulate benchmark .*suite$", Run(change=((r"$", " --count 2 --small"),))),
    (r"storm simulate benchmark", Run(change=((r"--count 20", "--count 2 --small"),))),
    (r"storm evaluate registration --bop-dir suite", Run(after=(f"{BENCHMARK} --out",))),
    (r"storm evaluate registration --bop-dir benchmark", Run(after=(f"{BENCHMARK} --count",))),
    (r"storm segment recording .*som.backend=hsfa", Run(after=(SIMULATE, TRAIN_SOM), module="torch")),
    (r"storm (segment|register) recording", Run(after=(SIMULATE,))),
    (r"storm onboard recording", Run(change=((r"$", " --set onboarding.cache=$PWD/cache"),), after=(SIMULATE,))),
    (r"storm render views", Run(change=((r"$", " --views 4 --size 64"),), after=(SIMULATE,))),
    (r"storm segment --query", Run(after=(SIMULATE,))),
    (r"storm weights list$", Run()),
    (r"storm train som", Run(change=((r"--synthetic 64", "--synthetic 2 --steps 2 --cache $PWD/cache --set batch=1 "
                                      "--set data.val_samples=2"),), module="torch")),
    (r"storm refine recording", Run(change=((r"$", " --set score_model.steps=2 --set score_model.particles=8"),),
                                    after=(SIMULATE,))),
    (r"storm train verifier ", Run(change=((r"$", " --scenes 3"),))),
    # These run until they are stopped: exit status 0 says that Ctrl-C stopped every node cleanly.
    (r"storm up ", Run(change=((r"^", "exec "),), after=(SIMULATE,), says=ALL_ACTIVE, endless=True)),
    (r"colcon build ", Run(folder="ws", program="colcon")),
    (r"source install/setup.bash", Run(change=((r"$", " && test -n $AMENT_PREFIX_PATH"),), folder="ws",
                                       program="colcon", after=("colcon build",))),
    (r"python3 -m storm_core.pipeline.warmup", Run()),
    (r"ros2 launch storm_ros ", Run(change=(
        (r"^", ". install/setup.sh && python3 -m storm_core.pipeline.warmup && "
               "timeout --foreground --preserve-status --signal INT 15 "),
        (r"/path/to/models", "$PWD/../recording/models"), (r'"mug box"', "cereal_box")),
        folder="ws", program="ros2", after=(SIMULATE, "colcon build"), says=ALL_ACTIVE)),
)


def commands() -> list[str]:
    blocks = re.findall(r"```(?:bash|sh|console|shell)\n(.*?)```", README, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def how(command: str) -> Run:
    for pattern, way in HOW:
        if re.match(pattern, command):
            return way
    raise AssertionError(f"the README has a command that no test covers: {command!r}; add it to HOW")


def test_every_command_is_covered_and_no_rule_is_idle() -> None:
    found = commands()
    assert len(found) > 10
    used = {next(pattern for pattern, _ in HOW if re.match(pattern, command)) for command in found if how(command)}
    assert used == {pattern for pattern, _ in HOW}


def test_every_block_of_commands_is_marked_as_such() -> None:
    fences = re.findall(r"^```(.*)$", README, re.MULTILINE)[::2]
    # The Python is run by test/ros/test_readme_listener.py.
    assert set(fences) == {"bash", "python"}, "other fences would hide commands from this test"


def test_links_and_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).is_file(), f"{target} does not exist"
    for file in re.findall(r"`((?:config|test|launch|models|docs)/[\w./]+\.\w+)`", README):
        assert (ROOT / file).is_file(), f"{file} does not exist"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `storm` and `.venv` are those under test, with a colcon workspace `ws` around this clone."""
    folder = tmp_path_factory.mktemp("readme")
    script = folder / "bin" / "storm"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m storm_core.cli.main "$@"\n')
    script.chmod(0o755)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "ws" / "src").mkdir(parents=True)
    (folder / "ws" / "src" / "storm_ros").symlink_to(ROOT)
    return folder


_DONE: dict[str, subprocess.CompletedProcess[str]] = {}


def execute(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The outcome of a command; each one runs only once."""
    if command not in _DONE:
        way = how(command)
        if way.module:
            pytest.importorskip(way.module, reason=f"{way.module} is optional: make full")
        for first in way.after:
            execute(next(c for c in commands() if c.startswith(first)), folder)
        line = command
        for pattern, replacement in way.change:
            line = re.sub(pattern, lambda _, text=replacement: text, line, count=1)
        data = str(real_data(way.needs).parent) if way.needs else ""
        path = f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        if way.program and shutil.which(way.program, path=path) is None:
            pytest.skip(f"{way.program} is not installed")
        env = os.environ | {"PATH": path, "STORM_TEST_DATA": data, "PYTHONPATH": os.pathsep.join([str(ROOT), *ADDED])}
        for _ in range(way.tries):
            done = run_until(way.says, line, folder / way.folder, env) if way.endless else subprocess.run(
                ["bash", "-c", line], cwd=folder / way.folder, env=env, capture_output=True, text=True, timeout=300,
                check=False)
            if done.returncode == 0:
                break
        _DONE[command] = done
    return _DONE[command]


def run_until(says: str, line: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The outcome of a command that is stopped by Ctrl-C when its output matches, after a minute in any case."""
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(["bash", "-c", line], cwd=folder, env=env, stdout=out, stderr=subprocess.STDOUT)

        def said() -> str:
            return os.pread(out.fileno(), 1 << 22, 0).decode()

        deadline = time.monotonic() + 60
        while process.poll() is None and not re.search(says, said()) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(60)
        return subprocess.CompletedProcess(["bash", "-c", line], process.returncode, said(), "")


@pytest.mark.slow
@pytest.mark.parametrize("command", commands(), ids=lambda command: command[:60])
def test_command_runs(command: str, workplace: Path) -> None:
    done = execute(command, workplace)
    allowed = {0, 1} if command == "storm doctor" else {0}  # doctor reports on the machine the tests run on
    assert done.returncode in allowed, f"{done.args[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert re.search(how(command).says, done.stdout + done.stderr), f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    for option in ("--json", "--out"):
        named = re.search(rf"{option} (\S+)", command)
        assert named is None or (workplace / named.group(1)).exists(), f"{named and named.group(1)} was not written"
