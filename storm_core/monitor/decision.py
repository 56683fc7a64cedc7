"""From what was measured to a verdict, over time; pure, so that recorded evidence can be judged again.

Occlusion, lost depth and a frozen stream are not failures of the pose and get verdicts of their own. What remains is a
sequential test: a running mean of the log-odds of "right", so that one bad frame (blur) does not end a track and three
of them do. A mean and no sum: a tracker's error stays for many frames, and the same doubt twice is no second doubt.
"""

import math
from dataclasses import dataclass

from storm_core.config import MonitorConfig
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.evidence.verifier import FEATURES
from storm_core.monitor.twin_watch import LIMIT
from storm_core.types import Evidence, Reason, Verdict

PRIOR_LOG_ODDS = 2.0
"""A pose tracked from a right pose is right far more often than a pose found anywhere in the picture."""

KEPT = 0.4
"""Share of the past in the mean."""

SURPRISE = 0.1
"""Unforeseen change of the pose [diameters] after which it is another pose: what was known of the old one is void."""

STRONGEST = 8.0
"""Log-odds that one frame has at most, for or against."""

NO_DEPTH = 0.7
"""Share without depth, of what nothing hides of the silhouette, from which a pose is judged by the picture alone."""

LEAST_MEASURED = 0.05
"""Share with depth below which depth cannot say what hides an object."""

KEPT_DEPTH = 0.9
"""Share of what depth said that still counts one frame later, while it cannot say it anew."""

LIMIT_PAIR = 6.0
"""Log-odds that the pair model has at most."""

HELD_VISIBLE = 0.15
"""Visible share above which a pose that still convinces is trusted although most of the object is hidden."""

USUAL_REGION, REGION_WEIGHT = 0.95, 3.3
"""What the tracker's colours say of the outline of a right pose, and log-odds that what lacks to it takes per unit;
fitted to the tracker's own errors on the validation split."""

FARTHEST = 50.0
"""Log-odds beyond which a probability is what it is [log-odds]: exp() has an end."""

TWIN_WEIGHT = 1.5
"""Log-odds that one log-odd of a twin's lead takes from a pose before the watch is certain."""

DOUBTS = {
    Reason.DEPTH_DISAGREES: ("explained", "behind", "fit", "seam", "support"),
    Reason.CONTOUR_DISAGREES: ("contour", "edge"),
    Reason.COLOR_DISAGREES: ("hue", "color"),
    Reason.CROP_DISAGREES: ("learned", "similarity"),
    Reason.OCCLUDED: ("occluded",),
}
"""Reason -> the terms that speak of it; every term has one."""

TERMS = (*FEATURES, "learned", "similarity", "twin", "region", "memory", "innovation")
"""What an ablation can leave out: the verifier's features, the learned network, the pair model, the watch over twins,
the outline by the tracker's colours, the past, its end at a surprise."""


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Log-odds of one frame = bias + geometric * verifier + learned * network, the network's held to +-limit.

    A logistic model over both parts, fitted to frames of the validation split.
    """

    bias: float
    geometric: float
    learned: float
    limit: float


GEOMETRIC = Fusion(bias=0.0, geometric=1.0, learned=0.0, limit=0.0)
"""Without the learned network."""

FUSED = Fusion(bias=0.0, geometric=0.5, learned=1.2, limit=6.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """What one frame says about one pose.

    Attributes:
      evidence: its `inside` is 0 when nothing of the pose is in the picture. blind: the picture shows no colours.
      frozen: the stream repeats itself.
    """

    evidence: Evidence
    blind: bool
    frozen: bool


@dataclass(frozen=True)
class Word:
    """probability: that the pose is within 0.1 diameter; nan = nothing can be said."""

    verdict: Verdict
    probability: float
    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Depth:
    """What depth says of a silhouette: shares of it, summed over frames that measured too little to tell.

    Attributes:
      measured: with depth. inlier, behind, occluded: of these, at the object, beyond it, before it.
    """

    measured: float = 0.0
    inlier: float = 0.0
    behind: float = 0.0
    occluded: float = 0.0

    def after(self, evidence: Evidence) -> "Depth":
        """With one frame more; one that measures enough counts alone."""
        measured = 1.0 - evidence.missing
        if not math.isfinite(measured):
            return self
        kept = 0.0 if measured > LEAST_MEASURED else KEPT_DEPTH
        return Depth(measured=kept * self.measured + measured, inlier=kept * self.inlier + evidence.inlier,
                     behind=kept * self.behind + evidence.behind, occluded=kept * self.occluded + evidence.occluded)

    @property
    def hidden(self) -> bool:
        """What is measured is mostly something in front. Missing depth says nothing: near things throw shadows
        without depth."""
        return (self.measured > LEAST_MEASURED and self.inlier < 0.35 * self.measured
                and self.behind < 0.1 * self.measured and self.occluded > 0.4 * self.measured)


class Decision:
    """The sequential test for one object."""

    def __init__(self, config: MonitorConfig, without: str = "") -> None:
        """without: one of TERMS that is left out, for an ablation; "" = none."""
        self._config = config
        self._without = without
        self._odds: float | None = None
        self._doubtful = 0
        self._depth = Depth()

    def reset(self) -> None:
        """A new registration has to stand on its own."""
        self._odds = None
        self._doubtful = 0
        self._depth = Depth()

    def renew(self, config: MonitorConfig) -> None:
        """Other settings from now on; what is remembered stays."""
        self._config = config

    def judge(self, measured: Measured) -> Word:
        evidence = measured.evidence
        if measured.frozen:
            return Word(Verdict.FROZEN_INPUT, float("nan"), Reason.FROZEN_INPUT)
        seen = evidence.inside if math.isfinite(evidence.inside) else 0.0
        if seen <= 0.0:
            return Word(Verdict.OCCLUDED, 0.0, Reason.OUT_OF_VIEW)
        if measured.blind and without_depth(evidence):  # a covered lens contradicts nothing, and confirms nothing
            return Word(Verdict.OCCLUDED, float("nan"), Reason.NO_DEPTH)
        terms = self.terms(measured)
        if evidence.innovation > SURPRISE and self._without != "innovation":
            self._odds = None
            self._depth = Depth()
        self._depth = self._depth.after(evidence)
        odds = self._averaged(sum(terms.values()))
        twin = 0.0 if self._without == "twin" or not math.isfinite(evidence.twin) else evidence.twin
        if twin >= LIMIT:
            odds = min(odds, -twin)
        self._odds = odds
        visible = seen * (1.0 - evidence.occluded)
        region = USUAL_REGION if self._without == "region" or not math.isfinite(evidence.region) else evidence.region
        blurred = REGION_WEIGHT * max(0.0, USUAL_REGION - region)
        probability = 1.0 / (1.0 + math.exp(min(TWIN_WEIGHT * twin + blurred - odds, FARTHEST)))
        self._doubtful = 0 if probability >= self._config.healthy else self._doubtful + 1
        healthy = self._doubtful < max(1, self._config.consecutive)
        if visible < self._config.min_visible:
            held = visible > HELD_VISIBLE and healthy
            return Word(Verdict.DEGRADED if held else Verdict.OCCLUDED, probability,
                        Reason.OUT_OF_VIEW if seen < self._config.min_visible else Reason.OCCLUDED)
        if twin >= LIMIT:
            return Word(Verdict.LOST, probability, Reason.AMBIGUOUS)
        if healthy and without_depth(evidence):
            return Word(Verdict.DEGRADED, probability, Reason.NO_DEPTH)
        if healthy and measured.blind:
            return Word(Verdict.DEGRADED, probability, Reason.NO_COLOR)
        if healthy:
            return Word(Verdict.HEALTHY, probability, Reason.CONFIRMED)
        doubt = min(DOUBTS, key=lambda reason: sum(terms.get(name, 0.0) for name in DOUBTS[reason]))
        return Word(Verdict.OCCLUDED if self._depth.hidden else Verdict.LOST, probability, doubt)

    def terms(self, measured: Measured) -> dict[str, float]:
        """Log-odds that each term adds in this frame; `bias` among them."""
        evidence = measured.evidence
        fusion = FUSED if math.isfinite(evidence.learned) and self._without != "learned" else GEOMETRIC
        parts = VERIFIER.terms(evidence)
        if without_depth(evidence):  # that nothing is measured is no evidence against a pose either
            parts["support"] = 0.0
        terms = {name: fusion.geometric * value for name, value in parts.items() if name != self._without}
        terms["bias"] = fusion.bias + fusion.geometric * VERIFIER.bias
        if fusion.learned:
            terms["learned"] = fusion.learned * _held(evidence.learned, fusion.limit)
        if math.isfinite(evidence.similarity) and self._without != "similarity":
            terms["similarity"] = self._config.pair_weight * _held(evidence.similarity, LIMIT_PAIR)
        return terms

    def _averaged(self, now: float) -> float:
        if self._odds is None or self._config.consecutive or self._without == "memory":
            return _held(now, STRONGEST)
        return (1.0 - KEPT) * _held(now + PRIOR_LOG_ODDS, STRONGEST) + KEPT * self._odds


def _held(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)


def without_depth(evidence: Evidence) -> bool:
    """The pose can be judged by the picture alone."""
    return evidence.missing > NO_DEPTH * (1.0 - evidence.occluded)
