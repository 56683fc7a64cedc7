"""One process of a running graph: its pipe, its last words, its restarts."""

import collections
import contextlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping

from storm_core.errors import SetupError
from storm_ros.graph import NICE_AFTER_START, NodeProcess

_LOG_PREFIX = re.compile(r"^\[[A-Z]+\] \[[0-9.]+\] \[[^]]*\]: ")
_REMEMBERED = 40
"""Lines kept to explain a death."""


class Child:
    """A child in its own process group, so that a Ctrl-C in the terminal reaches us first and it only through us.

    Attributes:
      process: what it is.
      failures: times in a row that it died soon after its start.
      restart_at: time.monotonic() of its next start; None when none is planned.
      finished: ended, and will not be started again.
    """

    def __init__(self, process: NodeProcess, command: list[str], env: Mapping[str, str],
                 sink: Callable[[str], None]) -> None:
        self.process = process
        self.failures = 0
        self.restart_at: float | None = None
        self.finished = False
        self._command = command
        self._env = env
        self._sink = sink
        self._popen: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._lines: collections.deque[str] = collections.deque(maxlen=_REMEMBERED)
        self._started = self._ended = 0.0

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def pid(self) -> int | None:
        """Process id; None when it does not run."""
        return self._popen.pid if self._popen is not None and self._popen.poll() is None else None

    @property
    def lived(self) -> float:
        """How long it has run or did run [s]."""
        return (self._ended or time.monotonic()) - self._started

    def start(self) -> None:
        """Start it (again)."""
        self.restart_at = None
        self._lines.clear()
        self._started, self._ended = time.monotonic(), 0.0
        if shutil.which(self._command[0]) is None:
            raise SetupError(f"cannot start {self.name}: there is no program {self._command[0]}")
        try:
            self._popen = subprocess.Popen(
                [*_bound_to_us(), *self._command], text=True, errors="replace", stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                env=dict(self._env) | {NICE_AFTER_START: str(self.process.nice_after_start)})
        except OSError as error:
            raise SetupError(f"cannot start {self.name}: {error}") from error
        if self.process.nice:
            # The child has just one thread yet, and its later threads inherit this.
            with contextlib.suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, self._popen.pid, min(19, os.nice(0) + self.process.nice))
        self._reader = threading.Thread(target=self._read, args=(self._popen,), name=f"log-{self.name}", daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        if self._popen is None:
            return 0
        code = self._popen.poll()
        if code is not None and not self._ended:
            self._ended = time.monotonic()
        return code

    def send(self, number: int) -> None:
        """A signal to its whole process group."""
        if self._popen is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._popen.pid, number)

    def last_words(self) -> str:
        """The line that most likely says why it died: the last one that it printed, without ROS's severity and time."""
        if self._reader is not None:
            self._reader.join(1.0)
        return next((_LOG_PREFIX.sub("", line.strip()) for line in reversed(self._lines) if line.strip()), "")

    def close(self) -> None:
        """Wait for the last of its output."""
        if self._reader is not None:
            self._reader.join(1.0)

    def _read(self, popen: subprocess.Popen[str]) -> None:
        with popen.stdout as pipe:
            for line in pipe:
                self._lines.append(line)
                self._sink(f"[{self.name}] {line.rstrip()}")


def _bound_to_us() -> list[str]:
    """Prefix that makes the kernel end the child when the thread that started it is gone, were we killed ourselves.

    util-linux's setpriv does it without running Python code between fork and exec, which is unsafe beside threads.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
