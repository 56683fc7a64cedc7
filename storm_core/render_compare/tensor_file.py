"""Tensors on disk in the safetensors format, which is simple enough to read and write without the package.

Eight bytes: length of the header. The header: JSON, for each tensor its type, shape and place, and `__metadata__`, text
by text. Then the numbers, little-endian, row-major, without gaps. Nothing in such a file can be executed.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import WeightsError

_TYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "I64": np.dtype("<i8")}
_LONGEST_HEADER = 10**8


def write_tensors(path: Path, tensors: Mapping[str, NDArray[np.generic]], metadata: Mapping[str, str]) -> None:
    """Write arrays of float32, float16 or int64, sorted by name: equal content gives equal bytes."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    blocks, at = [], 0
    names = {dtype: name for name, dtype in _TYPES.items()}
    for name in sorted(tensors):
        block = np.asarray(tensors[name])
        content = block.astype(block.dtype.newbyteorder("<")).tobytes()
        header[name] = {"dtype": names[block.dtype.newbyteorder("<")], "shape": list(block.shape),
                        "data_offsets": [at, at + len(content)]}
        blocks.append(content)
        at += len(content)
    text = json.dumps(header, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blocks))


def read_tensors(path: Path) -> tuple[dict[str, NDArray[np.generic]], dict[str, str]]:
    """Arrays by name, and the metadata.

    Raises:
      WeightsError: the file is missing, cut short, or something else than tensors.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read weights {path}: {error.strerror or error}; give the path of a .safetensors "
                           "file") from error
    try:
        (length,) = struct.unpack_from("<Q", content)
        if not 0 < length <= min(len(content) - 8, _LONGEST_HEADER):
            raise ValueError(f"a header of {length} bytes does not fit {len(content)} bytes")
        header = json.loads(content[8:8 + length])
        metadata = header.pop("__metadata__", {})
        return {name: _array(content, 8 + length, entry) for name, entry in header.items()}, dict(metadata)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise WeightsError(f"{path} is damaged or no safetensors file ({type(error).__name__}: {error}); fetch or "
                           "train it again") from error


def _array(content: bytes, base: int, entry: Mapping[str, object]) -> NDArray[np.generic]:
    first, last = entry["data_offsets"]  # type: ignore[misc]
    if not 0 <= first <= last <= len(content) - base:
        raise ValueError(f"a tensor ends at byte {last}, the file has {len(content) - base}")
    flat = np.frombuffer(content[base + first:base + last], _TYPES[str(entry["dtype"])])
    return flat.reshape(entry["shape"])  # type: ignore[arg-type]
