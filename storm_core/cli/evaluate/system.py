"""`storm evaluate system`: STORM over the scenes of a BOP dataset as sequences, with and without its safety nets."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from storm_core.cli.columns import aligned
from storm_core.cli.evaluate.dataset_run import (
    Setup,
    add_run_options,
    prepare,
    run_head,
    say_what_is_special,
    strata_of,
)
from storm_core.cli.limits import within_limits
from storm_core.cli.run_table import table
from storm_core.cli.sequence_table import sequence_tables
from storm_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from storm_core.evaluation.jobs import Job

COMPARED = ("add_auc", "adds_auc", "add_01d", "coverage", "confidently_wrong")
"""Figures whose difference to the full system is printed."""

WITHOUT = {"no_monitor": "TOM", "no_reregistration": "re-registration", "neither": "both"}


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("system", help="track through the scenes of a BOP dataset", description=(
        "Run the whole system over every scene as a sequence: search, register, track, watch, recover. A frame without "
        "a trusted pose counts as a failure. Each scene is searched for the objects that are targets in it."))
    add_run_options(parser)
    parser.add_argument("--no-monitor", action="store_true",
                        help="without TOM: the tracker's word is taken, no pose is withdrawn")
    parser.add_argument("--no-reregistration", action="store_true", help="a loss is final")
    parser.add_argument("--all-variants", action="store_true",
                        help="run with and without TOM, with and without re-registration, and say the differences")
    parser.add_argument("--stride", type=int, nargs="+", metavar="N", default=[1],
                        help="every N-th frame of each scene, their stamps unchanged; several N: a table of them, the "
                             "report is about the first (default: 1)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from storm_core.evaluation.sequences import sequence_figures
    from storm_core.evaluation.strata import find_benchmark
    from storm_core.evaluation.system import VARIANTS, plan, sequence_rows, variant_config
    from storm_core.evaluation.workers import do_jobs
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.results import to_json

    chosen = next(name for name, switches in VARIANTS.items()
                  if switches == (not args.no_monitor, not args.no_reregistration))
    if args.all_variants and chosen != "full":
        raise ConfigError("--all-variants already runs without TOM and without re-registration; remove --no-monitor "
                          "and --no-reregistration")
    strides = list(dict.fromkeys(args.stride))
    if min(strides) < 1:
        raise ConfigError(f"--stride must be at least 1, got {min(strides)}")
    setup = prepare(args, "system")
    variants = list(VARIANTS) if args.all_variants else [chosen]
    datasets = {n: setup.dataset.every(n) for n in strides}
    setup = replace(setup, dataset=datasets[strides[0]])
    # The first stride with every variant and a whole report; further strides for their figures.
    plans = [(name, strides[0]) for name in variants] + [(chosen, n) for n in strides[1:]]
    jobs = [plan(datasets[n], variant_config(setup.config, name), setup.models) for name, n in plans]
    every_outcome, reused = do_jobs([job for of_one in jobs for job in of_one], setup.crew, setup.parts, unit="scene")
    parts = iter(every_outcome)
    outcomes = [[next(parts) for _ in of_one] for of_one in jobs]
    counted: dict[str, Any] = {"workers": {"parts": len(every_outcome), "parts_reused": reused}}
    benchmark = find_benchmark(setup.dataset.root)
    sequences = {str(n): sequence_figures(sequence_rows(datasets[n], of_one, found, setup.models), benchmark,
                                          setup.config.seed)
                 for (name, n), of_one, found in zip(plans, jobs, outcomes, strict=True) if name == chosen}
    with whole_folder(setup.out) as folder:
        every = {name: _write(folder if name == variants[0] else folder / name, setup, name, jobs[k], outcomes[k],
                              counted | {"sequences": sequences} if name == chosen else counted)
                 for k, name in enumerate(tqdm(variants, unit="report", disable=None))}
        results = every[variants[0]]
        if args.all_variants:
            results = results | {
                "variants": {name: {key: r[key] for key in ("objects", "stages_ms")} for name, r in every.items()},
                "differences": {name: _differences(folder, folder / name, setup.config.seed) for name in variants[1:]}}
        (folder / "results.json").write_text(to_json(results))
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(to_json(results))
    print(table(results))
    if args.all_variants:
        print("\n" + _variant_table(results))
    print("\n" + sequence_tables(sequences))
    say_what_is_special(results)
    print(f"\nreport {setup.out / 'report.html'}")
    return within_limits(args, results)


def _write(folder: "Path", setup: Setup, variant: str, jobs: "list[Job]", outcomes: list[dict[str, Any]],
           extra: Mapping[str, Any]) -> dict[str, Any]:
    """All files of one variant; its results. extra: further keys; its `workers` count the jobs of all variants."""
    from storm_core.bop.dataset import object_ids
    from storm_core.evaluation.system import SceneSequence, outputs_of, truth_of_searched, variant_config
    from storm_core.report.pose_table import judge_poses, object_figures
    from storm_core.report.run import load_run_truth, pose_estimates, write_run

    data, models = setup.dataset, setup.models
    config = variant_config(setup.config, variant)
    outputs = [output for outcome in outcomes for output in outputs_of(outcome, tuple(models))]
    head = run_head(setup, outcomes, extra["workers"]["parts_reused"])
    sequence = SceneSequence(path=data.root, name=setup.out.name, sha256=data.sha256,
                             images=[image for job in jobs for image in job.images])
    # Ground truth is opened only now, when everything has been predicted.
    truth = truth_of_searched(load_run_truth(sequence, config, models), jobs)
    estimates = pose_estimates(sequence.ids, outputs, object_ids(data.models, models))
    own = {key: head[key] for key in ("targets", "images_left_out", "skipped")}
    own["workers"] = head["workers"] | extra["workers"]
    judged = judge_poses(data.annotations, data.targets, estimates, models)
    diameters = {int(name): model.diameter for name, model in models.items()}
    own |= {"variant": variant, "stride": data.stride,
            "at_targets": {str(i): object_figures(targets, diameters[i]) for i, targets in judged.items()},
            **strata_of(data.root, judged, diameters)}
    folder.mkdir(exist_ok=True)
    return write_run(folder, command="evaluate system", config=config, models=models, recording=sequence,
                     outputs=outputs, truth=truth, extra={**extra, **own}, video=False)


def _differences(full: "Path", other: "Path", seed: int) -> dict[str, dict[str, dict[str, Any]]]:
    """object -> figure -> value in `other` minus value in `full`, over the same frames, with its 95 % interval."""
    from storm_core.report.compare import compare_runs, read_run

    out: dict[str, dict[str, dict[str, Any]]] = {}
    for d in compare_runs(read_run(full), read_run(other), seed=seed):
        out.setdefault(d.object_name, {})[d.figure] = {
            "difference": d.b - d.a, "ci95": None if d.low != d.low else [d.low, d.high], "verdict": d.verdict}
    return out


def _variant_table(results: Mapping[str, Any]) -> str:
    """Main figures of every variant, and whether its difference to the full system is more than chance."""
    rows = [("without", "object", *COMPARED)]
    for variant, objects in results["differences"].items():
        for name, figures in objects.items():
            rows.append((WITHOUT[variant], name, *(_difference(figures.get(key)) for key in COMPARED)))
    return aligned(rows) + "\n(difference to the full system over the same frames; * = more than chance at 95 %)"


def _difference(entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry["difference"] != entry["difference"]:
        return "-"
    return f"{entry['difference']:+.3f}" + ("*" if entry["verdict"] in ("better", "worse") else " ")
