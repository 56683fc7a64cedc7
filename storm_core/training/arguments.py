"""What the configurations of all trainings share: how a file is read and written, and what a device is called."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from storm_core.config import build, flatten
from storm_core.config_io import read_values
from storm_core.errors import ConfigError

T = TypeVar("T")


def read_arguments(path: Path | str | None, overrides: Mapping[str, Any] | None, defaults: T) -> T:
    """The defaults, overlaid by a YAML file (may be None) and by dotted overrides.

    Raises:
      ConfigError: file unreadable, or a key, type or value is wrong (names the dotted path).
    """
    return build(read_values(path) | dict(overrides or {}), defaults)


def arguments_yaml(config: object) -> str:
    """The full tree of a configuration in sections as YAML."""
    tree: dict[str, Any] = {}
    for path, value in flatten(config).items():
        section, leaf = path.split(".")
        tree.setdefault(section, {})[leaf] = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(tree, sort_keys=False)


def require_device(name: str) -> None:
    """ConfigError when `training.device` is not a device that networks are trained on."""
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", name):
        raise ConfigError(f"training.device must be cpu or cuda, got {name!r}; cuda:1 is the second of several GPUs")
