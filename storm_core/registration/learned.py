"""What the learned networks add to a registration: poses that geometry missed, and a vote on the last ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storm_core.config import RefinerConfig
from storm_core.geometry.mesh import ObjectModel
from storm_core.render_compare.choice import Proposals, open_scorer
from storm_core.render_compare.refiner import Hypotheses, PairScorer
from storm_core.types import Frame

LARGEST_VOTE = 3.0
"""Log-odds that the scorer can say at most between two poses: it has seen no real pictures."""


@dataclass(frozen=True, eq=False)
class LearnedHelp:
    """Attributes:
    proposals: moves hypotheses, None = nobody does. scorer: votes, None = nobody does. hypotheses: how many are moved.
    """

    proposals: Proposals | None
    scorer: PairScorer | None
    hypotheses: int

    def proposed(self, frame: Frame, model: ObjectModel, cam_from_objs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Moved copies (M, 4, 4) of poses (N, 4, 4), M <= N; none when nobody moves them."""
        if self.proposals is None or len(cam_from_objs) == 0:
            return np.zeros((0, 4, 4))
        return self.proposals(frame, model, cam_from_objs[: self.hypotheses])

    def votes(self, frame: Frame, model: ObjectModel, cam_from_objs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds (N,), 0 for the best of the poses (N, 4, 4) and less for the others; 0 when nobody votes.

        The scorer is trained with a logistic loss on pairs, so that differences of its scores are log-odds.
        """
        if self.scorer is None or len(cam_from_objs) < 2:
            return np.zeros(len(cam_from_objs))
        score = self.scorer.score(frame, Hypotheses(model, cam_from_objs)).astype(float)
        return np.maximum(score - score.max(), -LARGEST_VOTE)


def learned_help(config: RefinerConfig) -> LearnedHelp | None:
    """The help that the configuration asks for; None when it asks for none."""
    if not config.registration and not config.scoring:
        return None
    return LearnedHelp(Proposals(config) if config.registration else None,
                       open_scorer(config) if config.scoring else None, config.hypotheses)
