"""`storm evaluate score`: the score model on every target of a BOP dataset, per selection rule and kind of mask."""

import argparse

from storm_core.cli.arguments import add_config_seed, add_json
from storm_core.cli.evaluate.dataset_run import add_dataset_options
from storm_core.cli.limits import add_limits, within_limits


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("score", help="the score model: recall per selection rule, mask and number of steps",
                              description=(
        "Sample poses of every target from its mask and say how often each selection rule is right: ADD below 0.1 "
        "diameters, ADD-S for objects with declared symmetries. A target without a mask or a pose counts as wrong. By "
        "shape: ADD-S also where only a print breaks the symmetry. With depth: the targets of which depth shows at "
        "least a tenth of the silhouette. "
        "score_model.particles, sampler, polish, weights, device: --set."))
    add_dataset_options(parser)
    parser.add_argument("--masks", nargs="+", choices=("gt", "som", "disturbed"), default=["gt"],
                        help="gt: visible masks of the truth; som: found by STORM; disturbed: those of the truth "
                             "grown, shrunk, shifted, bitten (default: gt)")
    parser.add_argument("--mask-noise", type=float, metavar="X", default=1.0,
                        help="strength of the disturbance (default: 1)")
    parser.add_argument("--steps", nargs="+", type=int, metavar="N", default=[],
                        help="numbers of sampler steps to compare (default: score_model.steps)")
    parser.add_argument("--method", choices=("network", "analytic"), default="network",
                        help="network: the trained one, from uniform rotations; analytic: no weights, from viewpoint "
                             "hypotheses that the mask allows (default: network)")
    parser.add_argument("--depth-only", action="store_true",
                        help="without the colours of the models: only depth chooses between particles")
    parser.add_argument("--plot", metavar="FILE", default="",
                        help="PNG with recall and time over the number of steps")
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
    from storm_core.errors import ConfigError
    from storm_core.evaluation.dataset import open_dataset
    from storm_core.evaluation.score import cases, outcome_of, recalls, without_colors
    from storm_core.pipeline.build import build_mask_sampler, build_models
    from storm_core.report.atomic import whole_file
    from storm_core.report.results import results_head, to_json
    from storm_core.score_model.weights import load_weights

    if any(n < 1 for n in args.steps):
        raise ConfigError(f"--steps must be positive, got {min(args.steps)}")
    config = config_from(args)
    dataset = open_dataset(Path(args.bop_dir), models=config.models, scenes=args.scene, objects=config.objects,
                           all_annotations=args.all_annotations, max_images=args.max_images)
    config = replace(config, models=str(dataset.models), objects=dataset.names,
                     score_model=replace(config.score_model, method=args.method))
    models = build_models(config)
    weights = load_weights(config.score_model.weights) if args.method == "network" else None
    steps = args.steps or [config.score_model.steps]
    seen = {name: without_colors(m) for name, m in models.items()} if args.depth_only else models
    samplers = {n: build_mask_sampler(replace(config, score_model=replace(config.score_model, steps=n)), seen)
                for n in steps}
    runs: dict[str, dict[str, object]] = {}
    for masks in args.masks:
        rows: dict[int, list[dict[str, object]]] = {n: [] for n in steps}
        source = cases(dataset, config, models, masks, strength=args.mask_noise)
        for case in tqdm(source, total=len(dataset.targets), desc=f"{masks} masks", unit="target", disable=None):
            for n, sampler in samplers.items():
                begin = time.perf_counter()
                result = None if case.mask is None else sampler.sample(case.frame, case.name, case.mask)
                rows[n].append(outcome_of(case, models[case.name], result, time.perf_counter() - begin))
        runs[masks] = {str(n): recalls(part, config.seed) | {"rows": part} for n, part in rows.items()}
    head = results_head("evaluate score", __version__, path=args.bop_dir, sha256=dataset.sha256,
                        frames=len(dataset.images), seed=config.seed)
    results = head | {"method": args.method, "depth_only": args.depth_only,
                      "weights_sha256": None if weights is None else weights.sha256,
                      "particles": config.score_model.particles, "sampler": config.score_model.sampler,
                      "polish": config.score_model.polish, "device": config.score_model.device, "score": runs}
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(to_json(results))
    print(_table(runs))
    if args.plot:
        from storm_core.report.score_curves import plot_steps

        with whole_file(args.plot) as file:
            plot_steps(file, runs)
    return within_limits(args, results)


def _table(runs: "dict[str, dict[str, object]]") -> str:
    """Recall in percent per kind of mask, steps and object; the last columns relate to all targets."""
    from storm_core.cli.columns import aligned, cell

    rules = next(iter(next(iter(runs.values())).values()))["recall"]
    rows = [("masks", "steps", "object", *rules, "ms p50")]
    for masks, by_steps in runs.items():
        for n, figures in by_steps.items():
            for name, part in figures["objects"].items():
                rows.append((masks, n, name, *(cell(100 * v) for v in part.values()), ""))
            rows.append((masks, n, "all", *(cell(100 * v) for v in figures["recall"].values()),
                         cell(figures["ms_p50"])))
            rows.append((masks, n, "all, by shape", *(cell(100 * v) for v in figures["recall_shape"].values()), ""))
            rows.append((masks, n, "of oracle, by shape", *(cell(None if v is None else 100 * v)
                                                  for v in figures["of_oracle_shape"].values()), ""))
            if figures["measured"] is not None:
                part = figures["measured"]
                rows.append((masks, n, f"{part['targets']} with depth, by shape",
                             *(cell(100 * v) for v in part["recall_shape"].values()), ""))
    return aligned(rows)
