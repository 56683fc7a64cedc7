"""`storm track`: the tracker on its own over a recording, without recovery."""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.cli.arguments import add_config_seed, add_json, add_models, config_from, require_models, require_rate
from storm_core.cli.limits import add_limits, within_limits
from storm_core.cli.recording_options import add_recording, recording_from
from storm_core.cli.run_table import table
from storm_core.cli.truth_options import (
    add_truth,
    check_truth,
    named,
    require_truth,
    truth_afterwards,
    truth_options,
)
from storm_core.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from storm_core.bags.selection import Selection
    from storm_core.bags.truth import Truth
    from storm_core.config import StormConfig
    from storm_core.geometry.mesh import ObjectModel
    from storm_core.pipeline.follow import Follower, Start
    from storm_core.types import StepOutput

REGISTER, TRUTH = "register", "gt"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("track", help="run the tracker alone over a recording and evaluate it", description=(
        "Start the tracker once and let it follow the objects to the end of the recording. The monitor judges every "
        "pose, but nothing is withdrawn and nothing is searched again: a frame without a pose counts as a failure. "
        "Writes the same folder as `storm replay`."))
    add_recording(parser)
    add_models(parser)
    parser.add_argument("--init", action="append", metavar="register|gt|[NAME:=]FILE", default=[],
                        help="where to start: from the first registration that succeeds, from the ground truth of the "
                             "first frame that has it, or from a pose [m] in the first frame: a file with a 4x4 "
                             "matrix or x y z qx qy qz qw, one per object (default: register)")
    parser.add_argument("--stride", type=int, metavar="N", default=1,
                        help="take every N-th frame only, with its own stamp (default: 1)")
    parser.add_argument("--frames", metavar="A:B", default="",
                        help="take frames A to B - 1 only, counted from 0 (default: all)")
    parser.add_argument("--out", metavar="DIR", default="",
                        help="folder of the results (default: results/track_<recording>)")
    parser.add_argument("--rate", type=float, metavar="HZ", default=30.0,
                        help="frames per second in the video (default: 30)")
    parser.add_argument("--no-video", action="store_true", help="write no mp4, GIF and key frames")
    add_truth(parser)
    add_config_seed(parser)
    add_json(parser)
    add_limits(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from storm_core.bags.camera_motion import camera_motion
    from storm_core.bags.selection import select
    from storm_core.pipeline.build import build_models, build_monitor, build_tracker
    from storm_core.pipeline.follow import Follower
    from storm_core.pipeline.warmup import compile_kernels
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.results import to_json
    from storm_core.report.run import load_run_truth, write_run

    require_rate(args.rate)
    config = require_models(config_from(args))
    recording = recording_from(args)
    chosen = select(recording, args.frames, args.stride)
    models = build_models(config)
    options = truth_options(args, list(models))
    if args.truth == "auto":
        check_truth(recording, options)
    world_from_cam = camera_motion(recording, args.world_frame) if args.world_frame else None

    def known() -> "Truth | None":
        whole = load_run_truth(recording, config, models, options) if args.truth == "auto" else None
        return None if whole is None else chosen.truth(whole)

    start = _start(args.init, chosen, config, models, known)
    with ExitStack() as kept:
        json_file = kept.enter_context(whole_file(args.json)) if args.json else None
        target = Path(args.out or Path("results") / f"track_{recording.name}")
        folder = kept.enter_context(whole_folder(target))
        compile_kernels()  # loading them must not count as time of the first frame
        follower = Follower(list(models), start, build_tracker(config, models), build_monitor(config, models))
        outputs = [follower.step(frame) for frame in tqdm(chosen.frames(), total=len(chosen), unit="frame",
                                                          disable=None, desc="track")]
        truth, fault = truth_afterwards(known)
        results = write_run(
            folder, command="track", config=config, models=models, recording=chosen, outputs=outputs, truth=truth,
            extra={"track": {"init": args.init or [REGISTER], "stride": args.stride, "frames": args.frames,
                             "events": _events(outputs, chosen, follower)}},
            video=not args.no_video, rate_hz=args.rate,
            world_from_cam=None if world_from_cam is None else world_from_cam[list(chosen.indices)])
        if json_file is not None:
            json_file.write_text(to_json(results))
    print(table(results))
    print(_story(results["track"]["events"], list(models), outputs))
    print(f"\nreport {target / 'report.html'}" + ("" if args.no_video else f"\nvideo  {target / 'overlay.mp4'}"))
    require_truth(fault, target)
    return within_limits(args, results)


def _start(init: Sequence[str], chosen: "Selection", config: "StormConfig", models: "Mapping[str, ObjectModel]",
           known: Any) -> "Start":
    """Where the objects start, as --init says. known: () -> ground truth of the chosen frames or None."""
    from storm_core.bags.pose_file import read_pose
    from storm_core.pipeline.build import build_localizer, build_registrar
    from storm_core.pipeline.follow import from_poses, from_search

    words = [text for text in init if text in (REGISTER, TRUTH)]
    if words and len(init) > 1:
        raise ConfigError(f"--init {words[0]} is for all objects; give it alone")
    if not init or init[0] == REGISTER:
        return from_search(build_localizer(config, dict(models)), build_registrar(config, dict(models)))
    if init[0] == TRUTH:
        truth = known()
        if truth is None:
            raise DatasetError(f"--init {TRUTH}: {chosen.path} has no ground truth, or --truth none was given")
        return from_poses({name: _first_true_pose(name, truth, chosen) for name in models})
    files = named("--init", init, list(models)) or {}
    lacking = [name for name in models if name not in files]
    if lacking:
        raise ConfigError(f"--init gives no pose of {lacking[0]}; add --init {lacking[0]}:=FILE, or name the wanted "
                          "objects with --objects")
    return from_poses({name: (chosen.stamps_ns[0], read_pose(Path(file))) for name, file in files.items()})


def _first_true_pose(name: str, truth: "Truth", chosen: "Selection") -> tuple[int, Any]:
    for stamp_ns, instances in zip(chosen.stamps_ns, truth.frames.get(name, ()), strict=False):
        there = [i for i in instances or () if i.is_visible]
        if there:
            return stamp_ns, there[0].cam_from_obj
    raise DatasetError(f"--init {TRUTH}: {name} is visible in none of the chosen frames of {chosen.path}")


def _events(outputs: "Sequence[StepOutput]", chosen: "Selection", follower: "Follower") -> list[dict[str, Any]]:
    """Every change of state, with the place in the recording."""
    return [{"object": t.object_name, "frame": chosen.indices[k], "scene_id": chosen.ids[k][0],
             "im_id": chosen.ids[k][1], "time_s": (t.stamp_ns - chosen.stamps_ns[0]) * 1e-9, "before": t.before,
             "after": t.after, "reason": t.reason.value,
             "detail": follower.detail.get(t.object_name, "") if t.after == "LOST" else ""}
            for k, output in enumerate(outputs) for t in output.transitions]


def _story(events: Sequence[Mapping[str, Any]], names: Sequence[str], outputs: "Sequence[StepOutput]") -> str:
    """One line per object: started where, lost where and why, doubted in how many frames."""
    lines = []
    for name in names:
        mine = [e for e in events if e["object"] == name]
        items = [i for o in outputs for i in o.objects if i.object_name == name]
        began = next((e for e in mine if e["before"] == "SEARCHING"), None)
        if began is None:
            lines.append(f"{name}: never started ({items[-1].reason.value})")
            continue
        text = f"{name}: started in frame {began['frame']}"
        lost = next((e for e in mine if e["after"] == "LOST"), None)
        text += (", followed to the end" if lost is None else
                 f", lost in frame {lost['frame']} after {lost['time_s']:.2f} s: {lost['reason']}"
                 + (f" ({lost['detail']})" if lost["detail"] else ""))
        doubted = sum(i.state == "SUSPECT" for i in items)
        lines.append(text + (f"; the monitor doubted {doubted} frames" if doubted else ""))
    return "\n".join(lines)
