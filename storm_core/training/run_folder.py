"""The folder of a run belongs to one training: another one that started there would overwrite its log and settings."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from storm_core.errors import ConfigError

CHECKPOINTS = ("checkpoint.pt", "state.pt")
"""What the trainings of STORM call what they go on from."""


def require_own_folder(folder: Path, command: str, checkpoint: str, sections: Collection[str]) -> None:
    """Nothing when a run of `command` may start in the folder, which need not exist.

    Args:
      command: as results.json names it, e.g. "train som". checkpoint: name of its own among CHECKPOINTS.
      sections: all names at the top of its config.yaml.

    Raises:
      ConfigError: it holds a file of another kind of run; names the file.
    """
    config, results = _content(folder / "config.yaml"), _content(folder / "results.json")
    foreign = [name for name in CHECKPOINTS if name != checkpoint and (folder / name).exists()]
    if config is not None and not (isinstance(config, dict) and set(config) <= set(sections)):
        foreign.append("config.yaml")
    if results is not None and not (isinstance(results, dict) and results.get("command") == command):
        foreign.append("results.json")
    if foreign:
        raise ConfigError(f"{folder / foreign[0]} is of another run than `storm {command}`, which would overwrite what "
                          "lies beside it; choose another folder")


def _content(file: Path) -> Any:
    """What a YAML or JSON file holds: None = there is none, "" = it cannot be read."""
    if not file.exists():
        return None
    try:
        text = file.read_text()
        found = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return ""
    return "" if found is None else found
