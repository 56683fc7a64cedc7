"""`storm demo`: render an RGB-D recording, play it through the real nodes, compare with the truth, show it."""

import argparse
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.cli.arguments import add_config, add_json, add_seed, assignments

if TYPE_CHECKING:
    from storm_core.simulation.recording import SimulatedRecording

RECORDINGS = "recordings"
"""Folder in the output folder that keeps rendered recordings."""

RECOVERY_LIMIT_S = 1.0
"""Time after which a recovered object counts as recovered late [s]."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    help_line = "render a recording, run it through the real nodes, evaluate and show it"
    parser = subparsers.add_parser("demo", help=help_line, description=(
        "Render a 14 s RGB-D recording (clutter, sensor noise and holes, a full occlusion, an exit and return, a fast "
        "motion), write it as rosbag2, play it through the five ROS 2 nodes in real time and compare with the truth. "
        "Exit status 1 when the object was not recovered, or a pose was published as trusted that was wrong or of an "
        "object that was not visible."))
    parser.add_argument("--out", metavar="DIR", default="results/demo",
                        help="folder of the results; the rendered recording is kept there too (default: results/demo)")
    parser.add_argument("--fast", action="store_true",
                        help="about a minute less: pictures without antialiasing, no video")
    add_seed(parser)
    add_config(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_core.bags.recording import open_recording
    from storm_core.cli.replay import through_nodes
    from storm_core.cli.run_table import table
    from storm_core.config_io import read_config
    from storm_core.pipeline.build import build_models
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.results import to_json
    from storm_core.report.run import write_run
    from storm_core.simulation.dataset import BAG
    from storm_core.simulation.recording import SimulatedRecording
    from storm_core.simulation.truth import load_simulated_truth

    simulated = SimulatedRecording("demo", args.seed, oversample=1 if args.fast else 2)
    out = Path(args.out).expanduser()
    home = out / RECORDINGS / simulated.name
    given = dict(assignments(args.overrides)) | {"models": str(home / "models"), "objects": simulated.targets}
    config = read_config(args.config or None, given)
    _render(home, simulated)
    models = build_models(config)
    recording = open_recording(home / BAG)
    with ExitStack() as outputs_to_keep:
        json_file = outputs_to_keep.enter_context(whole_file(args.json)) if args.json else None
        folder = outputs_to_keep.enter_context(whole_folder(out))
        outputs, extra = through_nodes(config, recording, models, count=len(recording), rate_hz=simulated.rate_hz)
        truth = load_simulated_truth(home, tuple(models))
        results = write_run(folder, command="demo", config=config, models=models, recording=recording, outputs=outputs,
                            truth=truth, extra=extra, lead_in_s=extra["ros"]["preroll_s"], video=not args.fast,
                            rate_hz=simulated.rate_hz)
        if json_file is not None:
            json_file.write_text(to_json(results))
    print(table(results))
    print(events_table(results))
    print(f"\nreport     {out / 'report.html'}")
    if not args.fast:
        print(f"video      {out / 'overlay.mp4'}")
    print(f"recording  {home / BAG}")
    problems = failures(results)
    for problem in problems:
        print(f"storm: error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _render(home: Path, simulated: "SimulatedRecording") -> None:
    """Render the recording into `home` unless it is there already: version and seed in its name decide every pixel."""
    from tqdm import tqdm

    from storm_core.report.atomic import whole_folder
    from storm_core.simulation.dataset import write_simulation

    if home.exists():
        return
    with whole_folder(home) as folder:
        write_simulation(folder, simulated, images=False, bag=True, progress=lambda frames: tqdm(
            frames, total=len(simulated), unit="frame", disable=None, desc="render"))


def events_table(results: Mapping[str, Any]) -> str:
    """One line for every time an object came back into view."""
    lines = []
    for name, figures in results["objects"].items():
        for event in figures["recovery"]["events"]:
            if event["trusted_at"] is None:
                outcome = "NOT recovered"
            else:
                late = "" if event["time_s"] <= RECOVERY_LIMIT_S else f" (later than {RECOVERY_LIMIT_S:g} s)"
                outcome = f"recovered after {event['time_s']:.2f} s{late}"
            lines.append(f"{name}: out of sight from frame {event['lost_at']}, visible again at {event['due_at']}, "
                         f"{outcome}")
    return "\n".join(lines)


def failures(results: Mapping[str, Any]) -> list[str]:
    """What a sound run must not show, in words; empty when all is well."""
    out = []
    for name, figures in results["objects"].items():
        recovery = figures["recovery"]
        if figures["first_pose_frame"] is None:
            out.append(f"{name} was never tracked; the status in predictions.jsonl says why")
            continue
        missed = [e["due_at"] for e in recovery["events"] if e["trusted_at"] is None]
        if missed:
            out.append(f"{name} was not recovered after it came back into view at frame {', '.join(map(str, missed))}")
        if recovery["trusted_while_hidden"]:
            out.append(f"{name} was published as trusted in {recovery['trusted_while_hidden']} frames "
                       "in which it is not visible")
        if figures["confidently_wrong"] > 0:
            out.append(f"{figures['confidently_wrong']:.1%} of the trusted poses of {name} are off by more than 0.2 "
                       "diameter")
    return out
