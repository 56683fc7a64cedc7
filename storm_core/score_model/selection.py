"""Which particle is the answer: rules that look at scores, latents, the image, or (to know the best case) the truth."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from storm_core.errors import InputError

RULES = ("random", "score", "latent", "fitness", "explained", "learned", "combined", "oracle")

NEEDS = {"score": "score_norms", "latent": "latent_distances", "fitness": "fitness", "explained": "explained",
         "learned": "expected_errors",
         "combined": "expected_errors", "oracle": "true_errors"}
"""The entry of a record that each rule looks at."""

FITNESS_WEIGHT = 0.5
"""Combined rule: difference in fitness that outweighs a factor e of expected error is 1 over this."""


def possible(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The rules that a record holds the numbers for."""
    return tuple(rule for rule in RULES if rule not in NEEDS or record.get(NEEDS[rule]) is not None)


def select(record: Mapping[str, Any], rule: str) -> int:
    """Index of the chosen particle.

    random: the first, particles being drawn alike. score: least sum of |score x width| over all steps. latent: least
    mean distance of scene and object latent. fitness: best agreement with the depth image. explained: and with the
    mask. learned: least expected error. combined: expected error and fitness together. oracle: least true error.

    Raises:
      InputError: the record does not hold what the rule needs.
    """
    if rule not in RULES:
        raise InputError(f"unknown selection {rule!r}; known: {', '.join(RULES)}")
    if rule == "random":
        return 0
    values = record.get(NEEDS[rule])
    if values is None:
        raise InputError(f"selection by {rule} needs {NEEDS[rule]!r}, which this record of {record.get('image', '?')} "
                         "does not hold; " + ("the dataset needs ground truth" if rule == "oracle" else
                                              "start from a mask" if rule == "explained" else
                                              "refine with score_model.method: network"))
    values = np.asarray(values)
    if rule in ("fitness", "explained"):
        return int(values.argmax())
    if rule == "combined":
        return int((np.asarray(record["fitness"]) - FITNESS_WEIGHT * np.log(values)).argmax())
    return int(values.argmin())
