"""`storm evaluate masks`: SOM on every target of a BOP dataset, or the masks of another system."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.cli.evaluate.dataset_run import (
    Setup,
    add_run_options,
    prepare,
    run_head,
    say_what_is_special,
)
from storm_core.cli.evaluate.mask_output import mask_summary, worst_pictures, write_contact_sheet
from storm_core.cli.limits import within_limits
from storm_core.cli.pictures import ignored
from storm_core.errors import ConfigError

if TYPE_CHECKING:
    from storm_core.bop.mask_results import MaskEstimate
    from storm_core.evaluation.masks import Questions
    from storm_core.report.mask_table import JudgedImage
    from storm_core.simulation.benchmark import Benchmark


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("masks", help="segment every target of a BOP dataset, or score masks", description=(
        "Segment every target of a BOP dataset, each image on its own, and compare with the visible masks. A target "
        "without a mask counts as IoU 0. As many instances are searched as the targets list. In a benchmark of `storm "
        "simulate benchmark` every scene is asked for its own object, there or not."))
    add_run_options(parser)
    parser.add_argument("--all-objects", action="store_true",
                        help="look for every model in every image, so that finding what is not there counts "
                             "(default: only for the objects that are targets of the image)")
    parser.add_argument("--localizer-only", action="store_true",
                        help="take the localizer's first answer as it is (default: registration refines and verifies "
                             "it, as it does in use)")
    parser.add_argument("--every", type=int, metavar="N", default=1, help="every N-th image of each scene (default: 1)")
    parser.add_argument("--ignore", nargs="+", metavar="IMAGE:OBJECT", default=[],
                        help="in the picture but not annotated: it is not asked for, e.g. 2:15")
    parser.add_argument("--pred", metavar="FILE", default="",
                        help="score these masks (JSON list of the BOP challenge 2022) instead of running STORM")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from collections import Counter
    from dataclasses import replace

    from storm_core.bop.mask_results import write_mask_results
    from storm_core.config_io import to_yaml
    from storm_core.evaluation.masks import questions, with_absences
    from storm_core.evaluation.strata import find_benchmark
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.html import html_report
    from storm_core.report.mask_table import mask_figures
    from storm_core.report.results import stage_times, to_json

    if args.pred and (args.all_objects or args.dask or args.localizer_only):
        raise ConfigError("--pred runs nothing; remove --all-objects, --localizer-only and --dask")
    if args.every < 1:
        raise ConfigError(f"--every must be at least 1, got {args.every}")
    setup = prepare(args, "masks", every_model=args.all_objects, with_models=not args.pred)
    benchmark = find_benchmark(setup.dataset.root)
    dataset = with_absences(setup.dataset.every(args.every), benchmark, setup.config.objects)
    setup = replace(setup, dataset=dataset)
    asked = questions(dataset, benchmark, setup.config.objects, ask_all=args.all_objects,
                      ignored=ignored(args.ignore, [image.key for image in dataset.images]))
    if args.pred:
        scope = asked if benchmark is not None or setup.only_chosen else None
        outcomes, reused, records, estimates = _foreign(setup, Path(args.pred), scope)
    else:
        outcomes, reused, records, estimates = _own(setup, asked, register=not args.localizer_only)
        scope = asked
    results = run_head(setup, outcomes, reused)
    accept = float("-inf") if args.pred else setup.config.som.accept
    judged = _judged(setup, estimates, accept, results["skipped"], scope)
    results["masks"], results["objects"] = mask_figures(judged)
    # AP of a system that was told what is in the picture is not comparable with AP of one that was not.
    results["masks"]["presence_known"] = None if args.pred else not args.all_objects and benchmark is None
    results["registered"] = None if args.pred else not args.localizer_only
    results["predictions"] = args.pred or None
    _add_details(results, setup, records, judged, accept, benchmark)
    results["refusals"] = dict(Counter(r["reason"] for r in records if not r["found"]).most_common())
    results["stages_ms"] = stage_times([r["stage_ms"] for r in records])
    with whole_folder(setup.out) as folder:
        if not args.pred:
            write_mask_results(folder / "masks.json", estimates)
        write_contact_sheet(folder / "contact_sheet.png", dataset, estimates, accept, scope)
        (folder / "results.json").write_text(to_json(results))
        (folder / "config.yaml").write_text(to_yaml(setup.config))
        (folder / "report.html").write_text(html_report(
            results, pictures=worst_pictures(dataset, estimates, judged, accept), config_text=to_yaml(setup.config)))
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(to_json(results))
    print(mask_summary(results))
    say_what_is_special(results)
    print(f"\nreport {setup.out / 'report.html'}\nsheet  {setup.out / 'contact_sheet.png'}"
          + ("" if args.pred else f"\nmasks  {setup.out / 'masks.json'}"))
    return within_limits(args, results)


Work = tuple[list[dict[str, Any]], int, list[dict[str, Any]], "list[MaskEstimate]"]
"""Outcomes, how many of them were there already, records of the queries, masks."""


def _own(setup: Setup, asked: "Questions", *, register: bool) -> Work:
    from storm_core.evaluation.masks import estimates_of, plan
    from storm_core.evaluation.workers import do_jobs

    jobs = plan(setup.dataset, setup.config, setup.models, asked, register=register)
    outcomes, reused = do_jobs(jobs, setup.crew, setup.parts, unit="image")
    records = [record for outcome in outcomes for record in outcome["records"]]
    return outcomes, reused, records, estimates_of(records)


def _foreign(setup: Setup, file: Path, scope: "Questions | None") -> Work:
    """scope: what counts of each image; None = every model of the dataset."""
    from storm_core.bop.mask_results import read_mask_results
    from storm_core.report.belonging import remark_on_others

    data, estimates = setup.dataset, read_mask_results(file)
    every = data.all_names
    evaluated = {(*image.key, int(name)) for image in data.images
                 for name in (every if scope is None else scope[image.key])}
    remark = remark_on_others(file, estimates, evaluated, "an object that is evaluated in its image")
    if remark:
        print(f"storm: warning: {remark}", file=sys.stderr)
    wanted = {image.key for image in data.images}
    return [], 0, [], [e for e in estimates if (e.scene_id, e.im_id) in wanted]


def _judged(setup: Setup, estimates: "list[MaskEstimate]", accept: float, skipped: list[dict[str, Any]],
            asked: "Questions | None") -> "list[JudgedImage]":
    """Ground truth is opened only now, when everything has been predicted. asked: None = for all that is there."""
    from tqdm import tqdm

    from storm_core.report.mask_table import MaskTruth, judge_masks

    data = setup.dataset

    def truths() -> "Any":
        for image in tqdm(data.images, unit="image", disable=None, desc="compare"):
            yield MaskTruth(key=image.key, folder=Path(image.folder), targets=data.wanted.get(image.key, {}),
                            instances=data.annotations[image.scene_id].get(image.im_id, ()),
                            asked=None if asked is None else frozenset(int(name) for name in asked[image.key]))

    return judge_masks(truths(), estimates, accept, skipped.append)


def _add_details(results: dict[str, Any], setup: Setup, records: list[dict[str, Any]], judged: "list[JudgedImage]",
                 accept: float, benchmark: "Benchmark | None") -> None:
    """Confidence intervals, half visible targets, presence and strata."""
    from storm_core.evidence.texture import is_textured
    from storm_core.report.mask_presence import presence_figures, questions
    from storm_core.report.mask_targets import half_visible, mask_intervals, mask_strata, right_poses

    seed, registered = setup.config.seed, results["registered"]
    results["masks"]["ci95"] = mask_intervals(judged, seed)
    poses = right_poses(judged, records, setup.dataset.annotations, setup.models) if registered else None
    results["masks"]["half_visible"] = half_visible(judged, poses, seed)
    if setup.models:
        textured = {int(name): is_textured(model) for name, model in setup.models.items()}
        results["presence"] = presence_figures(questions(judged), accept, textured, seed)
    if benchmark is not None and all(scene.frames == 1 for scene in benchmark.scenes.values()):
        results["strata"] = mask_strata(judged, benchmark, accept)
