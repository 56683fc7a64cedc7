"""Do predictions belong to what is evaluated? Those that do not would be dropped without a word."""

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from storm_core.errors import DatasetError


class Prediction(Protocol):
    """A pose or mask of one object in one image."""

    @property
    def scene_id(self) -> int: ...
    @property
    def im_id(self) -> int: ...
    @property
    def obj_id(self) -> int: ...
    @property
    def score(self) -> float: ...


def require_finite_scores(source: Path, predictions: Sequence[Prediction]) -> None:
    """Raise DatasetError for the first score that is infinite or nan: it stands for nothing and cannot be written."""
    for p in predictions:
        if not np.isfinite(p.score):
            raise DatasetError(f"{source}: the score of object {p.obj_id} in scene {p.scene_id} image {p.im_id} is "
                               f"{p.score}; scores must be finite numbers")


def remark_on_others(source: Path, predictions: Sequence[Prediction], evaluated: Container[tuple[int, int, int]],
                     what: str) -> str:
    """How many predictions are not of an evaluated (scene_id, im_id, obj_id); empty when all are.

    Args:
      what: the evaluated ones in words.

    Raises:
      DatasetError: there are predictions, but none is. A file without any is a system that found nothing.
    """
    others = [p for p in predictions if (p.scene_id, p.im_id, p.obj_id) not in evaluated]
    if not others:
        return ""
    first = others[0]
    place = f"of object {first.obj_id} in scene {first.scene_id} image {first.im_id}"
    if len(others) == len(predictions):
        raise DatasetError(f"none of the {len(predictions)} predictions in {source} is of {what}; the first is {place}")
    return (f"only {len(predictions) - len(others)} of {len(predictions)} predictions in {source} are of {what}; the "
            f"first of the others is {place}")
