"""TOM, default backend: judges a tracked pose by render-and-compare evidence, over time.

Occlusion, lost depth and a frozen stream are not failures of the pose and get verdicts of their own. What remains is a
sequential test: the log-odds of "right" are accumulated with a forgetting factor, so that one bad frame (blur) does not
end a track and three of them do.
"""

from dataclasses import replace

import numpy as np

from storm_core.config import MonitorConfig
from storm_core.evidence.compare import compare, to_evidence
from storm_core.evidence.features import bare_features
from storm_core.evidence.verifier import DEFAULT as VERIFIER
from storm_core.geometry.mesh import ObjectModel
from storm_core.monitor.freeze import FreezeDetector
from storm_core.monitor.twin_watch import LIMIT, TwinWatch
from storm_core.tracking.modalities import colorless
from storm_core.types import Evidence, Frame, Judgement, Reason, Track, Verdict

PRIOR_LOG_ODDS = 1.0
"""A pose tracked from a right pose is right far more often than a pose found anywhere in the picture."""

FORGET = 0.5
"""Share of the previous frames' log-odds that is kept."""

NO_DEPTH = 0.7
"""Share without depth, of what nothing hides of the silhouette, from which a pose is judged by the picture alone."""

MUCH_HIDDEN = 0.5
"""Share hidden from which what is left may be the same on every side."""

HELD_VISIBLE = 0.15
"""Visible share above which a pose that still convinces is trusted although most of the object is hidden."""

HIDDEN_DOUBT = 0.2
"""Probability that a pose is wrong, however well what is seen fits, per share of the object that is not seen."""

TWIN_WEIGHT = 4.0
"""Log-odds that one log-odd of a twin's lead takes from a pose before the watch is certain."""

DOUBTS = {
    Reason.DEPTH_DISAGREES: ("explained", "behind", "fit", "seam", "support"),
    Reason.CONTOUR_DISAGREES: ("contour", "edge"),
    Reason.COLOR_DISAGREES: ("hue", "color"),
    Reason.OCCLUDED: ("occluded",),
    Reason.NO_DEPTH: ("missing",),
}
"""Reason -> the verifier's features that speak of it; every feature has one."""


class EvidenceMonitor:
    """The default Monitor. Keeps the accumulated log-odds of each object, and a watch over its twins."""

    def __init__(self, models: dict[str, ObjectModel], config: MonitorConfig) -> None:
        self._models = models
        self._config = config
        self._odds: dict[str, float] = {}
        self._twins = {name: TwinWatch(model) for name, model in models.items()}
        self._freeze = FreezeDetector(config.freeze_frames)

    def reset(self, object_name: str) -> None:
        self._odds.pop(object_name, None)
        if object_name in self._twins:
            self._twins[object_name].reset()

    def renew(self, models: dict[str, ObjectModel], config: MonitorConfig) -> None:
        """Other models or settings from now on; the history of objects that are still the same goes on."""
        same = {name for name, model in models.items()
                if name in self._models and self._models[name].sha256 == model.sha256}
        self._twins = {name: self._twins[name] if name in same else TwinWatch(model) for name, model in models.items()}
        self._odds = {name: odds for name, odds in self._odds.items() if name in same}
        self._models, self._config = models, config

    def judge(self, frame: Frame, track: Track) -> Judgement:
        model = self._models[track.object_name]
        center = track.cam_from_obj[:3, :3] @ model.center + track.cam_from_obj[:3, 3]
        if center[2] <= 0.02:
            return self._judgement(track, Verdict.LOST, 0.0, Reason.OUT_OF_VIEW, Evidence(inside=0.0))
        table = compare(bare_features(frame), model, track.cam_from_obj[None], side=64)
        evidence = to_evidence(table[0], track.innovation)
        if self._freeze.frozen(frame):
            return self._judgement(track, Verdict.FROZEN_INPUT, float("nan"), Reason.FROZEN_INPUT, evidence)
        seen = evidence.inside if np.isfinite(evidence.inside) else 0.0
        if seen < self._config.min_visible:
            return self._judgement(track, Verdict.OCCLUDED, 0.0, Reason.OUT_OF_VIEW, evidence)
        blind = colorless(frame, center, model.diameter)
        if blind:  # a black or overexposed picture is no evidence against a pose
            evidence = replace(evidence, edge=float("nan"), color=float("nan"), hue=float("nan"))
        depthless = evidence.missing > NO_DEPTH * (1.0 - evidence.occluded)
        now = VERIFIER.log_odds(evidence)
        if depthless:  # that nothing is measured is no evidence against a pose either; what the picture shows may be
            terms = VERIFIER.terms(evidence)
            now -= terms["missing"] + terms["support"]
        before = self._odds.get(track.object_name)
        if before is None:  # a new registration has to stand on its own
            odds = float(np.clip(now, -8.0, 8.0))
        else:
            odds = float(np.clip(now + PRIOR_LOG_ODDS, -8.0, 8.0) + FORGET * before)
        twin = 0.0
        if not blind and not depthless and evidence.occluded < MUCH_HIDDEN:
            twin = self._twins[track.object_name].doubt(bare_features(frame), track.cam_from_obj)
            if twin >= LIMIT:
                odds = min(odds, -twin)
        self._odds[track.object_name] = odds
        visible = seen * (1.0 - evidence.occluded)
        probability = float((1.0 - HIDDEN_DOUBT * (1.0 - visible)) / (1 + np.exp(TWIN_WEIGHT * twin - odds)))
        if visible < self._config.min_visible:
            held = visible > HELD_VISIBLE and probability >= self._config.healthy
            verdict = Verdict.DEGRADED if held else Verdict.OCCLUDED
            return self._judgement(track, verdict, probability, Reason.OCCLUDED, evidence)
        if twin >= LIMIT:
            return self._judgement(track, Verdict.LOST, probability, Reason.AMBIGUOUS, evidence)
        if depthless and probability >= self._config.healthy:
            return self._judgement(track, Verdict.DEGRADED, probability, Reason.NO_DEPTH, evidence)
        if blind and probability >= self._config.healthy:
            return self._judgement(track, Verdict.DEGRADED, probability, Reason.NO_COLOR, evidence)
        if probability >= self._config.healthy:
            return self._judgement(track, Verdict.HEALTHY, probability, Reason.CONFIRMED, evidence)
        verdict = Verdict.LOST
        if evidence.inlier < 0.35 and evidence.behind < 0.1 and evidence.occluded > 0.4:
            verdict = Verdict.OCCLUDED
        return self._judgement(track, verdict, probability, _strongest_doubt(evidence), evidence)

    def _judgement(
        self, track: Track, verdict: Verdict, probability: float, reason: Reason, evidence: Evidence
    ) -> Judgement:
        return Judgement(
            object_name=track.object_name,
            stamp_ns=track.stamp_ns,
            verdict=verdict,
            probability=probability,
            reason=reason,
            evidence=evidence,
        )


def _strongest_doubt(evidence: Evidence) -> Reason:
    """The reason that took the most log-odds away."""
    terms = VERIFIER.terms(evidence)
    return min(DOUBTS, key=lambda reason: sum(terms[name] for name in DOUBTS[reason]))
