"""Outcomes of finished jobs on disk, so that an interrupted run continues where it was."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import storm_core
from storm_core import __version__
from storm_core.report.atomic import whole_file
from storm_core.report.results import to_json

FOLDER = ".parts"
_FIRST_BYTES = 4096
_WITHOUT_INFLUENCE = ("cli", "report", "training")
"""Parts of the package that show outcomes or fit other data; they may change without a new run. Metrics and simulation
may not: the failure benchmark disturbs pictures with the one and labels them with the other within its jobs."""


class Parts:
    """The finished jobs of one output folder, one JSON file each, named by the job's key."""

    def __init__(self, out: Path, *, restart: bool = False) -> None:
        """restart: throw away what is there."""
        self.folder = out.expanduser() / FOLDER
        if restart:
            shutil.rmtree(self.folder, ignore_errors=True)

    def get(self, key: str) -> dict[str, Any] | None:
        """The outcome, or None when there is none that can be read."""
        try:
            content = json.loads((self.folder / f"{key}.json").read_text())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def put(self, key: str, outcome: dict[str, Any]) -> None:
        """Keep an outcome; SetupError when the folder cannot be written."""
        with whole_file(self.folder / f"{key}.json") as part:
            part.write_text(to_json(outcome))


def code_version(*what: Any) -> str:
    """Hash of JSON data together with the version and the sources that have a say in outcomes."""
    text = json.dumps([__version__, _sources(), *what], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def digest_of_files(files: Iterable[str]) -> str:
    """Hash of names, sizes, times of change and first bytes; a missing file counts as such."""
    digest = hashlib.sha256()
    for file in map(Path, files):
        try:
            stat = file.stat()
            digest.update(f"{file}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
            with file.open("rb") as stream:
                digest.update(stream.read(_FIRST_BYTES))
        except OSError:
            digest.update(f"{file}\0missing\0".encode())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _sources() -> str:
    """Hash of the sources: whoever changes the code that finds poses measures anew."""
    root = Path(storm_core.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        if file.relative_to(root).parts[0] in _WITHOUT_INFLUENCE:
            continue
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
