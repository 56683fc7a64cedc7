"""Everything that one run leaves behind: numbers, predictions, trajectories, pictures, report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from storm_core import __version__
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
from storm_core.report.evaluate import Assessment, assess
from storm_core.report.frame_table import write_frame_table
from storm_core.report.html import html_report
from storm_core.report.jsonl import write_jsonl
from storm_core.report.overlay import OverlayPainter, contact_sheet
from storm_core.report.results import Results, results_head, stage_times, to_json
from storm_core.report.series import object_items
from storm_core.report.suspicion import input_suspicions
from storm_core.report.tum import write_tum
from storm_core.report.video import VideoWriter, key_frames
from storm_core.types import StepOutput

KEY_FRAMES = 9
Image = NDArray[np.uint8]


def load_run_truth(recording: Recording, config: StormConfig, models: Mapping[str, ObjectModel],
                   options: TruthOptions = TruthOptions()) -> Truth | None:
    """The ground truth of the run's objects, None when the recording has none. Call after predicting."""
    return load_truth(recording, object_ids(Path(config.models), models), tuple(models), options)


def run_results(command: str, config: StormConfig, models: Mapping[str, ObjectModel], recording: Recording,
                outputs: Sequence[StepOutput], truth: Truth | None, extra: Mapping[str, Any] | None = None,
                lead_in_s: float = 0.0) -> tuple[Results, dict[str, Assessment]]:
    """The content of results.json, and what it was computed from.

    Args:
      extra: further top-level keys; its `stages_ms` are added to the measured ones.
      lead_in_s: time the system already had before the first frame (a camera that was running before), which counts
        as time to the first pose.
    """
    extra = extra or {}
    camera = next(iter(recording.frames())).camera
    assessed = assess(outputs, _cut(truth, len(outputs)), models, seed=config.seed, camera=camera)
    results = results_head(command, __version__, path=recording.path, sha256=recording.sha256, frames=len(outputs),
                           seed=config.seed)
    results["truth"] = None if truth is None else truth.source
    results["objects"] = {name: a.figures for name, a in assessed.items()}
    for figures in results["objects"].values():
        if figures["first_pose_s"] is not None:
            figures["first_pose_s"] += lead_in_s
    results["recovery"] = _all_recoveries(results["objects"])
    results["stages_ms"] = stage_times([o.stage_ms for o in outputs])
    results["latency"] = _latency(outputs, assessed, extra.get("ros", {}))
    results["bootstrap"] = {"method": "circular blocks of frames, as long as the square root of their number",
                            "level": LEVEL, "resamples": RESAMPLES, "seed": config.seed}
    results["suspicion"] = [*input_suspicions(recording, outputs), *(f for a in assessed.values() for f in a.suspicion)]
    for key, value in extra.items():
        results[key] = {**results[key], **value} if key in results else value
    return results, assessed


def write_run(folder: Path, *, command: str, config: StormConfig, models: Mapping[str, ObjectModel],
              recording: Recording, outputs: Sequence[StepOutput], truth: Truth | None,
              extra: Mapping[str, Any] | None = None, lead_in_s: float = 0.0, video: bool = True,
              rate_hz: float = 30.0) -> Results:
    """Write all files of one run into an existing folder.

    results.json, errors.csv, predictions.jsonl, <object>.tum, poses.csv (BOP), config.yaml, report.html and, with
    `video`, overlay.mp4, overlay.gif and overlay.png (key frames).
    """
    results, assessed = run_results(command, config, models, recording, outputs, truth, extra, lead_in_s)
    ids = recording.ids[:len(outputs)]
    (folder / "results.json").write_text(to_json(results))
    (folder / "config.yaml").write_text(to_yaml(config))
    write_frame_table(folder / "errors.csv", ids, outputs, assessed, models)
    write_jsonl(folder / "predictions.jsonl", ids, outputs)
    write_csv(folder / "poses.csv", pose_estimates(ids, outputs, object_ids(Path(config.models), models)))
    for name in models:
        write_tum(folder / f"{name}.tum", object_items(outputs, name))
    pictures = _paint(folder, models, recording, outputs, rate_hz) if video else []
    errors = {name: a.errors for name, a in assessed.items() if a.errors is not None}
    (folder / "report.html").write_text(html_report(results, outputs, errors, pictures))
    return results


def pose_estimates(ids: Sequence[tuple[int, int]], outputs: Sequence[StepOutput],
                   obj_ids: Mapping[str, int]) -> list[PoseEstimate]:
    """Trusted poses as BOP estimates; objects without a BOP id are numbered after the largest id."""
    numbers = dict(obj_ids)
    out: list[PoseEstimate] = []
    for (scene_id, im_id), output in zip(ids, outputs, strict=True):
        for item in output.objects:
            number = numbers.setdefault(item.object_name, max(numbers.values(), default=0) + 1)
            if item.trusted and item.cam_from_obj is not None:
                out.append(PoseEstimate(scene_id=scene_id, im_id=im_id, obj_id=number, score=item.probability,
                                        cam_from_obj=item.cam_from_obj,
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


def _paint(folder: Path, models: Mapping[str, ObjectModel], recording: Recording, outputs: Sequence[StepOutput],
           rate_hz: float) -> list[tuple[str, Image]]:
    """The video files; returns the captioned key frames."""
    painter = OverlayPainter(models)
    changed = [bool(o.transitions) for o in outputs]
    chosen = set(key_frames(changed, KEY_FRAMES))
    pictures: list[tuple[str, Image]] = []
    mp4, gif = folder / "overlay.mp4", folder / "overlay.gif"
    with (VideoWriter(mp4, rate_hz=rate_hz, gif=gif, frames=len(outputs)) as video,
          tqdm(total=len(outputs), unit="frame", disable=None, desc="video") as bar):
        for k, (frame, output) in enumerate(zip(recording.frames(), outputs, strict=False)):
            scene_id, im_id = recording.ids[k]
            caption = f"frame {k}" + (f", scene {scene_id} image {im_id}" if scene_id else "")
            image = painter.paint(frame.rgb, frame.camera, output.objects, caption)
            video.add(image)
            if k in chosen:
                pictures.append((caption, image))
            bar.update()
    sheet = contact_sheet([image for _, image in pictures])
    cv2.imwrite(str(folder / "overlay.png"), np.ascontiguousarray(sheet[..., ::-1]))
    return pictures
