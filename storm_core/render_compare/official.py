"""FoundationPose's own checkpoints (`model_best.pth` with its `config.yml`), where a user has them.

Their licence, the NVIDIA Source Code License, allows research and evaluation only, of the weights as of the code; so
nothing of theirs is part of STORM, and nothing is fetched. The tensors must fit the published networks name for name.
"""

import codecs
import hashlib
import logging
import math
import pickle
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from storm_core.errors import ConfigError, WeightsError
from storm_core.render_compare.forward import check_tensors
from storm_core.render_compare.shape import OFFICIAL_SHAPE, NetworkShape, Scaling
from storm_core.render_compare.weights import PairWeights

logger = logging.getLogger(__name__)

LICENSE = "NVIDIA Source Code License for FoundationPose: non-commercial, research and evaluation only"

CROP_RATIO = {"refiner": 1.2, "scorer": 1.2}
"""Sides of the crops [diameters] where config.yml says nothing, as the published code documents."""

_COUNTER = "num_batches_tracked"
_ROTATIONS = {"axis_angle": 3, "6d": 6}
"""Numbers that a network puts out for a turn."""
_NEEDED = {"trans_rep": "tracknet", "c_in": 6}
"""What this implementation can do, where config.yml has a say."""


def load_official(path: Path, kind: str) -> PairWeights:
    """The weights of `model_best.pth`, with scales from `config.yml` beside it.

    Args:
      kind: refiner or scorer.

    Raises:
      WeightsError: missing, cut short, no checkpoint, of the other network, or with settings that STORM cannot follow.
    """
    settings = _settings(path.with_name("config.yml"))
    tensors = {name: value for name, value in _state(path).items() if not name.endswith(_COUNTER)}
    shape = _shape(path, settings, tensors)
    weights = PairWeights(kind, {k: v.float().numpy() for k, v in tensors.items()}, shape,
                          _scaling(path, settings, kind), {"source": str(path)}, LICENSE,
                          hashlib.sha256(path.read_bytes()).hexdigest())
    try:
        check_tensors(weights)
    except WeightsError as error:
        raise WeightsError(f"{path} is no official {kind}: {error}") from error
    logger.warning("%s: %s", path, LICENSE)
    return weights


def _state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors by name, whether or not they lie under `model`; nothing in the file is executed."""
    try:
        # Trainings keep their best figure beside the tensors, often as a scalar of numpy.
        with torch.serialization.safe_globals(_numpy_scalars()):
            kept = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, struct.error,
            pickle.UnpicklingError) as error:
        raise WeightsError(f"cannot read the checkpoint {path} ({type(error).__name__}): it is missing, cut short or "
                           "something else; download it again from where FoundationPose's readme says") from error
    state = kept.get("model", kept) if isinstance(kept, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(
            isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()):
        raise WeightsError(f"{path} holds no weights of a network; give FoundationPose's model_best.pth")
    return dict(state)


def _numpy_scalars() -> list[Any]:
    """What a scalar of numpy is made of in a pickle, under the names of numpy 1 and 2; none of it runs code."""
    scalar = np.float64(0).__reduce__()[0]
    names = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*names, np.dtype, codecs.encode, *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}]


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise WeightsError(f"cannot read {path}, which belongs beside the checkpoint and says how its inputs are "
                           f"scaled ({type(error).__name__}); copy it there") from error
    if not isinstance(settings, dict):
        raise WeightsError(f"{path} must hold settings by name, got {type(settings).__name__}; copy it again")
    for key, wanted in _NEEDED.items():
        if settings.get(key, wanted) != wanted:
            raise WeightsError(f"{path}: {key} is {settings[key]!r}, STORM's networks can only follow {wanted!r}")
    if settings.get("rot_rep", "axis_angle") not in tuple(_ROTATIONS):
        raise WeightsError(f"{path}: rot_rep is {settings['rot_rep']!r}, STORM's networks can only follow "
                           f"{' or '.join(_ROTATIONS)}")
    if not settings.get("normalize_xyz", False):
        raise WeightsError(f"{path}: normalize_xyz is off, STORM's crops are normalised; use the published checkpoint")
    return settings


def _shape(path: Path, settings: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> NetworkShape:
    try:
        width, height = (int(x) for x in settings.get("input_resize", (160, 160)))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path.with_name('config.yml')}: input_resize must be two numbers, got "
                           f"{settings['input_resize']!r}") from error
    if width != height:
        raise WeightsError(f"{path.with_name('config.yml')}: input_resize is {width} x {height}, STORM's crops are "
                           "square")
    rotation = _ROTATIONS[settings.get("rot_rep", "axis_angle")]
    try:
        return replace(OFFICIAL_SHAPE, batch_norm=bool(settings.get("use_BN", False)), rotation=rotation, crop=width)
    except ConfigError as error:
        raise WeightsError(f"{path.with_name('config.yml')}: input_resize is {width}: {error}") from error


def _scaling(path: Path, settings: Mapping[str, Any], kind: str) -> Scaling:
    """Crop ratio and normalisers. With normalised coordinates shifts are in radii; turns are tanh times rot_normalizer,
    and the published code transposes the rotation that it gets from them, which turns the other way round."""
    ratio, turn = settings.get("crop_ratio"), settings.get("rot_normalizer")
    ratio = CROP_RATIO[kind] if ratio is None else ratio
    if kind == "refiner" and settings.get("rot_rep", "axis_angle") == "axis_angle" and turn is None:
        raise WeightsError(f"{path.with_name('config.yml')} lacks rot_normalizer, the largest turn of a step [rad]")
    try:
        scales = float(ratio), 1.0 if turn is None else float(turn)
    except (TypeError, ValueError):
        scales = (math.nan, math.nan)
    if not all(0 < scale < math.inf for scale in scales):
        raise WeightsError(f"{path.with_name('config.yml')}: crop_ratio and rot_normalizer must be numbers above 0, "
                           f"got {ratio!r} and {turn!r}; use the published file")
    return Scaling(crop_ratio=scales[0], turn=Scaling.turn if turn is None else -scales[1])
