"""Where the figures of a training run go: a JSONL file always, Weights & Biases and TensorBoard when asked for."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from storm_core.errors import BackendError


class RunLog:
    """Writes figures of steps; without arguments it writes nowhere."""

    def __init__(self, folder: Path | None = None, *, wandb_mode: str = "disabled", tensorboard: bool = False,
                 name: str = "score", config: dict[str, Any] | None = None) -> None:
        """
        Args:
          folder: of log.jsonl and the TensorBoard files. wandb_mode: online, offline or disabled.

        Raises:
          BackendError: Weights & Biases or TensorBoard was asked for and is not installed.
        """
        self._file = self._wandb = self._board = None
        if wandb_mode != "disabled":
            self._wandb = _wandb_run(wandb_mode, folder, name, config)
        if tensorboard:
            self._board = _board(folder)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "log.jsonl").open("a")

    def write(self, step: int, figures: dict[str, float]) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"step": step} | {k: round(v, 6) for k, v in figures.items()}) + "\n")
            self._file.flush()
        if self._wandb is not None:
            self._wandb.log(figures, step=step)
        if self._board is not None:
            for key, value in figures.items():
                self._board.add_scalar(key, value, step)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if error is None else 1)
        if self._board is not None:
            self._board.close()


def _wandb_run(mode: str, folder: Path | None, name: str, config: dict[str, Any] | None) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise BackendError(f"--wandb-mode {mode} needs Weights & Biases; `pip install wandb`, or use --wandb-mode "
                           "disabled (figures also go to log.jsonl)") from error
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return wandb.init(project="storm-score", name=name, mode=mode, config=config or {},
                      dir=None if folder is None else str(folder))


def _board(folder: Path | None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise BackendError("--tensorboard needs `pip install tensorboard`") from error
    return SummaryWriter(None if folder is None else str(folder / "tensorboard"))
