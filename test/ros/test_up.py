"""Running a graph with real, tiny child processes: start, log, restart, give up, and never leave anyone behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from storm_core.errors import SetupError
from storm_ros.graph import CANNOT_START, NodeProcess
from storm_ros.up import Graph, RestartPolicy, StopPolicy

FAST = RestartPolicy(first_delay=0.05, max_delay=0.1, quick=2.0, give_up=3)
IMPATIENT = StopPolicy(interrupt=1.0, terminate=0.5)
SLEEP = ("print('ready', flush=True)\nimport time\n"
         "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('bye')\n")


def graph_of(scripts, lines, **changes):
    processes = [NodeProcess(name=name, executable=name, nodes=(name,), respawn=changes.pop("respawn", True),
                             nice=5 if name == "slow" else 0) for name in scripts]
    options = {"restart": FAST, "stop": IMPATIENT} | changes
    return Graph(processes, sink=lines.append, command=lambda p: [sys.executable, "-c", scripts[p.name]], **options)


def until(condition, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.02)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_lines_carry_the_name_and_ctrl_c_ends_every_child():
    lines = []
    with graph_of({"one": SLEEP, "two": SLEEP}, lines).running() as handle:
        until(lambda: {"[one] ready", "[two] ready"} <= set(lines))
        pids = handle.pids()
        assert set(pids) == {"one", "two"}
        assert all(os.getpgid(pid) == pid for pid in pids.values()), "children must have process groups of their own"
    assert all(gone(pid) for pid in pids.values())
    assert {"[one] bye", "[two] bye"} <= set(lines), "children must get the chance to clean up"


def test_a_child_that_ignores_every_polite_signal_is_killed_and_named():
    stubborn = "import signal, time\nfor s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
    lines = []
    with graph_of({"deaf": stubborn + SLEEP}, lines).running() as handle:
        until(lambda: "[deaf] ready" in lines)
        pid = handle.pids()["deaf"]
    assert gone(pid)
    assert any("killing deaf" in line for line in lines)


def test_a_dead_child_is_reported_with_its_exit_and_started_again():
    lines = []
    with graph_of({"node": SLEEP}, lines).running() as handle:
        until(lambda: "[node] ready" in lines)
        first = handle.pids()["node"]
        os.kill(first, signal.SIGKILL)
        until(lambda: lines.count("[node] ready") == 2)
        assert handle.pids()["node"] != first
        assert handle.failure is None
    assert any("node died" in line and "SIGKILL" in line for line in lines)


def test_a_child_that_cannot_start_stops_the_graph_with_its_last_words():
    lines = []
    scripts = {"bad": "import sys; print('storm: error: unknown parameter x.y'); sys.exit(3)", "good": SLEEP}
    with graph_of(scripts, lines).running() as handle:
        assert handle.wait(30.0)
        with pytest.raises(SetupError, match=r"bad failed 3 times in a row \(exit code 3\): .*unknown parameter x\.y"):
            handle.check()
        good = handle.pids()["good"]
    assert gone(good)


def test_a_child_that_says_it_cannot_start_is_not_tried_again():
    lines = []
    bad = f"import sys; print('[FATAL] [1795.0] [storm]: models folder /x is empty'); sys.exit({CANNOT_START})"
    with graph_of({"bad": bad, "good": SLEEP}, lines).running() as handle:
        assert handle.wait(30.0)
        assert handle.failure == f"bad failed (exit code {CANNOT_START}): models folder /x is empty"
    assert not any("again" in line for line in lines)


def test_a_child_that_ends_for_good_ends_the_graph_only_by_failing():
    lines = []
    with graph_of({"replay": "print('done')"}, lines, respawn=False).running() as handle:
        assert handle.wait(20.0)
        assert handle.failure is None
    with graph_of({"replay": "raise SystemExit(2)"}, lines, respawn=False).running() as handle:
        assert handle.wait(20.0)
        assert "exit code 2" in handle.failure


def test_a_process_becomes_nicer_once_it_is_active():
    code = ("import os, threading, time; from storm_ros.threads import be_nicer\n"
            "threading.Thread(target=time.sleep, args=(5,), daemon=True).start(); time.sleep(0.1)\n"
            "was = os.nice(0); be_nicer(3)\n"
            "print({os.getpriority(os.PRIO_PROCESS, int(t)) for t in os.listdir('/proc/self/task')} "
            "== {min(19, was + 3)})")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"


def test_a_background_child_is_nicer():
    lines = []
    with graph_of({"slow": SLEEP, "quick": SLEEP}, lines).running() as handle:
        until(lambda: lines.count("[slow] ready") + lines.count("[quick] ready") == 2)
        nice = {name: os.getpriority(os.PRIO_PROCESS, pid) for name, pid in handle.pids().items()}
    assert nice["slow"] == min(19, nice["quick"] + 5)


def test_an_exception_in_the_block_leaves_no_child():
    lines, pids = [], {}
    with pytest.raises(RuntimeError, match="boom"):
        with graph_of({"node": SLEEP}, lines).running() as handle:
            pids |= handle.pids()
            raise RuntimeError("boom")
    assert pids and all(gone(pid) for pid in pids.values())


def test_a_program_that_does_not_exist_is_one_clear_error():
    graph = Graph([NodeProcess(name="x", executable="x", nodes=("x",))], command=lambda p: ["/nonexistent/program"])
    with pytest.raises(SetupError, match="cannot start x"):
        with graph.running():
            pass


RUNNER = (
    "import sys\n"
    "from storm_core.cli.up import watch\n"
    "from storm_ros.graph import CANNOT_START, NodeProcess\n"
    "from storm_ros.up import Graph\n"
    "child = {child!r}\n"
    "graph = Graph([NodeProcess(name='n', executable='n', nodes=('n',))], sink=lambda line: print(line, flush=True),\n"
    "              command=lambda p: [sys.executable, '-c', 'import os; print(os.getpid());' + child])\n"
    "sys.exit(watch(graph))\n")


@contextlib.contextmanager
def runner_and_child(tmp_path):
    """A process that runs a graph as `storm up` does, started as shells start background jobs, and its child's pid."""
    script = tmp_path / "runner.py"
    script.write_text(RUNNER.format(child=SLEEP))
    runner = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True,
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    try:
        pid = int(runner.stdout.readline().split()[-1])
        assert "ready" in runner.stdout.readline()
        yield runner, pid
    finally:
        runner.kill()
        runner.wait()
        runner.stdout.close()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not on this machine")
def test_children_do_not_outlive_a_killed_parent(tmp_path):
    with runner_and_child(tmp_path) as (runner, pid):
        runner.kill()
        runner.wait()
        until(lambda: gone(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_and_sigint_to_storm_up_stop_the_graph(tmp_path, number):
    """Also where a shell made it ignore SIGINT."""
    with runner_and_child(tmp_path) as (runner, pid):
        runner.send_signal(number)
        assert runner.wait(20) == 0
        assert gone(pid)
