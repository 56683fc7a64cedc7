"""`storm bench ros`: the running nodes, measured from outside."""

import argparse
import itertools
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.cli.arguments import add_config, add_json, add_seed, assignments
from storm_core.cli.columns import aligned
from storm_core.cli.limits import add_limits, within_limits
from storm_core.errors import ConfigError, SetupError

if TYPE_CHECKING:
    from storm_core.geometry.mesh import ObjectModel
    from storm_core.simulation.loss_script import LossScript
    from storm_core.simulation.recording import SimulatedFrame
    from storm_ros.bench import Measured

SIZES = {"640x480": 1.0, "1280x720": 1.5}
"""Pictures that a camera may send, and the focal length relative to VGA."""

RATE_HZ = 30.0

Rendered = Mapping[tuple[str, int], "SimulatedFrame"]


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("ros", help="the nodes: latency, lost frames, processor time, recovery", description=(
        "Render a short RGB-D clip, show it to the real nodes to and fro at 30 Hz and measure from outside: image "
        "stamp to pose, lost frames, processor time and memory of every process, start-up. With --losses the object is "
        "hidden, taken away, moved and shaken at random times instead, and reset by a user now and then."))
    parser.add_argument("--seconds", type=float, metavar="S", default=60.0, help="length of the run (default: 60)")
    parser.add_argument("--losses", type=int, metavar="N", default=0,
                        help="so many scripted losses instead of --seconds of calm (about 4 s each)")
    parser.add_argument("--objects", type=int, metavar="N", default=1, help="objects tracked, 1 to 6 (default: 1)")
    parser.add_argument("--size", choices=tuple(SIZES), default="640x480", help="of the pictures (default: 640x480)")
    parser.add_argument("--composed", action="store_true", help="all nodes in one process instead of one process each")
    parser.add_argument("--no-viz", action="store_true", help="without viz_node, which nobody listens to here")
    parser.add_argument("--clip", type=float, metavar="S", default=1.6, help="length of the clip (default: 1.6)")
    add_seed(parser)
    add_config(parser)
    add_json(parser)
    add_limits(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_core import __version__
    from storm_core.config_io import read_config
    from storm_core.pipeline.build import build_localizer, build_models
    from storm_core.report.results import results_head, write_json
    from storm_core.simulation.loss_script import loss_script
    from storm_core.simulation.objects import write_models
    from storm_core.simulation.scenarios import ARC_LAYERS, ARC_TARGETS

    if not 1 <= args.objects <= len(ARC_TARGETS) or args.seconds <= 0 or args.losses < 0 or args.clip < 0.2:
        raise ConfigError(f"--objects must be 1 to {len(ARC_TARGETS)}, --seconds positive, --losses not negative, "
                          f"--clip at least 0.2; got {args.objects}, {args.seconds}, {args.losses}, {args.clip}")
    try:
        from storm_ros.bench import measure
        from storm_ros.playback import shot_of
    except ImportError as error:
        raise SetupError(f"the nodes need ROS 2 and the generated messages ({error}); "
                         "`storm doctor` says what is missing") from error
    rendered, sources = _rendered(args, ARC_LAYERS if args.losses else ARC_LAYERS[:1])
    count = len({index for _, index in rendered})
    script = loss_script(args.losses, count, RATE_HZ, args.seed) if args.losses else None
    with tempfile.TemporaryDirectory(prefix="storm_bench_") as folder:
        write_models(Path(folder) / "models", list(sources.values()))
        targets = list(ARC_TARGETS[:args.objects])
        given = dict(assignments(args.overrides)) | {"models": str(Path(folder) / "models"), "objects": targets}
        config = read_config(args.config or None, given)
        models = build_models(config)
        build_localizer(config, models)  # start-up is measured with onboarding cached
        frames = ((shown.layer, shown.index) for shown in script.frames) if script else \
            itertools.islice(_to_and_fro(count), round(args.seconds * RATE_HZ))
        measured = measure({key: shot_of(simulated.frame) for key, simulated in rendered.items()}, _to_and_fro(count),
                           frames, targets, config, rate_hz=RATE_HZ, composed=args.composed, viz=not args.no_viz,
                           resets=frozenset(script.resets) if script else frozenset(),
                           sink=logging.getLogger("storm.nodes").info)
    results = results_head("bench ros", __version__, path=f"arc {args.size}", sha256="",
                           frames=len(measured.stamps_ns), seed=args.seed)
    results |= figures(measured, targets) | {"mode": "composed" if args.composed else "separate", "size": args.size}
    if script is not None:
        results["recovery"] = recovery(measured, script, models[targets[0]], rendered)
    if args.json:
        write_json(args.json, results)
    print(_table(results))
    return within_limits(args, results)


def figures(measured: "Measured", object_names: list[str]) -> dict[str, Any]:
    """`stages_ms`, `graph` and, per object, `objects.<name>` {`rate_hz`, `lost_frames`, `coverage`}."""
    from storm_core.cli.replay import node_stage_times
    from storm_core.metrics.scores import quantiles

    heard, stamps = measured.heard, measured.stamps_ns
    ages = [(heard.pose_at_ns[stamp] - stamp) * 1e-6 for stamp in stamps if stamp in heard.pose_at_ns]
    end_to_end = {**quantiles(ages, p50=0.5, p95=0.95, p99=0.99, max=1.0), "n": len(ages)}
    objects = {}
    for name in object_names:
        published = sum((stamp, name) in heard.trusted for stamp in stamps)
        objects[name] = {"rate_hz": published / measured.wall_s, "lost_frames": len(stamps) - published,
                         "coverage": published / len(stamps)}
    cores = {name: seconds / measured.wall_s for name, seconds in sorted(measured.cpu_s.items())}
    return {"objects": objects, "stages_ms": {**node_stage_times(heard.diagnostics), "end_to_end": end_to_end},
            "graph": {"startup_s": measured.startup_s, "wall_s": measured.wall_s, "late_ms": measured.late_ms,
                      "cpu_cores": sum(cores.values()), "cpu_cores_by_process": cores,
                      "memory_mb": sum(measured.memory_mb.values()),
                      "memory_mb_by_process": dict(sorted(measured.memory_mb.items()))}}


def recovery(measured: "Measured", script: "LossScript", model: "ObjectModel", rendered: Rendered) -> dict[str, Any]:
    """`recovery` of the results: what became of the losses and resets, and whether the status tells all of it."""
    import numpy as np

    from storm_core.metrics.loss_recovery import history_problems, loss_figures
    from storm_core.metrics.pose_error_batch import extreme_points
    from storm_core.metrics.symmetric_error import mssd_pairs

    heard, stamps = measured.heard, measured.stamps_ns
    error = np.full(len(stamps), np.nan)
    points = extreme_points(model.eval_vertices)
    for k, (stamp, shown) in enumerate(zip(stamps, script.frames, strict=True)):
        pose = heard.trusted.get((stamp, model.name))
        if pose is not None:
            truth = rendered[shown.layer, shown.index].truth[model.name].cam_from_obj
            error[k] = mssd_pairs(pose[None], truth[None], points, model.symmetries)[0][0] / model.diameter
    visible = np.array([shown.visible for shown in script.frames])
    entries = [(stamp, values) for stamp, values in heard.status[model.name] if stamp >= stamps[0]]
    problems = history_problems([values for _, values in entries])
    resets = _resets(entries)
    stale = sum(any(begun < stamp < over for begun, over in resets)
                for stamp, name in heard.trusted if name == model.name)
    return loss_figures(script.losses, error, visible, RATE_HZ) | {
        "resets_asked": len(script.resets), "resets_seen": len(resets), "stale_after_reset": stale,
        "status_entries": len(entries), "status_problems": len(problems), "status_problem_texts": problems[:10]}


def _resets(entries: list[tuple[int, dict[str, str]]]) -> list[tuple[int, float]]:
    """(stamp of the reset, stamp from which on the object was tracked again) of each; the latter inf where it was not.
    """
    out = []
    for k, (stamp, values) in enumerate(entries):
        if values["reason"] == "user_reset" and (k == 0 or entries[k - 1][1]["epoch"] != values["epoch"]):
            out.append((stamp, next((later for later, v in entries[k:] if v["state"] == "TRACKING"), float("inf"))))
    return out


def _rendered(args: argparse.Namespace, layers: tuple[str, ...]) -> "tuple[Rendered, dict[str, ObjectModel]]":
    """Frames by layer and index, and the models in them."""
    from tqdm import tqdm

    from storm_core.geometry.camera import PinholeCamera
    from storm_core.simulation.recording import SimulatedRecording
    from storm_core.simulation.scenarios import CAMERA, arc

    zoom = SIZES[args.size]
    width, height = (int(n) for n in args.size.split("x"))
    camera = PinholeCamera(width, height, CAMERA.fx * zoom, CAMERA.fy * zoom, width / 2 + 1.7, height / 2 + 1.3)
    out: dict[tuple[str, int], SimulatedFrame] = {}
    for layer in layers:
        recording = SimulatedRecording(arc(args.seed, camera=camera, duration=args.clip, objects=args.objects,
                                           layer=layer), args.seed, oversample=1)
        for simulated in tqdm(recording, total=len(recording), unit="frame", disable=None, desc=f"render {layer}"):
            out[layer, simulated.index] = simulated
    return out, {name: recording.models[name] for name in recording.targets}


def _to_and_fro(count: int) -> Iterator[tuple[str, int]]:
    return (("shown", index) for index in itertools.cycle([*range(count), *range(count - 2, 0, -1)]))


def _table(results: Mapping[str, Any]) -> str:
    graph, age = results["graph"], results["stages_ms"]["end_to_end"]
    rows = [("start-up to tracked", f"{graph['startup_s']:.1f} s"),
            ("image stamp -> /object_pose", f"p50 {age['p50']:.1f}  p95 {age['p95']:.1f}  p99 {age['p99']:.1f}  max "
             f"{age['max']:.1f} ms"),
            ("processor", f"{graph['cpu_cores']:.2f} cores ({results['mode']})"),
            ("memory", f"{graph['memory_mb']:.0f} MB")]
    rows += [(name, f"{o['rate_hz']:.1f} Hz, {o['lost_frames']} of {results['input']['frames']} frames without a pose")
             for name, o in results["objects"].items()]
    if "recovery" in results:
        r = results["recovery"]
        rows += [("losses", f"{r['recovered']} of {r['events']} recovered within 1 s, {r['late']} late, {r['missed']} "
                  f"missed, {r['wrong_object']} on something else; p50 {r['time_s_p50']:.2f} s, p95 "
                  f"{r['time_s_p95']:.2f} s"),
                 ("resets", f"{r['resets_seen']} of {r['resets_asked']}, {r['stale_after_reset']} stale poses"),
                 ("status history", f"{r['status_entries']} entries, {r['status_problems']} out of order or missing")]
    if graph["late_ms"] > 1e3 / RATE_HZ:
        rows.append(("warning", f"frames were sent up to {graph['late_ms']:.0f} ms late: the machine is overloaded"))
    return aligned(rows, left=(0, 1))
