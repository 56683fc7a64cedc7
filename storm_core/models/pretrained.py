"""Networks of `transformers` from a folder, complete or refused: what its loader leaves random is an error here."""

import json
import pickle
from pathlib import Path
from typing import Any

from storm_core.errors import WeightsError


def load_pretrained(kind: Any, folder: Path, what: str, *, types: tuple[str, ...] = (), unused: tuple[str, ...] = (),
                    **options: Any) -> Any:
    """The network in evaluation mode on the CPU; nothing is downloaded.

    Args:
      kind: a model class of transformers. what: its name in errors, e.g. "SAM 2".
      types: `model_type` of config.json may be one of these; empty = any that kind can read.
      unused: beginnings of the names of tensors that may be missing, because their outputs are not used.
      options: of from_pretrained.

    Raises:
      WeightsError: the folder holds no such network, a damaged file, or lacks some of its tensors.
    """
    from safetensors import SafetensorError

    found = model_type(folder, what)
    if types and found not in types:
        raise WeightsError(f"{folder} holds a {found}, not {what} ({' or '.join(types)}); give that folder")
    try:
        model, report = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True, **options)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, EOFError,
            SafetensorError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{folder} holds no {what} that transformers can load ({type(error).__name__}: {error}); "
                           "fetch it again") from error
    # What transformers does not find it fills with random numbers and a warning. Tensors too many are harmless: real
    # checkpoints hold the heads of other tasks.
    lacking = sorted(name for name in report["missing_keys"] if not name.startswith(unused))
    lacking += sorted(str(entry[0]) for entry in report["mismatched_keys"])
    if lacking:
        raise WeightsError(f"{folder} does not hold all of {what}: {lacking[0]} and {len(lacking) - 1} more tensors "
                           "are missing or of another shape; fetch it again, or give the folder of that model")
    return model.eval()


def model_type(folder: Path, what: str) -> str:
    """`model_type` of the folder's config.json.

    Raises:
      WeightsError: there is none; names `what` was looked for.
    """
    file = folder / "config.json"
    try:
        return str(json.loads(file.read_text())["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder} holds no {what} that transformers can load: {file.name} is missing or names no "
                           f"model_type ({type(error).__name__}: {error})") from error
