"""Weights of the score network on disk: one .npz of plain arrays with the network's shape and noise widths in it."""

import hashlib
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import WeightsError
from storm_core.models.shipped import shipped_file
from storm_core.score_model.encoder import NetworkConfig
from storm_core.score_model.network import initial_parameters
from storm_core.score_model.schedule import Schedule

T = TypeVar("T")

VERSION = 1
SHIPPED = "score_model.npz"


@dataclass(frozen=True, eq=False)
class ScoreWeights:
    """A trained network.

    Attributes:
      params: as `network.initial_parameters`. network: its shape. schedule: the noise it was trained with.
      facts: where it comes from: steps, data, seed.
      sha256: of the file, or of the arrays when there is none.
    """

    params: dict[str, NDArray[np.float32]]
    network: NetworkConfig
    schedule: Schedule
    facts: dict[str, Any]
    sha256: str = ""


def save_weights(path: Path, weights: ScoreWeights) -> None:
    """Write an .npz that `load_weights` reads; no pickles in it."""
    head = {"version": VERSION, "network": asdict(weights.network), "schedule": asdict(weights.schedule),
            "facts": weights.facts}
    with path.open("wb") as file:
        np.savez(file, __head__=np.array(json.dumps(head)), **weights.params)


def load_weights(path: Path | str = "") -> ScoreWeights:
    """The weights of a file, or those that ship with STORM.

    Raises:
      WeightsError: the file is missing or damaged, of another version, or does not fit the network (names the part).
    """
    file = weights_file(path)
    try:
        content = file.read_bytes()
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        head = json.loads(str(arrays.pop("__head__")))
        network, schedule = _of_type(NetworkConfig, head["network"]), _of_type(Schedule, head["schedule"])
        facts = head["facts"]
    except FileNotFoundError as error:
        raise WeightsError(f"no weights of the score network at {file}; train them with `storm train score`, or leave "
                           "score_model.method at analytic") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{file} holds no weights of the score network ({error}); write them with `storm train "
                           "score`") from error
    if head.get("version") != VERSION:
        raise WeightsError(f"{file} has format {head.get('version')}, this STORM reads {VERSION}; train again")
    check_fit(arrays, network, str(file))
    return ScoreWeights({k: np.ascontiguousarray(v, np.float32) for k, v in arrays.items()}, network, schedule,
                        facts, hashlib.sha256(content).hexdigest())


def _of_type(kind: type[T], values: dict[str, Any]) -> T:
    """The dataclass with these values; TypeError for one that is no number where the default is one."""
    made, default = kind(**values), kind()
    for name in values:
        value, usual = getattr(made, name), getattr(default, name)
        if not isinstance(value, (int, float) if isinstance(usual, float) else type(usual)):
            raise TypeError(f"{name} is {value!r}")
    return made


def weights_file(path: Path | str = "") -> Path:
    """The named file; the one that ships with STORM where none is named."""
    return Path(path).expanduser() if path else shipped()


def shipped() -> Path:
    """The weights that come with STORM."""
    return shipped_file(SHIPPED)


def check_fit(arrays: dict[str, Any], network: NetworkConfig, source: str) -> None:
    """WeightsError naming the first array that is missing, superfluous or of another shape than the network's."""
    wanted = initial_parameters(network)
    for name in sorted(wanted.keys() | arrays.keys()):
        have = tuple(arrays[name].shape) if name in arrays else None
        need = tuple(wanted[name].shape) if name in wanted else None
        if have != need:
            raise WeightsError(f"{source} does not fit the network: {name} has shape {have}, needs {need}")
