"""Runs one contender over one clip in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from storm_core.benchmarks.clip import Clip
from storm_core.benchmarks.protocol import Answer, read_answer
from storm_core.errors import DatasetError, StormError

LIMIT_S = 3600
"""A contender that has not answered after this time has failed [s]."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                            "OPENCV_FOR_THREADS_NUM"), "1")
"""Libraries whose pools would otherwise be as large as the machine."""

CPU, WALL = "CPU", "wall"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A tracker that can run here.

    Attributes:
      name: key in the results.
      command: (folder of the clip, file for the answer, the clip) -> program and arguments; may prepare the object
        first, and raises StormError when it cannot.
      clock: CPU = processor time on one core, WALL = the time that passed, for trackers that use a GPU.
      onboarding: (clip) -> seconds and bytes that preparing the object cost, None when it was not measured.
    """

    name: str
    command: Callable[[Path, Path, Clip], Sequence[str]]
    clock: str = CPU
    onboarding: Callable[[Clip], tuple[float, int] | None] = lambda clip: None


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A tracker that did not run, and what to do about it."""

    name: str
    reason: str


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def run(contender: Contender, clip: Clip, folder: Path, strides: Sequence[int]) -> Answer | str:
    """The answer of a contender to the clip in `folder` (see `write_clip`), or why there is none.

    A contender timed by processor time gets one core and one thread.
    """
    out = folder / f"{contender.name}.txt"
    try:
        problem = call(contender.command(folder, out, clip), one_core=contender.clock == CPU)
    except StormError as error:
        return str(error)
    if problem:
        return problem
    try:
        answer = read_answer(out, len(clip), strides)
    except (OSError, UnicodeDecodeError) as error:
        return f"it ended without an answer ({error})"
    except DatasetError as error:
        return str(error)
    answer.onboarding = answer.onboarding or contender.onboarding(clip)
    return answer


def call(command: Sequence[str], *, one_core: bool) -> str:
    """Run a program to its end; "" or why it failed, in its own last words."""
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in paths if p)}
    environment |= ONE_THREAD if one_core else {}
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, errors="replace", timeout=LIMIT_S, check=False,
                              preexec_fn=_take_one_core if one_core else None)
    except OSError as error:
        return f"{command[0]} cannot be started ({error.strerror})"
    except subprocess.TimeoutExpired:
        return f"no answer within {LIMIT_S} s"
    if done.returncode == 0:
        return ""
    words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
    return f"{words[-1] if words else 'no message'} ({how})"


def _take_one_core() -> None:
    """In the child, before its program starts, so that all its threads share one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
