"""`storm evaluate registration`: every target of a BOP dataset registered once, from a fresh search or a given mask."""

import argparse
from collections import Counter

from storm_core.cli.evaluate.dataset_run import (
    add_pose_figures,
    add_run_options,
    pose_table,
    prepare,
    run_head,
    say_what_is_special,
    stratum_table,
)
from storm_core.cli.limits import within_limits


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("registration", help="register every target of a BOP dataset once", description=(
        "Register every target of a BOP dataset once, each image on its own. A target without a pose, for whatever "
        "reason, counts as a failure. As many instances of an object are searched as the targets list."))
    add_run_options(parser)
    parser.add_argument("--masks", choices=("som", "gt"), default="som",
                        help="som: STORM searches the object; gt: the dataset's visible mask says where each instance "
                             "is, which measures registration alone (default: som)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_core.config_io import to_yaml
    from storm_core.evaluation.pose_files import estimates_of, pictures, write_pose_files
    from storm_core.evaluation.registration import plan
    from storm_core.evaluation.workers import do_jobs
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.html import html_report
    from storm_core.report.pose_evaluation import write_target_table
    from storm_core.report.results import stage_times, to_json

    setup = prepare(args, "registration")
    data = setup.dataset
    jobs = plan(data, setup.config, setup.models, given_masks=args.masks == "gt")
    outcomes, reused = do_jobs(jobs, setup.crew, setup.parts, unit="image")
    records = [record for outcome in outcomes for record in outcome["records"]]
    estimates = estimates_of(records)
    results = run_head(setup, outcomes, reused) | {"masks_from": args.masks}
    judged = add_pose_figures(results, setup, estimates)
    results["refusals"] = dict(Counter(r["reason"] for r in records if not r["found"]).most_common())
    results["stages_ms"] = stage_times([r["stage_ms"] for r in records])
    with whole_folder(setup.out) as folder:
        write_pose_files(folder, data.scenes, estimates, records)
        (folder / "results.json").write_text(to_json(results))
        (folder / "config.yaml").write_text(to_yaml(setup.config))
        write_target_table(folder / "targets.csv", judged)
        (folder / "report.html").write_text(html_report(
            results, errors={str(i): targets for i, targets in judged.items()}, config_text=to_yaml(setup.config),
            pictures=pictures(data.images, records, setup.models)))
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(to_json(results))
    print(pose_table(results))
    if results["refusals"]:
        print("no pose: " + ", ".join(f"{reason} {count}" for reason, count in results["refusals"].items()))
    if "total" in results["stages_ms"]:
        print("  ".join(f"{stage} p50 {q['p50']:.0f} ms p95 {q['p95']:.0f} ms"
                        for stage, q in results["stages_ms"].items()))
    print(stratum_table(results), end="")
    say_what_is_special(results)
    print(f"\nreport {setup.out / 'report.html'}\nposes  {setup.out / 'poses.csv'}")
    return within_limits(args, results)
