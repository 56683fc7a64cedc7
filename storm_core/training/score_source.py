"""Where training batches come from. Batch number n is the same whenever and in whichever process it is made."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from storm_core.training.score_batches import Batch, batch_of, seen_view
from storm_core.training.score_config import ScoreTraining
from storm_core.training.score_scenes import random_view

FIRST_VALIDATION = 10**9
"""Batch numbers from here on are made of validation objects or images."""

VALIDATION_OBJECTS = 400


class Source(Protocol):
    """Anything that makes numbered batches; picklable, so that other processes can make them."""

    validation: int
    """Views that validate."""

    def batch(self, number: int) -> Batch: ...


@dataclass(frozen=True)
class Synthetic:
    """Views of procedural objects, made when asked for."""

    config: ScoreTraining

    @property
    def validation(self) -> int:
        return self.config.data.validation

    def batch(self, number: int) -> Batch:
        c = self.config
        rng = np.random.default_rng([c.training.seed, number])
        held_out = number >= FIRST_VALIDATION
        split, objects = ("val", VALIDATION_OBJECTS) if held_out else ("train", c.data.objects)
        views = []
        while len(views) < c.training.views:
            view = seen_view(random_view(split, objects, rng, c.data.mask_noise), c.model.network, rng)
            if view is not None:
                views.append(view)
        return batch_of(views, c.training.draws, c.model.network, c.model.schedule, rng)


def source_of(config: ScoreTraining) -> Source:
    """The source that config.data names."""
    if config.data.source == "bop":
        from storm_core.training.score_bop import BopSource

        return BopSource(config)
    return Synthetic(config)
