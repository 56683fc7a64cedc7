"""`storm train score`: the noise-conditioned score network, by denoising score matching."""

import argparse

from storm_core.cli.arguments import assignments


def add_score(models: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = models.add_parser(
        "score",
        help="the score network, on procedural objects or on a BOP dataset",
        description=(
            "Train the noise-conditioned score network. --config is a YAML file with the sections model, data and "
            "training (config/score/*.yaml are examples); without, procedural objects as for the shipped weights. "
            "Needs torch. Checkpoints, weights.npz, log.jsonl and config.yaml go to training.out; a run that was cut "
            "short, or that training.minutes ended, continues with --resume at the step where it was."
        ),
    )
    parser.add_argument("--config", metavar="FILE", default="", help="sections model, data, training (default: none)")
    parser.add_argument("--set", action="append", metavar="PATH=VALUE", default=[], dest="overrides",
                        help="one value by dotted path, e.g. training.steps=500; may be repeated")
    parser.add_argument("--resume", action="store_true", help="continue the run in training.out")
    parser.add_argument("--wandb-mode", choices=("online", "offline", "disabled"), default="disabled",
                        help="log to Weights & Biases, too: to its server, or to a local folder "
                             "(default: disabled: to TensorBoard, if that is installed)")
    parser.add_argument("--json", metavar="FILE", default="", help="write the figures of the last validation here")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json

    from storm_core.report.atomic import whole_file
    from storm_core.training.score import train
    from storm_core.training.score_config import read_training
    from storm_core.training.slices import require_torch

    config = read_training(args.config or None, dict(assignments(args.overrides)))
    require_torch("score network")
    outcome = train(config, resume=args.resume, wandb=args.wandb_mode)
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(json.dumps({"command": "train score", "step": outcome.step, "steps_now": outcome.steps_now,
                                        "seconds": outcome.seconds, "validation": outcome.validation}, indent=1))
    for name, value in outcome.validation.items():
        print(f"{name:>8}  {value:.4f}")
    print(f"\nstep {outcome.step} of {config.training.steps} ({outcome.steps_now} now, {outcome.seconds:.0f} s); "
          f"weights {outcome.weights}")
    return 0
