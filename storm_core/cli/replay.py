"""`storm replay`: run a recording through the pipeline (or the real nodes), then evaluate and show what happened."""

import argparse
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.cli.arguments import add_json, add_models, add_seed, config_from, require_models
from storm_core.errors import ConfigError, SetupError

if TYPE_CHECKING:
    from storm_core.bags.recording import Recording
    from storm_core.config import StormConfig
    from storm_core.geometry.mesh import ObjectModel
    from storm_core.types import StepOutput


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("replay", help="run a recording through the pipeline and evaluate it", description=(
        "Run a recording frame by frame through the pipeline; afterwards compare with its ground truth, if it has one, "
        "and write predictions, figures, a video and a report."))
    parser.add_argument("recording", metavar="PATH",
                        help="BOP scene or dataset, rosbag2, ROS 1 bag, or folder with rgb/, depth/, camera.json")
    add_models(parser)
    add_json(parser)
    add_seed(parser)
    parser.add_argument("--out", metavar="DIR", default="", help="folder of the results (default: results/<recording>)")
    parser.add_argument("--ros", action="store_true",
                        help="send the frames through the five real ROS 2 nodes in real time instead of lock-step")
    parser.add_argument("--rate", type=float, metavar="HZ", default=30.0,
                        help="frames per second with --ros and in the video (default: 30)")
    parser.add_argument("--max-frames", type=int, metavar="N", default=0, help="stop after N frames (default: all)")
    parser.add_argument("--scene", type=int, metavar="ID", default=None,
                        help="the one scene to play of a dataset with several (default: all)")
    for name, what in (("image", "colour images"), ("depth", "aligned depth images"), ("info", "camera_info")):
        parser.add_argument(f"--{name}-topic", metavar="TOPIC", default=None,
                            help=f"bag topic with the {what} (default: found by type and name)")
    parser.add_argument("--truth", choices=("auto", "none"), default="auto",
                        help="auto: evaluate when there is ground truth; none: never look for it (default: auto)")
    parser.add_argument("--gt-topic", action="append", metavar="[NAME:=]TOPIC", default=[],
                        help="PoseStamped topic of the bag with the ground truth of an object; may be repeated "
                             "(default: /ground_truth/<object>)")
    parser.add_argument("--gt-tum", metavar="FILE", default="",
                        help="ground truth of the only object: TUM trajectory of its pose in the camera [s, m]")
    parser.add_argument("--no-video", action="store_true", help="write no mp4, GIF and key frames")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_core.bags.recording import open_recording
    from storm_core.pipeline.build import build_models
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.results import to_json
    from storm_core.report.run import load_run_truth, write_run

    if args.rate <= 0 or args.max_frames < 0:
        raise ConfigError(f"--rate must be positive and --max-frames not negative, got {args.rate}, {args.max_frames}")
    config = require_models(config_from(args))
    recording = open_recording(args.recording, image_topic=args.image_topic, depth_topic=args.depth_topic,
                               info_topic=args.info_topic, scene=args.scene)
    count = min(args.max_frames or len(recording), len(recording))
    models = build_models(config)
    with ExitStack() as outputs_to_keep:
        # Opened before the work starts: a place that cannot be written is known at once, not after minutes.
        json_file = outputs_to_keep.enter_context(whole_file(args.json)) if args.json else None
        target = Path(args.out or Path("results") / recording.name)
        folder = outputs_to_keep.enter_context(whole_folder(target))
        if args.ros:
            outputs, extra = through_nodes(config, recording, models, count=count, rate_hz=args.rate)
        else:
            outputs, extra = _lock_step(config, recording, models, count), {}
        # Ground truth is opened only now, when everything has been predicted.
        truth = None
        if args.truth == "auto":
            truth = load_run_truth(recording, config, models, gt_topics(args.gt_topic, list(models)), args.gt_tum)
        results = write_run(folder, command="replay --ros" if args.ros else "replay", config=config, models=models,
                            recording=recording, outputs=outputs, truth=truth, extra=extra, video=not args.no_video,
                            lead_in_s=extra.get("ros", {}).get("preroll_s", 0.0), rate_hz=args.rate)
        if json_file is not None:
            json_file.write_text(to_json(results))
    print(table(results))
    print(f"\nreport {target / 'report.html'}" + ("" if args.no_video else f"\nvideo  {target / 'overlay.mp4'}"))
    return 0


def _lock_step(config: "StormConfig", recording: "Recording", models: "dict[str, ObjectModel]",
               count: int) -> "list[StepOutput]":
    from tqdm import tqdm

    from storm_core.pipeline.build import build_pipeline

    pipeline = build_pipeline(config, models)
    outputs = []
    with tqdm(total=count, unit="frame", disable=None, desc="replay") as bar:
        for frame in islice(recording.frames(), count):
            outputs.append(pipeline.step(frame))
            bar.update()
    return outputs


def through_nodes(config: "StormConfig", recording: "Recording", models: "dict[str, ObjectModel]", *, count: int,
                  rate_hz: float) -> "tuple[list[StepOutput], dict[str, Any]]":
    """Outputs of the nodes, and what else was measured: stage times, pre-roll, poses that came too late."""
    try:
        from storm_ros.session import SessionOptions, play_through_graph
    except ImportError as error:
        raise SetupError(f"the nodes need ROS 2 and the generated messages ({error}); "
                         "`storm doctor` says what is missing") from error
    from tqdm import tqdm

    with tqdm(total=count, unit="frame", disable=None, desc="replay through the nodes") as bar:
        result = play_through_graph(
            islice(recording.frames(), count), list(models), config, SessionOptions(rate_hz=rate_hz),
            progress=lambda played: bar.update(played - bar.n), sink=logging.getLogger("storm.nodes").info)
    ages = [o.stage_ms["end_to_end"] for o in result.outputs
            if "end_to_end" in o.stage_ms and any(i.trusted for i in o.objects)]
    return result.outputs, {
        "stages_ms": node_stage_times(result.diagnostics),
        "ros": {"rate_hz": rate_hz, "preroll_s": result.preroll_s, "late_ms": result.late_ms,
                "published_too_old": sum(age > config.input.max_age * 1e3 for age in ages)}}


def node_stage_times(diagnostics: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, float]]:
    """`stages_ms` from the nodes' last diagnostics, whose values are named <stage>_ms_<quantile>."""
    out: dict[str, dict[str, float]] = {}
    for values in diagnostics.values():
        for key, text in values.items():
            stage, middle, quantile = key.rpartition("_ms_")
            if middle and stage in ("localize", "register", "refine", "track", "monitor"):
                out.setdefault(stage, {})[quantile] = float(text)
    return out


def gt_topics(given: Sequence[str], names: Sequence[str]) -> dict[str, str] | None:
    """{object name: topic} from [NAME:=]TOPIC texts, None when nothing was given."""
    out: dict[str, str] = {}
    for text in given:
        name, arrow, topic = text.partition(":=")
        if not arrow:
            if len(names) != 1:
                raise ConfigError(f"--gt-topic {text}: say which object it is for, e.g. {names[0]}:={text}")
            name, topic = names[0], text
        if name not in names:
            raise ConfigError(f"--gt-topic {text}: {name!r} is not one of the objects {', '.join(names)}")
        out[name] = topic
    return out or None


def table(results: "dict[str, Any]") -> str:
    """The short table for the terminal."""
    columns = ("trusted_share", "add_auc", "adds_auc", "add_01d", "coverage", "confidently_wrong", "first_pose_s",
               "recoveries")
    head = ["object", "trusted", "ADD AUC", "ADD-S AUC", "ADD<0.1d", "coverage", "wrong", "first [s]", "recovered"]
    rows = [head]
    for name, figures in results["objects"].items():
        rows.append([name, *(_cell(figures.get(c)) for c in columns)])
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in
                       enumerate(zip(row, widths, strict=True))) for row in rows]
    total = results["stages_ms"].get("total")
    if total:
        lines.append(f"{total['n']} frames, per frame p50 {total['p50']:.1f} ms, p95 {total['p95']:.1f} ms")
    if "end_to_end" in results["stages_ms"]:
        e = results["stages_ms"]["end_to_end"]
        lines.append(f"image stamp to pose: p50 {e['p50']:.1f} ms, p99 {e['p99']:.1f} ms")
    lines += [f"{f['level']}: {f['finding']}{' ' + f['object'] if f['object'] else ''}, {f['frames']} frames: "
              f"{f['detail']}" for f in results.get("suspicion", ())]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
