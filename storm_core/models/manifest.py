"""models/manifest.yaml: every set of weights STORM can use, with revision, licence, size and SHA-256 of each file."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from storm_core.errors import WeightsError

HUB = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """One file of a set.

    Attributes:
      name: path inside the set's folder. bytes: size, 0 when not recorded.
      sha256: of its content, "" when not recorded: then the copy is recorded when it is fetched, and checked after.
    """

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One set of weights.

    Attributes:
      name: as users write it. purpose: what STORM does with it.
      repository, revision: on the Hugging Face hub; the revision is a commit, so its content cannot change.
      license: SPDX name or the name of the terms. gated: the hub asks for an account that accepted the terms.
    """

    name: str
    purpose: str
    repository: str
    revision: str
    license: str
    gated: bool
    files: tuple[WeightsFile, ...]

    @property
    def bytes(self) -> int:
        """Recorded size of all files; 0 when one is not recorded."""
        return sum(f.bytes for f in self.files) if all(f.bytes for f in self.files) else 0

    def url(self, file: WeightsFile) -> str:
        return f"{HUB}/{self.repository}/resolve/{self.revision}/{file.name}"


def manifest_file() -> Path:
    """The manifest of the source tree, or the one that was installed with the package.

    Raises:
      WeightsError: there is none.
    """
    import sys

    installed = Path(sys.prefix) / "share" / "storm_ros" / "models" / "manifest.yaml"
    for path in (Path(__file__).resolve().parents[2] / "models" / "manifest.yaml", installed):
        if path.is_file():
            return path
    raise WeightsError(f"models/manifest.yaml is missing, expected beside the sources or at {installed}; install STORM "
                       "again")


def shipped_file(name: str) -> Path:
    """Weights that come with STORM: beside the sources, or in share/storm_ros of an installation."""
    import sys

    sources = Path(__file__).resolve().parents[2] / "models" / name
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p] + [sys.prefix]
    places = [sources, *(Path(p) / "share" / "storm_ros" / "models" / name for p in prefixes)]
    return next((place for place in places if place.is_file()), sources)


def read_manifest(path: Path | None = None) -> dict[str, Weights]:
    """All entries by name.

    Raises:
      WeightsError: the file is missing, damaged, or an entry lacks a field (names it).
    """
    path = path or manifest_file()
    try:
        tree = yaml.safe_load(path.read_text())
        return {entry["name"]: _parsed(entry) for entry in tree["weights"]}
    except (OSError, yaml.YAMLError) as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is no manifest of weights ({type(error).__name__}: {error})") from error


def entry_of(name: str, manifest: dict[str, Weights]) -> Weights:
    """The entry of that name, or WeightsError naming those that exist."""
    if name not in manifest:
        raise WeightsError(f"no weights {name!r} in the manifest; there are {', '.join(manifest)}")
    return manifest[name]


def weights_home() -> Path:
    """Folder of fetched weights: $STORM_WEIGHTS, or ~/.cache/storm/weights (XDG_CACHE_HOME respected)."""
    if os.environ.get("STORM_WEIGHTS"):
        return Path(os.environ["STORM_WEIGHTS"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "storm" / "weights"


def folder_of(entry: Weights) -> Path:
    """Where the files of an entry are kept; another revision has another folder."""
    return weights_home() / f"{entry.name}-{entry.revision[:12]}"


def _parsed(entry: dict[str, Any]) -> Weights:
    files = tuple(WeightsFile(name=str(f["name"]), bytes=int(f.get("bytes") or 0), sha256=str(f.get("sha256") or ""))
                  for f in entry["files"])
    for file in files:
        if file.sha256 and (len(file.sha256) != 64 or set(file.sha256) - set("0123456789abcdef")):
            raise ValueError(f"{entry['name']}/{file.name}: {file.sha256!r} is no SHA-256")
        if Path(file.name).is_absolute() or ".." in Path(file.name).parts:
            raise ValueError(f"{entry['name']}: {file.name!r} leaves the folder of the set")
    return Weights(name=str(entry["name"]), purpose=str(entry["purpose"]), repository=str(entry["repository"]),
                   revision=str(entry["revision"]), license=str(entry["license"]), gated=bool(entry.get("gated")),
                   files=files)
