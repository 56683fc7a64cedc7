"""Weights of the small learned verifier on disk: one .npz of plain arrays."""

import json
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from storm_core.errors import WeightsError
from storm_core.models.shipped import shipped_file
from storm_core.monitor.network import Array, CropNetwork, shapes

VERSION = 1
SHIPPED = "monitor.npz"


def save_weights(path: Path, params: Mapping[str, Array], facts: Mapping[str, Any]) -> None:
    """Write an .npz that `load_network` reads; no pickles in it. facts: where the weights come from."""
    head = json.dumps({"version": VERSION, "facts": dict(facts)})
    with path.open("wb") as file:
        np.savez(file, __head__=np.array(head), **params)


@lru_cache(maxsize=4)
def load_network(path: Path | str = "") -> CropNetwork:
    """The network of a file, or the one that ships with STORM.

    Raises:
      WeightsError: the file is missing, damaged, of another version, or an array has another shape (names it).
    """
    file = Path(path).expanduser() if path else shipped_file(SHIPPED)
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        head = json.loads(str(arrays.pop("__head__")))
    except FileNotFoundError as error:
        raise WeightsError(f"no weights of the monitor's network at {file}; train them with `storm train monitor`, or "
                           "set monitor.learned to false") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{file} holds no weights of the monitor's network ({error}); write them with `storm train "
                           "monitor`") from error
    if head.get("version") != VERSION:
        raise WeightsError(f"{file} has format {head.get('version')}, this STORM reads {VERSION}; train again")
    wanted = shapes()
    for name in sorted(wanted.keys() | arrays.keys()):
        have = arrays[name].shape if name in arrays else None
        if have != wanted.get(name):
            raise WeightsError(f"{file} does not fit the network: {name} has shape {have}, needs {wanted.get(name)}")
    return CropNetwork({name: np.ascontiguousarray(value, np.float32) for name, value in arrays.items()})
