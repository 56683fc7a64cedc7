"""`storm train monitor`: the learned verifiers of TOM."""

import argparse
from typing import TYPE_CHECKING

from storm_core.cli.arguments import assignments

if TYPE_CHECKING:
    from storm_core.training.monitor_config import MonitorTraining
    from storm_core.training.monitor_loop import Task


def add_monitor(models: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = models.add_parser("monitor", help="the learned verifiers of the failure monitor", description=(
        "Train the small RGB-D verifier (data.source=records, the default) on labelled poses of procedural objects: "
        "right, shifted, turned, twins, flips, look-alikes, neighbours; occluded, blurred, without depth, under other "
        "lamps. Or the published pair model (data.source=pairs, data.pairs=FILE) on picture pairs: img1, img2 and "
        "label in every line; frozen DINOv2, attention block. Validation uses other objects. Needs torch; the small "
        "network runs without. Checkpoint, weights and log.jsonl go to training.out."))
    parser.add_argument("--config", metavar="FILE", default="",
                        help="YAML with the sections data, pair and training (default: none)")
    parser.add_argument("--set", action="append", metavar="PATH=VALUE", default=[], dest="overrides",
                        help="one value by dotted path, e.g. training.steps=500; may be repeated")
    parser.add_argument("--resume", action="store_true", help="continue the run in training.out")
    parser.add_argument("--wandb-mode", choices=("online", "offline", "disabled"), default="disabled",
                        help="log to Weights & Biases, too (default: disabled: to TensorBoard, if that is installed)")
    parser.add_argument("--json", metavar="FILE", default="", help="write the figures of the last validation here")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json

    from storm_core.config import flatten
    from storm_core.models.devices import require_torch_device
    from storm_core.models.packages import require_packages
    from storm_core.report.atomic import whole_file
    from storm_core.training.monitor_config import read_training

    config = read_training(args.config or None, dict(assignments(args.overrides)))
    require_packages("storm train monitor", "torch", *(("transformers", "safetensors")
                                                       if config.data.source == "pairs" else ()))
    from storm_core.training.monitor_loop import train

    # Before records are made or pictures described, which takes longer than to say what is missing.
    require_torch_device(config.training.device, "training.device")
    task = _pairs(config) if config.data.source == "pairs" else _crops(config)
    outcome = train(task, config.training, flatten(config), resume=args.resume, wandb=args.wandb_mode)
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(json.dumps({"command": "train monitor", "step": outcome.step, "seconds": outcome.seconds,
                                        "steps_now": outcome.steps_now, "validation": outcome.validation}, indent=1))
    for name, value in outcome.validation.items():
        print(f"{name:>18}  {value:.4f}")
    print(f"\nstep {outcome.step} ({outcome.steps_now} now, {outcome.seconds:.0f} s); weights {outcome.weights}")
    return 0


def _crops(config: "MonitorTraining") -> "Task":
    from pathlib import Path

    from storm_core.training.monitor_crops import CropTask
    from storm_core.training.monitor_records import read_records, write_records

    data, seed, folder = config.data, config.training.seed, Path(config.data.records).expanduser()
    for split, scenes in (("val", data.val_scenes), ("train", data.scenes)):
        write_records(folder, split, seed, scenes, workers=data.workers)
    return CropTask(read_records(folder, "train", seed, data.scenes), read_records(folder, "val", seed,
                                                                                   data.val_scenes),
                    batch=config.training.batch, seed=seed)


def _pairs(config: "MonitorTraining") -> "Task":
    from pathlib import Path

    import torch

    from storm_core.models.store import resolve
    from storm_core.monitor.pair_model import PairModel, open_backbone
    from storm_core.training.monitor_pairs import PairTask, read_pairs, split_pairs

    training, held_out = split_pairs(read_pairs(Path(config.data.pairs).expanduser()), config.data.val_share)
    torch.manual_seed(config.training.seed)
    model = PairModel(config.pair, open_backbone(resolve(config.pair.backbone, "pair.backbone")))
    return PairTask(model.to(config.training.device), training, held_out, size=config.data.size,
                    batch=config.training.batch, seed=config.training.seed)
