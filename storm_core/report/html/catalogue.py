"""What every figure of results.json means: label, unit and one line of explanation, grouped for reading."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One figure. key: path in `objects.<name>`; kind: as in `markup.number`; unit: shown behind the label."""

    key: str
    label: str
    kind: str
    unit: str
    meaning: str


GROUPS: dict[str, tuple[Entry, ...]] = {
    "Accuracy": (
        Entry("add_auc", "ADD AUC", "ratio", "", "area under accuracy over threshold, 0 to 0.1 m; 1 is perfect, a "
              "missing pose counts 0"),
        Entry("adds_auc", "ADD-S AUC", "ratio", "", "the same with the distance to the nearest point, fair to "
              "symmetric objects"),
        Entry("add_auc_01d", "ADD AUC to 0.1 d", "ratio", "", "area up to a tenth of the object's diameter"),
        Entry("adds_auc_01d", "ADD-S AUC to 0.1 d", "ratio", "", "area up to a tenth of the object's diameter"),
        Entry("ar_storm", "STORM's AR", "ratio", "", "mean of the two areas up to 0.1 diameter; not BOP's AR"),
        Entry("add_or_adds_01d", "Right poses", "share", "", "ADD, for symmetric objects ADD-S, below 0.1 diameter"),
        Entry("mssd_01d", "MSSD below 0.1 d", "share", "", "fair to symmetric objects; a missing pose fails"),
        Entry("add_01d", "ADD below 0.1 d", "share", "", "share of frames or targets; a missing pose fails"),
        Entry("adds_01d", "ADD-S below 0.1 d", "share", "", "share of frames or targets; a missing pose fails"),
        Entry("mssd_mm.p50", "MSSD, median", "number", "mm", "largest surface error in the nearest symmetric pose"),
        Entry("mssd_mm.p90", "MSSD, 90th percentile", "number", "mm", "∞: more than a tenth have no pose"),
        Entry("mssd_mm.p99", "MSSD, 99th percentile", "number", "mm", "∞: more than a hundredth have no pose"),
        Entry("adds_mm.p50", "ADD-S, median", "number", "mm", "mean distance to the nearest surface point"),
        Entry("adds_mm.p90", "ADD-S, 90th percentile", "number", "mm", "∞: more than a tenth have no pose"),
        Entry("proj_px.p50", "Projected error, median", "number", "px", "mean distance of projected model points"),
        Entry("proj_px.p90", "Projected error, 90th percentile", "number", "px", "∞: more than a tenth have no pose"),
        Entry("proj_px.p99", "Projected error, 99th percentile", "number", "px", "∞: more than a hundredth have no "
              "pose"),
        Entry("bop19.ar", "BOP19 AR", "ratio", "", "mean of the three average recalls of the BOP challenge"),
        Entry("bop19.ar_vsd", "BOP19 AR, VSD", "ratio", "", "recall by visible surface discrepancy"),
        Entry("bop19.ar_mssd", "BOP19 AR, MSSD", "ratio", "", "recall by maximum symmetry-aware surface distance"),
        Entry("bop19.ar_mspd", "BOP19 AR, MSPD", "ratio", "", "recall by maximum symmetry-aware projection distance"),
        Entry("bop24.ap", "BOP24 AP", "ratio", "", "average precision of 6D detection, mean of MSSD and MSPD"),
        Entry("bop24.ap_mssd", "BOP24 AP, MSSD", "ratio", "", "average precision of 6D detection by MSSD"),
        Entry("bop24.ap_mspd", "BOP24 AP, MSPD", "ratio", "", "average precision of 6D detection by MSPD"),
        Entry("bop24.ap_mssd_mm", "BOP24 AP, MSSD in mm", "ratio", "", "with thresholds in millimetres"),
        Entry("ap_bop", "Mask AP", "ratio", "", "COCO average precision over IoU 0.50 to 0.95, as BOP takes it"),
        Entry("ap_storm", "STORM's mask AP", "ratio", "", "mean share of masks above IoU 0.50 to 0.95; a missing mask "
              "fails"),
        Entry("iou_mean", "Mask IoU, mean", "ratio", "", "overlap with the visible mask; 0 where nothing was found"),
    ),
    "Coverage and trust": (
        Entry("coverage", "Coverage", "share", "", "share of frames with the object in view that have a trusted pose"),
        Entry("confidently_wrong", "Confidently wrong", "share", "", "share of trusted poses off by more than 0.2 "
              "diameter, or of an object that is not there"),
        Entry("trusted_share", "Trusted frames", "share", "", "share of all frames with a trusted pose, object in view "
              "or not"),
        Entry("jumps", "Jumps", "count", "", "trusted poses that moved by more than 0.1 diameter against the truth "
              "within a frame"),
        Entry("flips.symmetric", "Flips between symmetric poses", "count", "", "turned by more than 30° within a "
              "frame, explained by a symmetry of the object"),
        Entry("flips.turned", "Flips to a wrong side", "count", "", "turned by more than 90° against the truth within "
              "a frame"),
        Entry("calibration.ece", "Calibration error", "ratio", "", "mean distance of the stated probability from the "
              "observed share of right poses (ECE)"),
        Entry("calibration.brier", "Brier score", "ratio", "", "mean squared distance of probability and outcome; 0 is "
              "perfect"),
        Entry("precision_recall.ap", "Precision over recall", "ratio", "", "area under the curve of accepting poses by "
              "probability"),
        Entry("nees.mean", "NEES, mean", "number", "", "squared error in units of the stated covariance; 6 is honest, "
              "more is overconfident"),
        Entry("nees.p50", "NEES, median", "number", "", "5.3 is honest"),
        Entry("nees.p95", "NEES, 95th percentile", "number", "", "12.6 is honest"),
        Entry("nees.coverage_95", "Inside the 95 % ellipsoid", "share", "", "share of truths inside the stated 95 % "
              "region; 95 % is honest"),
        Entry("nees.n", "Poses with a covariance", "count", "", "trusted, and judged for accuracy"),
        Entry("nees.improper", "Improper covariances", "count", "", "not positive definite"),
        Entry("calibration.n", "Poses with a probability", "count", "", "published, trusted or not, that can be "
              "judged"),
        Entry("frames_visible", "Frames with the object in view", "count", "", "at least 10 % of it visible"),
        Entry("frames_accurate", "Frames judged for accuracy", "count", "", "in view, and the truth good enough to "
              "measure against"),
        Entry("targets", "Targets", "count", "", "instances that had to be found"),
        Entry("predicted", "Answered targets", "count", "", "targets with an estimate; the others fail everywhere"),
        Entry("found", "Targets with a mask", "count", "", "targets that a mask overlaps"),
        Entry("false_accepts", "False accepts", "count", "", "pictures without the object in which it was found"),
        Entry("images", "Pictures with the object", "count", "", "annotated pictures"),
    ),
    "Loss and recovery": (
        Entry("first_pose_s", "First pose", "number", "s", "time to the first trusted pose"),
        Entry("first_pose_frame", "First trusted frame", "count", "", "counted from 0"),
        Entry("loss.events", "Losses", "count", "", "times the pose became wrong, or the object hidden, while tracked"),
        Entry("loss.detected", "Losses noticed", "count", "", "trust was withdrawn before the pose was right again"),
        Entry("loss.withdrawals", "Withdrawals of trust", "count", "", "those that can be judged"),
        Entry("loss.recall", "Share of losses noticed", "share", "", "share of losses after which trust was withdrawn"),
        Entry("loss.precision", "Withdrawals with a cause", "share", "", "share of withdrawals of trust that had a "
              "reason"),
        Entry("loss.latency_s_p50", "Time to notice, median", "number", "s", "from the loss to the end of trust"),
        Entry("loss.latency_s_p95", "Time to notice, 95th percentile", "number", "s", "from the loss to the end of "
              "trust"),
        Entry("loss.latency_frames_p50", "Frames to notice, median", "number", "", "from the loss to the end of trust"),
        Entry("loss.latency_frames_p95", "Frames to notice, 95th percentile", "number", "", "from the loss to the end "
              "of trust"),
        Entry("false_reregistrations", "Needless re-registrations", "count", "", "searched again although the pose was "
              "right"),
        Entry("recovery.recovered", "Returns found again", "count", "", "the object came back into view and a right "
              "pose was trusted"),
        Entry("recovery.missed", "Returns missed", "count", "", "came back into view and was not found before it "
              "vanished again"),
        Entry("recovery.wrong_object", "Returns found wrongly", "count", "", "the first trusted pose after the return "
              "was wrong"),
        Entry("recovery.trusted_while_hidden", "Trusted while hidden", "count", "", "frames with a trusted pose of an "
              "object that cannot be seen"),
        Entry("recovery.time_s_p50", "Time to recover, median", "number", "s", "from 30 % visible to a trusted pose"),
        Entry("recovery.time_s_p95", "Time to recover, 95th percentile", "number", "s", "from 30 % visible to a "
              "trusted pose"),
        Entry("registrations", "Registrations", "count", "", "poses found from scratch"),
        Entry("recoveries", "Re-registrations that were trusted", "count", "", "after the object had been trusted "
              "before"),
        Entry("losses", "Entries into LOST", "count", "", "as the system says itself"),
    ),
    "Self-consistency": (
        Entry("self_consistency.jump_p50_mm", "Jump, median", "number", "mm", "distance of a trusted pose from where "
              "the two before it lead; says nothing about accuracy"),
        Entry("self_consistency.jump_p95_mm", "Jump, 95th percentile", "number", "mm", "19 of 20 are smaller"),
        Entry("self_consistency.jump_max_mm", "Jump, largest", "number", "mm", "one step is enough"),
        Entry("self_consistency.rotation_jump_p50_deg", "Turn, median", "number", "°", "the same for the rotation"),
        Entry("self_consistency.rotation_jump_p95_deg", "Turn, 95th percentile", "number", "°", "19 of 20 are smaller"),
        Entry("self_consistency.rotation_jump_max_deg", "Turn, largest", "number", "°", "one step is enough"),
        Entry("self_consistency.steps", "Steps compared", "count", "", "frames whose two predecessors were trusted "
              "too"),
        Entry("self_consistency.trusted_share", "Trusted frames", "share", "", "share of all frames"),
        Entry("self_consistency.interruptions", "Interruptions", "count", "", "times trust ended before the last "
              "frame"),
        Entry("self_consistency.longest_gap_s", "Longest gap", "number", "s", "between two trusted frames"),
        Entry("self_consistency.reregistrations", "Re-registrations", "count", "", "searched again after the first "
              "trusted pose"),
    ),
    "Time": (
        Entry("latency.p50", "Latency, median", "number", "ms", "time to the answer for a frame"),
        Entry("latency.p95", "Latency, 95th percentile", "number", "ms", "19 of 20 frames are faster"),
        Entry("latency.p99", "Latency, 99th percentile", "number", "ms", "99 of 100 frames are faster"),
        Entry("latency.max", "Latency, largest", "number", "ms", "the slowest frame"),
        Entry("latency.clock", "What was measured", "number", "", "end_to_end: from the picture's stamp to its pose; "
              "total: processing time of a frame"),
        Entry("latency.n", "Frames measured", "count", "", ""),
        Entry("latency.drops", "Dropped frames", "count", "", "pictures that got no answer"),
        Entry("latency.period_ms", "Frame period", "number", "ms", "time from one picture to the next"),
        Entry("latency.deadline_misses", "Later than a frame", "share", "", "share of answers that took longer than "
              "the frame period"),
        Entry("latency.over_100ms", "Later than 100 ms", "share", "", "share of answers that took longer"),
        Entry("latency.too_old", "Published too old", "count", "", "trusted poses that came after the age limit"),
    ),
}

_KNOWN = {entry.key for entries in GROUPS.values() for entry in entries}
_PLAIN_LISTS = (list, tuple)


def value_at(figures: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted path; None where there is none."""
    value: Any = figures
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def has(figures: Mapping[str, Any], key: str) -> bool:
    """Whether the path exists and holds a single value (None counts: it could not be measured)."""
    head, _, last = key.rpartition(".")
    holder = value_at(figures, head) if head else figures
    return isinstance(holder, Mapping) and last in holder and not isinstance(holder[last], (Mapping, *_PLAIN_LISTS))


def further(figures: Mapping[str, Any], prefix: str = "") -> Iterator[Entry]:
    """Entries for numbers that no group explains yet, so that a new figure is never hidden."""
    for key, value in figures.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            if path != "ci95":
                yield from further(value, f"{path}.")
        elif path not in _KNOWN and not isinstance(value, _PLAIN_LISTS):
            yield Entry(path, path.replace("_", " ").replace(".", ", "), "number", "", "")


def interval(figures: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """The 95 % confidence interval of the figure at `key`, None when there is none."""
    known = figures.get("ci95") or {}
    for name in (key, key.replace(".", "_")):
        found = known.get(name) if name in known else value_at(known, name)
        if isinstance(found, _PLAIN_LISTS) and len(found) == 2 and None not in found:
            return float(found[0]), float(found[1])
    return None
