"""Arrays in the cache folder. A cache that cannot be read or written is no error: the work is only done again."""

import os
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storm_core.config import OnboardingConfig


def cache_folder(config: OnboardingConfig) -> Path:
    """The configured cache folder, or ~/.cache/storm (XDG_CACHE_HOME respected)."""
    if config.cache:
        return Path(config.cache).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "storm"


def why_nothing_is_kept(config: OnboardingConfig) -> str:
    """What the system says when something is written into the cache folder; empty when it can be written."""
    folder = cache_folder(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def read_arrays(path: Path) -> dict[str, NDArray]:
    """The arrays of a file by name; none when there is no such file, or it is damaged."""
    with suppress(OSError, ValueError, EOFError, zipfile.BadZipFile), np.load(path) as data:
        return {name: data[name] for name in data.files}
    return {}


def write_arrays(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Whole or not at all, however many processes do so at once."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
            np.savez(file, **arrays)
        Path(file.name).replace(path)
