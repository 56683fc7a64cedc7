"""Where training batches come from. Batch number n is the same whenever and in whichever process it is made."""

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np

from storm_core.score_model.clouds import ScenePoints
from storm_core.training.score_batches import Batch, batch_of, seen_view
from storm_core.training.score_config import ScoreTraining
from storm_core.training.score_scenes import SPLITS, View, random_view

FIRST_VALIDATION = 10**9
"""Batch numbers from here on are made of validation objects or images."""

VALIDATION_OBJECTS = 400


class Source(Protocol):
    """Anything that makes numbered batches; picklable, so that other processes can make them."""

    validation: int
    """Views that validate; 0: there are none."""

    def batch(self, number: int) -> Batch: ...


@dataclass(frozen=True)
class Synthetic:
    """Views of procedural objects, made when asked for; the first `data.views` of them come again with new noise."""

    config: ScoreTraining

    @property
    def validation(self) -> int:
        return self.config.data.validation

    def batch(self, number: int) -> Batch:
        c = self.config
        rng = np.random.default_rng([c.training.seed, number])
        wanted = c.training.views
        if number >= FIRST_VALIDATION:
            views = [kept_view(c, "val", (number - FIRST_VALIDATION) * wanted + k) for k in range(wanted)]
        elif c.data.views:
            views = [kept_view(c, "train", int(k)) for k in rng.integers(c.data.views, size=wanted)]
        else:
            views = [new_view(c, "train", rng) for _ in range(wanted)]
        return batch_of(views, c.training.draws, c.model.network, c.model.schedule, rng)


def new_view(config: ScoreTraining, split: str, rng: np.random.Generator) -> tuple[View, ScenePoints]:
    """A view of an object of the split in whose mask enough was measured."""
    objects = config.data.objects if split == "train" else VALIDATION_OBJECTS
    while True:
        seen = seen_view(random_view(split, objects, rng, config.data.mask_noise), config.model.network, rng)
        if seen is not None:
            return seen


@cache
def kept_view(config: ScoreTraining, split: str, number: int) -> tuple[View, ScenePoints]:
    """View `number` of a split: the same whenever it is made; made once per process."""
    seed = [config.training.seed, FIRST_VALIDATION, SPLITS.index(split), number]
    return new_view(config, split, np.random.default_rng(seed))


def source_of(config: ScoreTraining) -> Source:
    """The source that config.data names."""
    if config.data.source == "bop":
        from storm_core.training.score_bop import BopSource

        return BopSource(config)
    return Synthetic(config)
