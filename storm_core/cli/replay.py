"""`storm replay`: run a recording through the pipeline (or the real nodes), then evaluate and show what happened."""

import argparse
import logging
import math
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from storm_core.cli.arguments import add_config_seed, add_json, add_models, config_from, require_models, require_rate
from storm_core.cli.recording_options import add_recording, recording_from
from storm_core.cli.run_table import table
from storm_core.cli.truth_options import add_truth, check_truth, require_truth, truth_afterwards, truth_options
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
    add_recording(parser)
    add_models(parser)
    add_json(parser)
    add_config_seed(parser)
    parser.add_argument("--out", metavar="DIR", default="", help="folder of the results (default: results/<recording>)")
    parser.add_argument("--ros", action="store_true",
                        help="send the frames through the five real ROS 2 nodes in real time instead of lock-step")
    parser.add_argument("--realtime", type=float, metavar="SPEED", nargs="?", const=1.0, default=0.0,
                        help="let the frames arrive by their stamps on a virtual clock, SPEED times as fast as "
                             "recorded (default: 1): while one is processed, older waiting frames are dropped")
    parser.add_argument("--rate", type=float, metavar="HZ", default=30.0,
                        help="frames per second with --ros and in the video (default: 30)")
    parser.add_argument("--max-frames", type=int, metavar="N", default=0, help="stop after N frames (default: all)")
    add_truth(parser)
    parser.add_argument("--no-video", action="store_true", help="write no mp4, GIF and key frames")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_core.bags.camera_motion import camera_motion
    from storm_core.pipeline.build import build_models
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.results import to_json
    from storm_core.report.run import load_run_truth, write_run

    require_rate(args.rate)
    if not 0 <= args.realtime < math.inf or args.max_frames < 0:
        raise ConfigError("--realtime must be finite and not negative, --max-frames not negative, got "
                          f"{args.realtime}, {args.max_frames}")
    if args.ros and args.realtime:
        raise ConfigError("--ros is in real time already; use --rate to play at another speed")
    config = require_models(config_from(args))
    recording = recording_from(args)
    count = min(args.max_frames or len(recording), len(recording))
    models = build_models(config)
    options = truth_options(args, list(models))
    if args.truth == "auto":
        check_truth(recording, options)
    world_from_cam = camera_motion(recording, args.world_frame) if args.world_frame else None
    with ExitStack() as outputs_to_keep:
        # Opened before the work starts: a place that cannot be written is known at once, not after minutes.
        json_file = outputs_to_keep.enter_context(whole_file(args.json)) if args.json else None
        target = Path(args.out or Path("results") / recording.name)
        folder = outputs_to_keep.enter_context(whole_folder(target))
        if args.ros:
            outputs, extra = through_nodes(config, recording, models, count=count, rate_hz=args.rate)
        elif args.realtime:
            outputs, extra = _in_real_time(config, recording, models, count, args.realtime)
        else:
            outputs, extra = _lock_step(config, recording, models, count), {}
        # Ground truth is opened only now, when everything has been predicted.
        truth, fault = truth_afterwards(lambda: load_run_truth(
            recording, config, models, options) if args.truth == "auto" else None)
        command = "replay --ros" if args.ros else "replay --realtime" if args.realtime else "replay"
        results = write_run(folder, command=command, config=config, models=models, recording=recording,
                            outputs=outputs, truth=truth, extra=extra, video=not args.no_video,
                            lead_in_s=extra.get("ros", {}).get("preroll_s", 0.0), rate_hz=args.rate,
                            world_from_cam=world_from_cam)
        if json_file is not None:
            json_file.write_text(to_json(results))
    print(table(results))
    print(f"\nreport {target / 'report.html'}" + ("" if args.no_video else f"\nvideo  {target / 'overlay.mp4'}"))
    require_truth(fault, target)
    return 0


def _lock_step(config: "StormConfig", recording: "Recording", models: "dict[str, ObjectModel]",
               count: int) -> "list[StepOutput]":
    from tqdm import tqdm

    from storm_core.pipeline.build import build_pipeline

    pipeline = build_pipeline(config, models)
    frames = islice(recording.frames(), count)
    return [pipeline.step(frame) for frame in tqdm(frames, total=count, unit="frame", disable=None, desc="replay")]


def _in_real_time(config: "StormConfig", recording: "Recording", models: "dict[str, ObjectModel]", count: int,
                  speed: float) -> "tuple[list[StepOutput], dict[str, Any]]":
    """Outputs on a virtual clock, and how fast it was."""
    from tqdm import tqdm

    from storm_core.pipeline.arrival import in_real_time
    from storm_core.pipeline.build import build_pipeline
    from storm_core.pipeline.warmup import compile_kernels

    # A node warms up before the first frame comes; loading compiled kernels must not count as time of a frame.
    compile_kernels()
    pipeline = build_pipeline(config, models)
    frames = tqdm(islice(recording.frames(), count), total=count, unit="frame", disable=None, desc="replay")
    outputs = list(in_real_time(frames, pipeline.step, speed=speed))
    realtime: dict[str, Any] = {"speed": speed}
    if count > 1:
        steps = [b - a for a, b in pairwise(recording.stamps_ns[:count])]
        realtime["rate_hz"] = speed * 1e9 / median(steps)
    return outputs, {"realtime": realtime}


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
