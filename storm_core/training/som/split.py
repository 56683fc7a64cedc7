"""Objects that train and objects that validate: none does both, no training picture shows one that validates."""

from collections.abc import Iterable, Sequence

import numpy as np

from storm_core.errors import ConfigError


def split_objects(keys: Iterable[str], share: float, seed: int) -> tuple[frozenset[str], frozenset[str]]:
    """(training, validation) objects; at least one validates when share > 0.

    Raises:
      ConfigError: too few objects for both.
    """
    ordered = sorted(set(keys))
    count = max(1, round(share * len(ordered))) if share > 0 else 0
    if len(ordered) - count < 1:
        raise ConfigError(f"{len(ordered)} object(s) cannot both train and validate; add data, or set data.val_objects "
                          "to 0")
    chosen = np.random.default_rng([seed, 77]).permutation(len(ordered))[:count]
    validation = frozenset(ordered[i] for i in chosen)
    return frozenset(ordered) - validation, validation


def pictures_for(shown: Sequence[frozenset[str]], present: Sequence[frozenset[str]], objects: frozenset[str],
                 banned: frozenset[str]) -> list[int]:
    """Indices of the pictures that show one of `objects` well and hold none of `banned`, however hidden.

    Args:
      shown, present: of every picture; see `Source`.

    Raises:
      ConfigError: none is left.
    """
    out = [k for k, (seen, all_of_it) in enumerate(zip(shown, present, strict=True))
           if seen & objects and not all_of_it & banned]
    if objects and not out:
        raise ConfigError(f"every picture of the {len(objects)} training objects also shows one of the {len(banned)} "
                          "validation objects; lower data.val_objects, add data, or set it to 0")
    return out
