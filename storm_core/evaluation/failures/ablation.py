"""What every term of the monitor is worth: the same measurements judged with each of them left out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from storm_core.config import MonitorConfig
from storm_core.evaluation.failures.figures import Watched, figures, labels_of
from storm_core.evaluation.failures.monitors import storm
from storm_core.monitor.decision import TERMS, Decision, Word
from storm_core.monitor.monitor import EvidenceMonitor
from storm_core.types import Frame, Judgement, Reason, Track, Verdict

Rows = dict[str, dict[str, list[Any]]]
"""Term -> probability, verdict and reason of every frame of a play, judged without it."""

SHOWN = ("auroc", "auroc_clear", "fpr_at_tpr99", "detected_5", "missed", "false_alarms_per_10k", "coverage", "ece")

ABSENT = Word(Verdict.LOST, float("nan"), Reason.NOT_IN_VIEW)
"""Of frames without a pose."""


class Ablation:
    """A Monitor that answers as the wrapped one does and notes what it would say without each of its terms.

    Leaving out means the weight 0; the other weights and thresholds stay, nothing is fitted again.
    """

    def __init__(self, monitor: EvidenceMonitor, config: MonitorConfig) -> None:
        self._monitor = monitor
        self._decisions = {term: Decision(config, term) for term in TERMS}
        self._said: dict[str, list[Word]] = {term: [] for term in TERMS}

    def reset(self, object_name: str) -> None:
        self._monitor.reset(object_name)
        for decision in self._decisions.values():
            decision.reset()

    def judge(self, frame: Frame, track: Track) -> Judgement:
        measured = self._monitor.measure(frame, track)
        for term, decision in self._decisions.items():
            self._said[term].append(decision.judge(measured))
        return self._monitor.decide(track, measured)

    def skip(self) -> None:
        """A frame without a pose."""
        for words in self._said.values():
            words.append(ABSENT)

    def take(self) -> Rows:
        """What was noted since the last time."""
        rows = {term: {"probability": [w.probability for w in words], "verdict": [w.verdict.value for w in words],
                       "reason": [w.reason.value for w in words]} for term, words in self._said.items()}
        self._said = {term: [] for term in TERMS}
        return rows


def ablation_figures(plays: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """`all` and every term -> SHOWN figures with all terms, and without that one."""
    whole = [Watched(scene=p["scene"], cause=p["cause"], labels=labels_of(p), word=storm(p)) for p in plays]
    out = {"all": whole}
    for term in TERMS:
        out[term] = [replace(item, word=storm({**p, **p["without"][term]}))
                     for item, p in zip(whole, plays, strict=True)]
    return {name: {key: value for key, value in figures(items).items() if key in SHOWN}
            for name, items in out.items()}
