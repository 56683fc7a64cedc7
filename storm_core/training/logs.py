"""Where figures of a run go: always log.jsonl, and Weights & Biases or TensorBoard when wanted and installed."""

import json
import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from storm_core.models.packages import require_packages


class RunLog(Protocol):
    def write(self, step: int, figures: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class FileLog:
    """One JSON object per line. A resumed run goes on where it was: later lines of a broken run are dropped."""

    def __init__(self, path: Path, step: int) -> None:
        kept = []
        if step and path.is_file():
            kept = [line for line in path.read_text().splitlines() if _step_of(line) <= step]
        path.write_text("".join(line + "\n" for line in kept))
        self._file = path.open("a")

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        # JSON has no nan: what was not measured is null.
        known = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        self._file.write(json.dumps({"step": step, **known}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _step_of(line: str) -> float:
    """The step of a line of the log; inf for one that a broken run has cut."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, LookupError, TypeError):
        return math.inf


class TensorBoardLog:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


def _run_id(folder: Path, step: int) -> str:
    """A name of its own for the run in the folder; one that goes on from a step keeps its name."""
    file = folder / "wandb_id.txt"
    if not step or not file.is_file():
        file.write_text(uuid4().hex + "\n")
    return file.read_text().strip()


class WandbLog:
    def __init__(self, folder: Path, mode: str, config: Mapping[str, Any], project: str, step: int) -> None:
        require_packages(f"wandb: {mode}", "wandb")
        import wandb

        self._run = wandb.init(project=project, name=folder.name, id=_run_id(folder, step), resume="allow", mode=mode,
                               dir=str(folder), config=dict(config))

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        self._run.finish()


class Logs:
    """All logs of a run as one; leaving the `with` block closes them."""

    def __init__(self, logs: list[RunLog]) -> None:
        self._logs = logs

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        for log in self._logs:
            log.write(step, figures)

    def close(self) -> None:
        for log in self._logs:
            log.close()

    def __enter__(self) -> "Logs":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_logs(folder: Path, wandb: str, config: Mapping[str, Any], step: int, project: str) -> Logs:
    """log.jsonl in `folder`, which is made, and W&B (online, offline) or, when that is disabled, TensorBoard if it is
    installed. step: that the run goes on from.

    Raises:
      BackendError: W&B is asked for and not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    logs: list[RunLog] = [FileLog(folder / "log.jsonl", step)]
    if wandb != "disabled":
        logs.append(WandbLog(folder, wandb, config, project, step))
    elif find_spec("tensorboard") is not None:
        logs.append(TensorBoardLog(folder / "tensorboard"))
    return Logs(logs)
