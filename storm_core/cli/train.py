"""`storm train`: fit what ships with the project again, on simulated scenes."""

import argparse

from storm_core.cli.train_failures import add_failures
from storm_core.cli.train_monitor import add_monitor
from storm_core.cli.train_refiner import add_refiner
from storm_core.cli.train_score import add_score
from storm_core.cli.train_som import add_som


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("train", help="fit what was learned again, on simulated scenes")
    models = parser.add_subparsers(metavar="MODEL", required=True)
    verifier = models.add_parser(
        "verifier",
        help="weights of the verifier (is this pose right?)",
        description=(
            "Search simulated scenes for objects that are there and objects that are not, and fit the logistic "
            "weights. Validation scenes use other objects. About 5 s per scene and core."
        ),
    )
    verifier.add_argument(
        "--scenes", type=int, default=48, metavar="N", help="training scenes; N/3 more validate (default: 48)"
    )
    verifier.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    verifier.add_argument("--ablation", action="store_true",
                          help="also fit without each feature, and compare on the held-out scenes")
    verifier.add_argument("--json", metavar="FILE", required=True, help="where weights and figures go")
    verifier.set_defaults(run=run)
    covariance = models.add_parser(
        "covariance",
        help="how large the tracker's errors are",
        description=(
            "Track the objects of a benchmark of sequences (storm simulate benchmark --suite tracking --split val) "
            "from their true first poses, and fit the error model behind the published covariances: likeliest "
            "parameters, scaled so that 95 % of the frames have the truth inside the 95 % ellipsoid. About 20 ms per "
            "frame and core."
        ),
    )
    covariance.add_argument("--bop-dir", metavar="DIR", required=True, help="the benchmark, of the split train or val")
    covariance.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    covariance.add_argument("--json", metavar="FILE", required=True, help="where parameters and figures go")
    covariance.set_defaults(run=run_covariance)
    add_failures(models)
    add_monitor(models)
    add_refiner(models)
    add_score(models)
    add_som(models)


def run_covariance(args: argparse.Namespace) -> int:
    import json
    from pathlib import Path

    from storm_core.cli.columns import aligned, cell
    from storm_core.errors import ConfigError
    from storm_core.report.atomic import whole_file
    from storm_core.tracking.uncertainty import DEFAULT
    from storm_core.training.covariance import GROUPS, Batch, collect, fit, report

    if args.workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {args.workers}")
    # Opened first: what cannot be written is said before hours of work, not after.
    with whole_file(args.json) as path:
        batch = Batch(collect(Path(args.bop_dir), args.workers))
        results = report(fit(batch, DEFAULT), DEFAULT, batch)
        path.write_text(json.dumps(results, indent=1))
    columns = (*GROUPS, "median_level", "frames")
    rows = [("in the 95 % ellipsoid", *columns)]
    rows += [(name, *(cell(figures[key]) for key in columns)) for name, figures in results["coverage_95"].items()]
    shipped = results["coverage_95_shipped"]["all"]
    rows.append(("all, as shipped", *(cell(shipped[key]) for key in columns)))
    print(aligned(rows))
    print("\n" + ", ".join(f"{name}={value}" for name, value in results["parameters"].items()))
    return 0


def run(args: argparse.Namespace) -> int:
    import json

    from storm_core.errors import ConfigError
    from storm_core.evidence.verifier import DEFAULT, FEATURES
    from storm_core.report.atomic import whole_file
    from storm_core.training.verifier import ablation, collect, fit, report, table_of

    if args.scenes < 3 or args.workers < 1:
        raise ConfigError(f"--scenes must be at least 3 and --workers at least 1, got {args.scenes} and {args.workers}")
    # Opened first: what cannot be written is said before hours of work, not after.
    with whole_file(args.json) as path:
        train = table_of(collect(args.scenes, validation=False, workers=args.workers))
        held_out = table_of(collect(args.scenes // 3, validation=True, workers=args.workers))
        fitted = fit(train)
        figures = report("shipped", DEFAULT, held_out) | report("fitted", fitted, held_out)
        text = json.dumps(
            {
                "features": FEATURES,
                "center": fitted.center,
                "weight": fitted.weight,
                "bias": fitted.bias,
                "train_rows": len(train.right),
                **figures,
                **({"ablation": ablation(train, held_out)} if args.ablation else {}),
            },
            indent=1,
        )
        path.write_text(text)
    print(text)
    return 0
