"""`storm train refiner` and `storm train scorer`: the learned render-and-compare networks, on procedural objects."""

import argparse
from functools import partial

from storm_core.cli.arguments import assignments

_TITLES = {"refiner": "how a hypothesis must move, from its render and the picture",
           "scorer": "which hypothesis is best, from their renders and the picture"}


def add_refiner(models: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for kind, title in _TITLES.items():
        parser = models.add_parser(
            kind,
            help=title,
            description=(
                f"Train the network that says {title}, on procedural objects rendered on the fly. --config is a YAML "
                f"file with the sections model, data and training (config/refiner/{kind}.yaml is the "
                "recipe). Needs torch. Checkpoints, weights.safetensors, log.jsonl and config.yaml go to "
                "training.out; a run that was cut short, or that training.minutes ended, continues with --resume at "
                "the step where it was."
            ),
        )
        parser.add_argument("--config", metavar="FILE", default="",
                            help="sections model, data, training (default: none)")
        parser.add_argument("--set", action="append", metavar="PATH=VALUE", default=[], dest="overrides",
                            help="one value by dotted path, e.g. training.steps=500; may be repeated")
        parser.add_argument("--resume", action="store_true", help="continue the run in training.out")
        parser.add_argument("--wandb-mode", choices=("online", "offline", "disabled"), default="disabled",
                            help="log to Weights & Biases, too: to its server, or to a local folder "
                                 "(default: disabled: to TensorBoard, if that is installed)")
        parser.add_argument("--json", metavar="FILE", default="", help="write the figures of the last validation here")
        parser.set_defaults(run=partial(run, kind=kind))


def run(args: argparse.Namespace, kind: str) -> int:
    import json

    from storm_core.report.atomic import whole_file
    from storm_core.training.refiner_config import read_refiner_training
    from storm_core.training.slices import require_torch

    config = read_refiner_training(args.config or None, dict(assignments(args.overrides)))
    require_torch(kind)
    from storm_core.training.refiner import train

    outcome = train(config, kind, resume=args.resume, wandb=args.wandb_mode)
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(json.dumps({"command": f"train {kind}", "step": outcome.step,
                                        "steps_now": outcome.steps_now, "seconds": outcome.seconds,
                                        "validation": outcome.validation}, indent=1))
    for name, value in outcome.validation.items():
        print(f"{name:>18}  {value:.4f}")
    print(f"\nstep {outcome.step} of {config.training.steps} ({outcome.steps_now} now, {outcome.seconds:.0f} s); "
          f"weights {outcome.weights}")
    return 0
