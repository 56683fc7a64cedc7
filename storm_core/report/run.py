"""Everything that one run leaves behind: numbers, predictions, trajectories, pictures, report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core import __version__
from storm_core.bags.output_bag import write_output_bag
from storm_core.bags.recording import Recording
from storm_core.bags.truth import Truth, TruthOptions, load_truth
from storm_core.bop.dataset import object_ids
from storm_core.bop.results import PoseEstimate, write_csv
from storm_core.config import StormConfig
from storm_core.config_io import to_yaml
from storm_core.geometry.mesh import ObjectModel
from storm_core.metrics.bootstrap import LEVEL, RESAMPLES
from storm_core.metrics.latency import latency_figures
from storm_core.metrics.scores import quantiles
from storm_core.report.consistency import consistency_figures
from storm_core.report.evaluate import Assessment, assess
from storm_core.report.file_names import file_stems
from storm_core.report.frame_table import write_frame_table
from storm_core.report.html import html_report
from storm_core.report.jsonl import PREDICTIONS, TIMING, object_names, write_jsonl, write_timing
from storm_core.report.pictures import run_pictures
from storm_core.report.played import played
from storm_core.report.provenance import provenance
from storm_core.report.results import Results, results_head, stage_times, to_json
from storm_core.report.series import object_items
from storm_core.report.suspicion import input_suspicions
from storm_core.report.tum import write_truth_tum, write_tum
from storm_core.types import StepOutput

OUTPUT_BAG = "output"
"""Folder of the rosbag2 among the results."""


def load_run_truth(recording: Recording, config: StormConfig, models: Mapping[str, ObjectModel],
                   options: TruthOptions | None = None) -> Truth | None:
    """The ground truth of the run's objects, None when the recording has none. Call after predicting."""
    return load_truth(recording, object_ids(Path(config.models), models), tuple(models), options or TruthOptions())


def run_results(command: str, config: StormConfig, models: Mapping[str, ObjectModel], recording: Recording,
                outputs: Sequence[StepOutput], truth: Truth | None, extra: Mapping[str, Any] | None = None,
                lead_in_s: float = 0.0, world_from_cam: NDArray[np.float64] | None = None,
                ) -> tuple[Results, dict[str, Assessment]]:
    """The content of results.json, and what it was computed from.

    Args:
      extra: further top-level keys; its `stages_ms` are added to the measured ones.
      lead_in_s: time the system already had before the first frame (a camera that was running before), which counts
        as time to the first pose.
      world_from_cam: (N, 4, 4) of every frame in a world in which the objects stand still, nan where unknown.
    """
    extra = extra or {}
    camera = next(iter(recording.frames())).camera
    assessed = assess(outputs, _cut(truth, len(outputs)), models, seed=config.seed, camera=camera)
    results = results_head(command, __version__, path=recording.path, sha256=recording.sha256, frames=len(outputs),
                           seed=config.seed)
    results["input"]["played"] = played(recording, len(outputs))
    results["provenance"] = provenance(models, to_yaml(config))
    results["truth"] = None if truth is None else truth.source
    results["objects"] = {name: a.figures for name, a in assessed.items()}
    for name, a in assessed.items():
        a.figures["self_consistency"] = consistency_figures(
            a.series, models[name], None if world_from_cam is None else world_from_cam[:len(outputs)])
    for figures in results["objects"].values():
        if figures["first_pose_s"] is not None:
            figures["first_pose_s"] += lead_in_s
    results["recovery"] = _all_recoveries(results["objects"])
    results["stages_ms"] = stage_times([o.stage_ms for o in outputs])
    results["latency"] = _latency(outputs, assessed, extra.get("ros") or extra.get("realtime", {}))
    results["bootstrap"] = {"method": "circular blocks of frames, as long as the square root of their number",
                            "level": LEVEL, "resamples": RESAMPLES, "seed": config.seed}
    results["suspicion"] = [*input_suspicions(recording, outputs), *(f for a in assessed.values() for f in a.suspicion)]
    for key, value in extra.items():
        results[key] = {**results[key], **value} if key in results else value
    return results, assessed


def write_run(folder: Path, *, command: str, config: StormConfig, models: Mapping[str, ObjectModel],
              recording: Recording, outputs: Sequence[StepOutput], truth: Truth | None,
              extra: Mapping[str, Any] | None = None, lead_in_s: float = 0.0, video: bool = True,
              rate_hz: float = 30.0, world_from_cam: NDArray[np.float64] | None = None) -> Results:
    """Write all files of one run into an existing folder.

    results.json, errors.csv, predictions.jsonl, timing.jsonl, <object>.tum, <object>_gt.tum, poses.csv (BOP), output/
    (rosbag2), config.yaml, report.html and, with `video`, overlay.mp4, overlay.gif and overlay.png (key frames).
    The same outputs give the same bytes of predictions, trajectories, poses and bag.
    """
    results, assessed = run_results(command, config, models, recording, outputs, truth, extra, lead_in_s,
                                    world_from_cam)
    ids = recording.ids[:len(outputs)]
    (folder / "results.json").write_text(to_json(results))
    (folder / "config.yaml").write_text(to_yaml(config))
    write_frame_table(folder / "errors.csv", ids, outputs, assessed, models)
    write_jsonl(folder / PREDICTIONS, ids, outputs, times=False)
    write_timing(folder / TIMING, ids, outputs)
    estimates = pose_estimates(ids, outputs, object_ids(Path(config.models), models))
    write_csv(folder / "poses.csv", [replace(e, time_s=-1.0) for e in estimates])
    known = _cut(truth, len(outputs))
    for name, stem in file_stems(models).items():
        items = object_items(outputs, name)
        write_tum(folder / f"{stem}.tum", items)
        if known is not None and name in known.frames:
            write_truth_tum(folder / f"{stem}_gt.tum", items, known.frames[name])
    write_output_bag(folder / OUTPUT_BAG, outputs, models, frame_id=next(iter(recording.frames())).frame_id,
                     primary=config.primary)
    errors = {name: a.errors for name, a in assessed.items() if a.errors is not None}
    pictures = run_pictures(folder, models, recording, outputs, errors, truth, video=video, rate_hz=rate_hz)
    (folder / "report.html").write_text(html_report(results, outputs, errors, pictures, to_yaml(config)))
    return results


def numbered(obj_ids: Mapping[str, int], names: Iterable[str]) -> dict[str, int]:
    """A number for every name: its BOP id; objects without one are numbered after the largest id, in their order."""
    numbers = dict(obj_ids)
    for name in names:
        numbers.setdefault(name, max(numbers.values(), default=0) + 1)
    return numbers


def pose_estimates(ids: Sequence[tuple[int, int]], outputs: Sequence[StepOutput],
                   obj_ids: Mapping[str, int]) -> list[PoseEstimate]:
    """Trusted poses as BOP estimates, numbered as by `numbered`.

    The score is the probability, -1 where the system gave none.
    """
    numbers = numbered(obj_ids, object_names(outputs))
    out: list[PoseEstimate] = []
    for (scene_id, im_id), output in zip(ids, outputs, strict=True):
        for item in output.objects:
            if item.trusted and item.cam_from_obj is not None:
                score = -1.0 if np.isnan(item.probability) else item.probability
                out.append(PoseEstimate(scene_id=scene_id, im_id=im_id, obj_id=numbers[item.object_name],
                                        score=score, cam_from_obj=item.cam_from_obj,
                                        time_s=output.stage_ms.get("total", -1e3) * 1e-3))
    return out


def _cut(truth: Truth | None, frames: int) -> Truth | None:
    """The truth of the first frames: a run may have stopped early."""
    if truth is None:
        return None
    return Truth(frames={name: list(known)[:frames] for name, known in truth.frames.items()}, source=truth.source)


def _latency(outputs: Sequence[StepOutput], assessed: Mapping[str, Assessment],
             ros: Mapping[str, Any]) -> dict[str, Any]:
    """`latency` of results.json; `too_old`: poses published after the age limit, None where nothing counts them."""
    answered = np.array([bool(o.objects) for o in outputs], bool)
    for a in assessed.values():
        answered &= a.series.answered
    figures = latency_figures([o.stage_ms for o in outputs], [o.stamp_ns for o in outputs], answered,
                              period_ms=1e3 / ros["rate_hz"] if "rate_hz" in ros else None)
    return figures | {"too_old": ros.get("published_too_old")}


def _all_recoveries(objects: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of all objects' recoveries, and the quantiles over all their events."""
    parts = [figures["recovery"] for figures in objects.values() if "recovery" in figures]
    times = [e["time_s"] for part in parts for e in part["events"] if e["trusted_at"] is not None]
    sums = {key: sum(part[key] for part in parts)
            for key in ("recovered", "missed", "wrong_object", "trusted_while_hidden")}
    return {**sums, **{f"time_s_{k}": v for k, v in quantiles(times, p50=0.5, p95=0.95).items()}}
