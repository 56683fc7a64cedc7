"""`storm evaluate refinement`: registrations with and without the score model, and the modes that it finds."""

import argparse

from storm_core.cli.arguments import add_config_seed, add_json
from storm_core.cli.evaluate.dataset_run import add_dataset_options
from storm_core.cli.limits import add_limits, within_limits


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("refinement", help="registrations with and without the score model; its modes",
                              description=(
        "Register every object that an image's targets name, refine it as the running system does, and compare: "
        "median error of the object's centre, of the rotation (over declared symmetries) and MSSD, success (MSSD below "
        "0.1 diameters; a target that is not registered is a failure), with 95 % intervals of the difference. Modes "
        "agree when each is a declared symmetry of a true pose and each declared symmetry has one."))
    add_dataset_options(parser)
    parser.add_argument("--init", metavar="FILE", default="",
                        help="BOP CSV of poses to refine instead of registering; the best score per image and object")
    parser.add_argument("--every", type=int, metavar="N", default=1,
                        help="only every N-th image: neighbours of a sequence look alike (default: 1)")
    add_config_seed(parser)
    add_json(parser)
    add_limits(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import time
    from dataclasses import replace
    from pathlib import Path

    from tqdm import tqdm

    from storm_core import __version__
    from storm_core.cli.arguments import config_from
    from storm_core.cli.refine_starts import file_start, search_start
    from storm_core.errors import ConfigError
    from storm_core.evaluation.dataset import open_dataset
    from storm_core.evaluation.refinement import judged_modes, missed, pose_errors, summary, targets
    from storm_core.pipeline.build import build_models, build_score_refiner
    from storm_core.report.atomic import whole_file
    from storm_core.report.results import results_head, to_json

    if args.every < 1:
        raise ConfigError(f"--every must be positive, got {args.every}")
    config = config_from(args)
    dataset = open_dataset(Path(args.bop_dir), models=config.models, scenes=args.scene, objects=config.objects,
                           all_annotations=args.all_annotations, max_images=args.max_images)
    config = replace(config, models=str(dataset.models), objects=dataset.names)
    models = build_models(config)
    start = (file_start(Path(args.init), Path(config.models), list(models)) if args.init
             else search_start(config, models))
    refiner = build_score_refiner(config, models)
    rows = []
    for image, frame, name, truths in tqdm(targets(dataset, args.every), unit="target", disable=None):
        registration = start(image.key, name, frame)
        if registration is None:
            rows.append(missed(image, name, "not registered"))
            continue
        begin = time.perf_counter()
        result = refiner.refine(frame, registration)
        seconds = time.perf_counter() - begin
        model = models[name]
        rows.append({
            "image": f"{image.scene_id}/{image.im_id}", "object": name, "found": True, "reason": "",
            "before": pose_errors(model, registration.cam_from_obj, truths),
            "after": pose_errors(model, result.registration.cam_from_obj, truths), "accepted": result.accepted,
            "ms": 1e3 * seconds, "modes": judged_modes(model, result, truths)})
    figures = summary(rows, models, config.seed)
    head = results_head("evaluate refinement", __version__, path=args.bop_dir, sha256=dataset.sha256,
                        frames=len(dataset.images[::args.every]), seed=config.seed)
    results = head | {"method": config.score_model.method, "particles": config.score_model.particles,
                      "steps": config.score_model.steps, "refinement": figures, "rows": rows}
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(to_json(results))
    print(_table(figures))
    return within_limits(args, results)


def _table(figures: "dict[str, object]") -> str:
    from storm_core.cli.columns import aligned, cell

    rows = [("figure", "before", "after", "difference", "95 % interval")]
    for name in ("success", "shift_mm", "turn_deg", "mssd_mm"):
        if name in figures:
            pair = figures[name]
            span = pair["interval_difference"]
            rows.append((name, cell(pair["before"]), cell(pair["after"]), cell(pair["difference"]),
                         "-" if span is None else f"{span[0]:+.3f} to {span[1]:+.3f}"))
    lines = [aligned(rows), f"\n{figures['targets']} targets, {figures['registered']} registered, "
                            f"{figures['accepted']} moved by the refinement"]
    for key, what in (("modes_agree", "all right poses"), ("modes_agree_symmetric", "those of symmetric objects")):
        if figures.get(key, {}).get("share") is not None:
            lines.append(f"modes agree with the declared symmetries in {100 * figures[key]['share']:.1f} % of "
                         f"{figures[key]['targets']} ({what})")
    return "\n".join(lines)
