"""Where the numbers of a report come from: inputs, meshes, weights, code, packages, machine, command, time."""

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import yaml

import storm_core
from storm_core.report.results import machine

PACKAGES = ("numpy", "scipy", "numba", "opencv-python-headless", "matplotlib", "pandas", "pillow", "rosbags", "trimesh",
            "torch", "transformers")
"""Distributions whose versions are told when they are installed."""

_GIT_S = 5.0
"""Longest wait for git [s]."""


class Digested(Protocol):
    """A model that knows the digest of what it holds."""

    @property
    def sha256(self) -> str: ...


def provenance(models: Mapping[str, Digested], config_text: str) -> dict[str, Any]:
    """`provenance` of results.json.

    Values that are not known are None: `commit` when the code is no git checkout, `memory_gb` where the system does
    not tell. `dirty`: files of the checkout differ from the commit. `models`: digest of each mesh as it was used,
    colours and symmetries included. `weights`: of every file that models/manifest.yaml lists.
    """
    commit, dirty = _checkout(Path(storm_core.__file__).resolve().parent.parent)
    return {"date": datetime.now(timezone.utc).isoformat(timespec="seconds"), "command_line": shlex.join(sys.argv),
            "storm": storm_core.__version__, "commit": commit, "dirty": dirty,
            "python": platform.python_version(), "packages": _packages(),
            "system": f"{platform.system()} {platform.release()}", "machine": machine() | {"memory_gb": _memory_gb()},
            "models": {name: model.sha256 for name, model in models.items()},
            "config_sha256": hashlib.sha256(config_text.encode()).hexdigest() if config_text else None,
            "weights": _weights()}


def _checkout(root: Path) -> tuple[str | None, bool | None]:
    """(commit, whether files differ from it) of the code that runs; None when it is installed or git is missing."""
    if not (root / ".git").exists():
        return None, None
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit or None, None if changes is None else bool(changes)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True,
                              timeout=_GIT_S, env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"})
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def _weights() -> dict[str, str]:
    """{name: sha256} of the learned weights that this version ships; {} when there is no list of them."""
    file = Path(storm_core.__file__).resolve().parent.parent / "models" / "manifest.yaml"
    try:
        listed = (yaml.safe_load(file.read_text()) or {}).get("shipped") or []
    except OSError:
        return {}
    return {str(entry["name"]): str(entry["sha256"]) for entry in listed}
