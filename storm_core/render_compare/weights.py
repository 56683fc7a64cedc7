"""Weights of the refiner and the scorer on disk: one .safetensors file that says what network they belong to."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import ConfigError, WeightsError
from storm_core.render_compare.shape import NetworkShape, Scaling
from storm_core.render_compare.tensor_file import read_tensors, write_tensors

VERSION = "1"
KINDS = ("refiner", "scorer")


@dataclass(frozen=True, eq=False)
class PairWeights:
    """A trained network.

    Attributes:
      kind: refiner or scorer. tensors: by the names of `networks` (float32). shape, scaling: what they fit.
      facts: where they come from: steps, seed, objects. license: of the weights. sha256: of the file, "" = none.
    """

    kind: str
    tensors: dict[str, NDArray[np.float32]]
    shape: NetworkShape
    scaling: Scaling
    facts: dict[str, Any]
    license: str = "Apache-2.0"
    sha256: str = ""


def save_pair_weights(path: Path, weights: PairWeights) -> None:
    """Write a file that `load_pair_weights` reads."""
    metadata = {"format": "pt", "storm": VERSION, "kind": weights.kind, "shape": json.dumps(asdict(weights.shape)),
                "scaling": json.dumps(asdict(weights.scaling)), "facts": json.dumps(weights.facts),
                "license": weights.license}
    write_tensors(path, weights.tensors, metadata)


def load_pair_weights(path: Path | str, kind: str) -> PairWeights:
    """The weights of a file.

    Raises:
      WeightsError: the file is missing or damaged, or holds something else than a network of this kind.
    """
    file = Path(path).expanduser()
    tensors, metadata = read_tensors(file)
    try:
        found, version = metadata["kind"], metadata["storm"]
        shape = NetworkShape(**json.loads(metadata["shape"]))
        scaling = Scaling(**json.loads(metadata["scaling"]))
        facts = json.loads(metadata["facts"])
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise WeightsError(f"{file} holds tensors, but not those of STORM's {kind} ({error}); write them with `storm "
                           f"train {kind}`") from error
    if version != VERSION:
        raise WeightsError(f"{file} has format {version}, this STORM reads {VERSION}; train again")
    if found != kind:
        raise WeightsError(f"{file} holds a {found}, not a {kind}; give the weights of a {kind}")
    floats = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
    broken = [name for name, value in floats.items() if not np.isfinite(value).all()]
    if broken:
        raise WeightsError(f"{file} is damaged: {broken[0]} holds numbers that are not finite; fetch or train it again")
    return PairWeights(kind, floats, shape, scaling, facts, metadata.get("license", "unknown"),
                       hashlib.sha256(file.read_bytes()).hexdigest())
