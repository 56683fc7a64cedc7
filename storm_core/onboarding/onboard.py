"""Onboarding of one mesh, cached on disk by content hash, so that a second start costs milliseconds."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storm_core.config import OnboardingConfig
from storm_core.geometry.mesh import ObjectModel
from storm_core.onboarding.array_cache import cache_folder, read_arrays, write_arrays
from storm_core.onboarding.templates import Templates, build_templates

VERSION = 1
"""Bump when the content of the cache changes meaning."""


@dataclass(frozen=True, eq=False)
class Onboarded:
    """A model and what was prepared for it.

    Attributes:
      shape_symmetries: (S, 4, 4) obj -> obj near-symmetries of the shape alone (colour ignored), identity first.
    """

    model: ObjectModel
    templates: Templates
    shape_symmetries: NDArray[np.float64]


def templates_file(model: ObjectModel, config: OnboardingConfig) -> Path:
    """Where the cached templates of a model are, or would be."""
    text = f"{VERSION}|{model.sha256}|{len(model.faces)}|{config.rotations}"
    return cache_folder(config) / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"


def onboard(model: ObjectModel, config: OnboardingConfig) -> Onboarded:
    """Templates and shape symmetries of a model; from the cache when it holds them. A cache that cannot be written is
    no error: the result is only computed again next time."""
    from storm_core.geometry.symmetry import shape_symmetries

    path = templates_file(model, config)
    kept = read_arrays(path)
    if kept.keys() >= {"shape_symmetries", *Templates.__dataclass_fields__}:
        fields = {name: kept[name] for name in Templates.__dataclass_fields__}
        return Onboarded(model, Templates(**fields), kept["shape_symmetries"])
    templates, symmetries = build_templates(model, config.rotations), shape_symmetries(model)
    arrays = {name: getattr(templates, name) for name in Templates.__dataclass_fields__}
    write_arrays(path, arrays | {"shape_symmetries": symmetries})
    return Onboarded(model, templates, symmetries)
