"""`storm evaluate monitor`: does TOM know when the pose is wrong?"""

import argparse
import json
from typing import TYPE_CHECKING, Any

from storm_core.cli.columns import aligned
from storm_core.cli.evaluate.dataset_run import Setup, add_run_options, prepare, run_head, say_what_is_special
from storm_core.cli.limits import within_limits
from storm_core.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from storm_core.evaluation.failures.play import FailureJob

MAIN = ("auroc", "fpr_at_tpr99", "latency_frames_p50", "latency_frames_p95", "false_alarms_per_10k", "ece")
"""Figures of the monitor under test that results.json holds under `monitor`."""


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("monitor", help="the failure benchmark: does TOM notice wrong poses", description=(
        "Put labelled faults into every scene of a BOP dataset, ask the monitor and four baselines about every pose, "
        "and say how well, how fast and how honestly they notice. Protocol: docs/failure-benchmark.md."))
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--benchmark", action="store_true", help="run the failure benchmark on --bop-dir")
    what.add_argument("--pairs-jsonl", metavar="FILE", default="",
                      help="judge picture pairs (img1, img2, label in every line) with the pair model of --checkpoint: "
                           "accuracy, AUROC, ms per pair")
    parser.add_argument("--checkpoint", metavar="FILE", default="",
                        help="pair model, as `storm train monitor --set data.source=pairs` writes it")
    parser.add_argument("--backbone", metavar="DIR", default="",
                        help="folder of the pair model's DINOv2 (default: the one that the checkpoint names)")
    add_run_options(parser, required=False)
    parser.add_argument("--causes", nargs="+", metavar="NAME", default=[],
                        help="only these faults (default: all that apply to the object)")
    parser.add_argument("--frames", type=int, metavar="N", default=120,
                        help="the first N images of each scene (default: 120)")
    parser.add_argument("--tracker", action="store_true",
                        help="poses of the real tracker instead of the truth with a tracker's errors")
    parser.add_argument("--ablation", action="store_true",
                        help="also judge every pose with each term of the monitor left out, and compare")
    parser.add_argument("--pipeline", action="store_true",
                        help="also run the whole system through the faults and measure how fast it recovers")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.pairs_jsonl:
        return run_pairs(args)
    if not args.bop_dir:
        raise ConfigError("--benchmark needs --bop-dir DIR, the dataset to put faults into")
    from storm_core.evaluation.failures.ablation import ablation_figures
    from storm_core.evaluation.failures.causes import MIN_FRAMES, causes_of
    from storm_core.evaluation.failures.figures import benchmark_figures
    from storm_core.evaluation.failures.recover import recovery_figures
    from storm_core.evaluation.workers import do_jobs
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.failure_benchmark import write_failure_report
    from storm_core.report.results import to_json

    causes = tuple(cause.value for cause in causes_of(args.causes))
    if args.frames < MIN_FRAMES:
        raise ConfigError(f"--frames must be at least {MIN_FRAMES}, got {args.frames}: an event needs frames before, "
                          "in and after it")
    setup = prepare(args, "monitor")
    jobs = plan(setup, causes, args)
    outcomes, reused = do_jobs(jobs, setup.crew, setup.parts, unit="scene")
    plays = [record for outcome in outcomes for record in outcome["records"]]
    if not plays:
        reasons = [s["reason"] for outcome in outcomes for s in outcome["skipped"]]
        raise DatasetError(f"nothing could be played in {args.bop_dir}: {reasons[0] if reasons else 'no targets'}")
    monitors = benchmark_figures(plays, setup.config.seed)
    results = run_head(setup, outcomes, reused) | {
        "benchmark": {"protocol": "storm-failure-3", "causes": list(causes), "frames_per_scene": args.frames,
                      "poses": "tracker" if args.tracker else "truth with a tracker's errors",
                      "scenes": len({p["scene"] for p in plays}), "plays": len(plays),
                      "frames": sum(len(p["error"]) for p in plays)},
        "monitor": {key: monitors["storm"][key] for key in MAIN}, "monitors": monitors, "stages_ms": _times(plays)}
    if args.pipeline:
        recoveries = [r for outcome in outcomes for r in outcome["recoveries"]]
        results["recovery"] = recovery_figures(recoveries) | {"causes": {
            cause: recovery_figures([r for r in recoveries if r["cause"] == cause])
            for cause in dict.fromkeys(r["cause"] for r in recoveries)}}
    if args.ablation:
        results["ablation"] = ablation_figures(plays)
    with whole_folder(setup.out) as folder:
        (folder / "results.json").write_text(to_json(results))
        (folder / "plays.jsonl").write_text("".join(json.dumps(json.loads(to_json(play))) + "\n" for play in plays))
        write_failure_report(folder, results)
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(to_json(results))
    print(monitor_table(results))
    print("\n" + cause_table(results))
    if args.pipeline:
        print("\n" + recovery_table(results))
    if args.ablation:
        print("\n" + ablation_table(results))
    say_what_is_special(results)
    print(f"\nreport {setup.out / 'report.html'}")
    return within_limits(args, results)


def run_pairs(args: argparse.Namespace) -> int:
    """The pair model on picture pairs."""
    from hashlib import sha256
    from pathlib import Path

    from storm_core import __version__
    from storm_core.models.packages import require_packages
    from storm_core.report.atomic import whole_file
    from storm_core.report.results import results_head, to_json

    if not args.checkpoint:
        raise ConfigError("--pairs-jsonl needs --checkpoint FILE, a pair model of `storm train monitor`")
    require_packages("the pair model", "torch", "transformers", "safetensors")
    from storm_core.monitor.pair_model import load_pair, open_backbone
    from storm_core.training.monitor_pairs import evaluate_pairs, read_pairs

    file = Path(args.pairs_jsonl)
    pairs = read_pairs(file)
    model, size = load_pair(Path(args.checkpoint), open_backbone(Path(args.backbone)) if args.backbone else None)
    judged, ms = evaluate_pairs(model, pairs, size)
    results = results_head("evaluate monitor", __version__, path=file, seed=args.seed or 0,
                           sha256=sha256(file.read_bytes()).hexdigest(), frames=len(pairs))
    results |= {"pairs": {"count": len(pairs), "ms_per_pair": ms, **judged.figures()}}
    if args.json:
        with whole_file(args.json) as out:
            out.write_text(to_json(results))
    print(aligned([("pairs", str(len(pairs)))] + [(k, f"{v:.4f}") for k, v in judged.figures().items()]
                  + [("ms per pair", f"{ms:.1f}")]))
    return within_limits(args, results)


def plan(setup: Setup, causes: tuple[str, ...], args: argparse.Namespace) -> "list[FailureJob]":
    """One job per scene."""
    from storm_core.evaluation.failures.play import FailureJob
    from storm_core.evaluation.system import plan as plan_sequences

    return [FailureJob(kind="failures.play", images=job.images[:args.frames], queries=job.queries, models=job.models,
                       config=job.config, causes=causes, frames=args.frames, tracker=args.tracker,
                       pipeline=args.pipeline, ablation=args.ablation)
            for job in plan_sequences(setup.dataset, setup.config, setup.models)]


def monitor_table(results: dict[str, Any]) -> str:
    """All monitors, each figure with its 95 % interval where there is one."""
    from storm_core.report.failure_benchmark import COLUMNS

    rows = [("monitor", *(title for title, _, _ in COLUMNS))]
    rows += [(name, *(figure(f[key], kind) for _, key, kind in COLUMNS)) for name, f in results["monitors"].items()]
    bounds = results["monitors"]["storm"]["ci95"]
    known = ", ".join(f"{key} [{b[0]:.4g}, {b[1]:.4g}]" for key, b in bounds.items() if b is not None)
    return aligned(rows) + (f"\nstorm, 95 % over scenes: {known}" if known else "")


def cause_table(results: dict[str, Any]) -> str:
    """STORM by cause."""
    from storm_core.report.failure_benchmark import COLUMNS

    rows = [("cause", "failures", "missed", *(title for title, _, _ in COLUMNS))]
    rows += [(cause, str(f["failures"]), str(f["missed"]), *(figure(f[key], kind) for _, key, kind in COLUMNS))
             for cause, f in results["monitors"]["storm"]["causes"].items()]
    return aligned(rows)


def ablation_table(results: dict[str, Any]) -> str:
    """With all terms, and without each."""
    found = results["ablation"]
    keys = tuple(found["all"])
    return aligned([("without", *keys)] + [(name, *(figure(f[key], "ratio") for key in keys))
                                           for name, f in found.items()])


def recovery_table(results: dict[str, Any]) -> str:
    """The whole system by cause."""
    keys = ("plays", "not_started", "recovered", "missed", "wrong_object", "time_s_p50", "time_s_p95")
    found = results["recovery"]
    rows = [("recovery", *keys)]
    rows += [(name, *(figure(f[key], "") for key in keys)) for name, f in [*found["causes"].items(), ("all", found)]]
    return aligned(rows)


def figure(value: Any, kind: str) -> str:
    """One number for the terminal; inf = never."""
    if value is None or value != value:
        return "-"
    if value == float("inf"):
        return "never"
    return f"{100 * value:.2f} %" if kind == "share" else f"{value:.4f}" if kind == "ratio" else f"{value:.4g}"


def _times(plays: list[dict[str, Any]]) -> dict[str, Any]:
    from storm_core.metrics.scores import quantiles

    ms = [v for play in plays for v in play["ms"] if v is not None and v == v]
    return {"monitor": {**quantiles(ms, p50=0.5, p95=0.95, p99=0.99), "n": len(ms)}}
