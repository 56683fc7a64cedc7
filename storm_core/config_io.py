"""Config <-> YAML. One file serves `ros2 launch` and `storm`: `/**: ros__parameters:` wraps the same tree."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from storm_core.config import StormConfig, build, describe, flatten
from storm_core.errors import ConfigError


def dotted(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"dotted.path": value} of the leaves of nested mappings."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            out |= dotted(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out


def read_values(path: Path | str | None) -> dict[str, Any]:
    """{"dotted.path": value} of a YAML file of parameters, in the ROS form or plain; {} for None.

    Raises:
      ConfigError: file unreadable, or not a mapping.
    """
    if path is None:
        return {}
    try:
        tree = yaml.safe_load(Path(path).read_text()) or {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read config {path}: {error}") from error
    if not isinstance(tree, Mapping):
        raise ConfigError(f"config {path} must be a mapping, got {type(tree).__name__}")
    for head in ("/**", "ros__parameters"):
        tree = tree.get(head, tree) or {}  # a head with nothing below it is read as None
        if not isinstance(tree, Mapping):
            raise ConfigError(f"{head} of config {path} must be a mapping, got {type(tree).__name__}")
    return dotted(tree)


def read_config(path: Path | str | None, overrides: Mapping[str, Any] | None = None) -> StormConfig:
    """The defaults, overlaid by a YAML file (may be None) and by dotted overrides.

    A ~ in `models` is spelled out: a shell does not do so in a file, and not every reader of that folder does.

    Raises:
      ConfigError: file unreadable, or a key, type or value is wrong (names the dotted path).
    """
    config = build(read_values(path) | dict(overrides or {}))
    return replace(config, models=os.path.expanduser(config.models))


def to_yaml(config: StormConfig) -> str:
    """The full tree in the ROS form."""
    tree: dict[str, Any] = {}
    for path, value in flatten(config).items():
        *parents, leaf = path.split(".")
        node = tree
        for p in parents:
            node = node.setdefault(p, {})
        node[leaf] = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump({"/**": {"ros__parameters": tree}}, sort_keys=False)


def to_commented_yaml(config: StormConfig) -> str:
    """The full tree in the ROS form with what is known of every parameter above it; the text of config/storm.yaml."""
    meta = describe(config)
    lines = [
        "# Every parameter of STORM with its default; one file for all nodes, `storm --config` and `ros2 launch`.",
        "/**:",
        "  ros__parameters:",
    ]
    open_sections: list[str] = []
    for path, value in flatten(config).items():
        *sections, leaf = path.split(".")
        for depth, section in enumerate(sections):
            if open_sections[: depth + 1] != sections[: depth + 1]:
                lines += ["", f"{'  ' * (depth + 2)}{section}:"]
                open_sections = sections[: depth + 1]
        indent = "  " * (len(sections) + 2)
        known = meta[path]
        notes = [known["doc"]] + ([f"[{known['unit']}]"] if known["unit"] else [])
        if known["low"] is not None or known["high"] is not None:
            notes.append(f"({known['low']} to {known['high']})")
        value = list(value) if isinstance(value, tuple) else value
        text = yaml.safe_dump(value, default_flow_style=True, default_style=None).removesuffix("\n...\n").strip()
        lines += [f"{indent}# {' '.join(notes)}", f"{indent}{leaf}: {text}"]
    return "\n".join(lines) + "\n"
