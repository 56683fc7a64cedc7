"""`storm evaluate masks`: SOM on every target of a BOP dataset, or the masks of another system."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.cli.columns import aligned, cell
from storm_core.cli.evaluate.dataset_run import (
    Setup,
    add_run_options,
    prepare,
    run_head,
    say_what_is_special,
)
from storm_core.cli.limits import within_limits
from storm_core.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from storm_core.bop.mask_results import MaskEstimate
    from storm_core.report.mask_table import JudgedImage

PICTURES = 9


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("masks", help="segment every target of a BOP dataset, or score masks", description=(
        "Segment every target of a BOP dataset, each image on its own, and compare with the visible masks. A target "
        "without a mask counts as IoU 0. One instance per object is searched."))
    add_run_options(parser)
    parser.add_argument("--all-objects", action="store_true",
                        help="look for every model in every image, so that finding what is not there counts "
                             "(default: only for the objects that are targets of the image)")
    parser.add_argument("--pred", metavar="FILE", default="",
                        help="score these masks (JSON list of the BOP challenge 2022) instead of running STORM")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from collections import Counter

    from storm_core.bop.mask_results import write_mask_results
    from storm_core.config_io import to_yaml
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.html import html_report
    from storm_core.report.mask_table import mask_figures
    from storm_core.report.results import stage_times, to_json

    if args.pred and (args.all_objects or args.dask):
        raise ConfigError("--pred runs nothing; remove --all-objects and --dask")
    setup = prepare(args, "masks", every_model=args.all_objects, with_models=not args.pred)
    if args.pred:
        outcomes, reused, records, estimates = _foreign(setup, Path(args.pred))
    else:
        outcomes, reused, records, estimates = _own(setup, ask_all=args.all_objects)
    results = run_head(setup, outcomes, reused)
    accept = float("-inf") if args.pred else setup.config.som.accept
    judged = _judged(setup, estimates, accept, results["skipped"])
    results["masks"], results["objects"] = mask_figures(judged)
    # AP of a system that was told what is in the picture is not comparable with AP of one that was not.
    results["masks"]["presence_known"] = None if args.pred else not args.all_objects
    results["predictions"] = args.pred or None
    results["refusals"] = dict(Counter(r["reason"] for r in records if not r["found"]).most_common())
    results["stages_ms"] = stage_times([r["stage_ms"] for r in records])
    with whole_folder(setup.out) as folder:
        if not args.pred:
            write_mask_results(folder / "masks.json", estimates)
        (folder / "results.json").write_text(to_json(results))
        (folder / "config.yaml").write_text(to_yaml(setup.config))
        (folder / "report.html").write_text(html_report(
            results, pictures=_pictures(setup, estimates, judged, accept), config_text=to_yaml(setup.config)))
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(to_json(results))
    print(_table(results))
    say_what_is_special(results)
    print(f"\nreport {setup.out / 'report.html'}" + ("" if args.pred else f"\nmasks  {setup.out / 'masks.json'}"))
    return within_limits(args, results)


Work = tuple[list[dict[str, Any]], int, list[dict[str, Any]], "list[MaskEstimate]"]
"""Outcomes, how many of them were there already, records of the queries, masks."""


def _own(setup: Setup, *, ask_all: bool) -> Work:
    from storm_core.evaluation.masks import estimates_of, plan
    from storm_core.evaluation.workers import do_jobs

    jobs = plan(setup.dataset, setup.config, setup.models, ask_all=ask_all)
    outcomes, reused = do_jobs(jobs, setup.crew, setup.parts, unit="image")
    records = [record for outcome in outcomes for record in outcome["records"]]
    return outcomes, reused, records, estimates_of(records)


def _foreign(setup: Setup, file: Path) -> Work:
    from storm_core.bop.mask_results import read_mask_results

    wanted = {image.key for image in setup.dataset.images}
    return [], 0, [], [e for e in read_mask_results(file) if (e.scene_id, e.im_id) in wanted]


def _judged(setup: Setup, estimates: "list[MaskEstimate]", accept: float,
            skipped: list[dict[str, Any]]) -> "list[JudgedImage]":
    """Ground truth is opened only now, when everything has been predicted."""
    from tqdm import tqdm

    from storm_core.report.mask_table import MaskTruth, judge_masks

    data = setup.dataset
    chosen = {int(name) for name in data.names} if setup.only_chosen else None

    def truths() -> "Any":
        for image in tqdm(data.images, unit="image", disable=None, desc="compare"):
            yield MaskTruth(key=image.key, folder=Path(image.folder), targets=data.wanted[image.key],
                            instances=data.annotations[image.scene_id].get(image.im_id, ()))

    return judge_masks(truths(), estimates, accept, skipped.append, chosen)


def _pictures(setup: Setup, estimates: "list[MaskEstimate]", judged: "list[JudgedImage]",
              accept: float) -> "list[tuple[str, NDArray[np.uint8]]]":
    """(caption, tinted image) of the images with the worst IoU."""
    from storm_core.errors import DatasetError
    from storm_core.evaluation.images import read_image
    from storm_core.report.masks import tint

    worst: dict[tuple[int, int], float] = {}
    for j in judged:
        for iou in j.ious:
            worst[j.key] = min(worst.get(j.key, 1.0), iou)
    by_key = {image.key: image for image in setup.dataset.images}
    out = []
    for key in sorted(worst, key=lambda k: worst[k])[:PICTURES]:
        try:
            frame = read_image(by_key[key])
        except DatasetError:
            continue
        shown = [(f"{e.obj_id} p={e.score:.2f}", e.mask()) for e in estimates
                 if (e.scene_id, e.im_id) == key and e.score >= accept and any(e.counts[1::2])]
        out.append((f"scene {key[0]} image {key[1]}, worst IoU {worst[key]:.2f}", tint(frame.rgb, shown)))
    return out


def _table(results: Mapping[str, Any]) -> str:
    columns = {"targets": "targets", "found": "found", "mean IoU": "iou_mean", "AP (BOP)": "ap_bop",
               "AP (STORM)": "ap_storm", "false": "false_accepts"}
    every = {**results["masks"], "targets": results["masks"]["n"],
             "found": sum(f["found"] for f in results["objects"].values())}
    rows = [("object", *columns)] + [(name, *(cell(f[key]) for key in columns.values()))
                                     for name, f in [*results["objects"].items(), ("all", every)]]
    text = aligned(rows)
    if results["masks"]["presence_known"]:
        text += "\nAP (BOP) here knows which objects are in the picture; --all-objects measures without that"
    if "localize" in results["stages_ms"]:
        q = results["stages_ms"]["localize"]
        text += f"\nlocalize p50 {q['p50']:.0f} ms p95 {q['p95']:.0f} ms per object"
    return text
