"""`storm train som`: the learned segmentation backend, on BOP data and rendered scenes."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.cli.arguments import add_json
from storm_core.errors import ConfigError

if TYPE_CHECKING:
    from storm_core.config import OnboardingConfig
    from storm_core.training.som.settings import TrainSettings
    from storm_core.training.som.source import Source


def add_som(models: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = models.add_parser("som", help="the learned segmentation backend (som.backend hsfa)", description=(
        "Train the HSFA network on BOP splits and on scenes rendered on the fly. Validation uses other objects. "
        "Several GPUs: torchrun --nproc_per_node N -m storm_core.cli.main train som ..."))
    parser.add_argument("--config", metavar="FILE", default="", help="YAML with the settings of run and network")
    parser.add_argument("--set", action="append", metavar="PATH=VALUE", default=[], dest="overrides",
                        help="one setting by dotted path, e.g. data.views=8 or network.preset=full; may be repeated")
    parser.add_argument("--bop", nargs="+", metavar="DIR", default=[], help="BOP splits, with models beside them")
    parser.add_argument("--synthetic", type=int, metavar="N", default=None,
                        help="procedural objects to render scenes of (default: 0)")
    parser.add_argument("--steps", type=int, metavar="N", default=None, help="optimiser steps (default: 80000)")
    parser.add_argument("--wandb", choices=("online", "offline", "disabled"), default=None,
                        help="Weights & Biases; disabled: TensorBoard when it is installed (default: disabled)")
    parser.add_argument("--out", metavar="DIR", default="results/som",
                        help="checkpoints, log and settings (default: results/som)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--cache", metavar="DIR", default="", help="cache of reference views (default: ~/.cache/storm)")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from contextlib import ExitStack

    from tqdm import tqdm

    from storm_core import __version__
    from storm_core.cli.arguments import assignments
    from storm_core.models.packages import require_packages
    from storm_core.report.results import machine
    from storm_core.training.som.settings import read_settings

    require_packages("storm train som", "torch", "safetensors")
    given = dict(assignments(args.overrides))
    given |= {path: value for path, value in (("data.bop", tuple(args.bop)), ("data.synthetic", args.synthetic),
                                              ("steps", args.steps), ("wandb", args.wandb)) if value not in ((), None)}
    settings, network = read_settings(args.config or None, given)
    out = Path(args.out)
    if not args.resume:
        _require_free(out)

    from storm_core.models.store import resolve
    from storm_core.som.hsfa.encoders import open_dino
    from storm_core.training.som.distributed import join
    from storm_core.training.som.run import train, write_summary

    backbone = None
    if network.encoder == "dinov2":
        backbone = open_dino(resolve(settings.backbone, "backbone"), network)
    crew = join(settings.device)
    try:
        training, validation, counts = _samples(settings, network, _onboarding(args.cache))
        with ExitStack() as stack:
            bar = stack.enter_context(tqdm(total=settings.steps, unit="step", disable=None if crew.leads else True))

            def progress(done: int, latest: dict[str, float]) -> None:
                bar.update(done - bar.n)
                shown = {k.split("/")[-1]: f"{v:.3f}" for k, v in latest.items() if k in ("loss/total", "val/iou")}
                if shown:
                    bar.set_postfix(shown, refresh=False)

            outcome = train(out, settings, network, training, validation, crew, resume=args.resume, backbone=backbone,
                            begun=lambda: _write_config(out, settings, network), progress=progress)
        if crew.leads:
            head: dict[str, Any] = {"command": "train som", "version": __version__, "machine": machine(),
                                    "seed": settings.seed, "objects": counts}
            # A finished run that was only looked at keeps what it found, and how long it took.
            if outcome.steps_now or not (out / "results.json").exists():
                write_summary(out, outcome, head)
            if args.json:
                from storm_core.report.atomic import whole_file

                with whole_file(args.json) as file:
                    file.write_text((out / "results.json").read_text())
            figures = ", ".join(f"{k.removeprefix('val/')} {v:.3f}" for k, v in outcome.figures.items())
            print(f"{outcome.steps} steps in {outcome.seconds:.0f} s; validation on {counts['validation']} other "
                  f"objects: {figures or 'none'}\nweights in {out / 'best.safetensors'}")
    finally:
        crew.leave()
    return 0


def _require_free(out: Path) -> None:
    """ConfigError when the folder holds a run, of this kind or another."""
    from dataclasses import fields

    from storm_core.training.run_folder import require_own_folder
    from storm_core.training.som.settings import TrainSettings
    from storm_core.training.som.state import FILE

    if (out / FILE).exists():
        raise ConfigError(f"{out} holds a run; go on with --resume, or give another --out")
    require_own_folder(out, "train som", FILE, [*(f.name for f in fields(TrainSettings)), "network"])


def _samples(settings: "TrainSettings", network: Any, onboarding: "OnboardingConfig") -> tuple[Any, Any, dict]:
    """Training and validation samples (None without validation objects), and how many objects each has."""
    from dataclasses import replace

    from storm_core.training.som.composites import CompositeSource
    from storm_core.training.som.run import text_vectors
    from storm_core.training.som.samples import Samples
    from storm_core.training.som.source import BopSource
    from storm_core.training.som.split import split_objects
    from storm_core.training.som.synthetic import SyntheticSource

    data = settings.data
    sources: list[Source] = [BopSource(Path(p), onboarding, data.min_visible) for p in data.bop]
    if not sources and not data.synthetic:
        raise ConfigError("nothing to train on; give --bop DIR or --synthetic N")
    train_keys, val_keys = frozenset[str](), frozenset[str]()
    if sources:
        known = [key for source in sources for key in source.keys]
        train_keys, val_keys = split_objects(known, data.val_objects, settings.seed)
    held_out: list[Source] = list(sources)
    if data.synthetic:
        # Scenes of their own for both: split by scenes, not only by objects.
        others = max(2, round(data.val_objects * data.synthetic)) if data.val_objects > 0 else 0
        kind = CompositeSource if data.composites else SyntheticSource
        made = kind(data.synthetic, settings.seed, data.width, onboarding)
        sources.append(made)
        train_keys |= frozenset(made.keys)
        if others:
            unseen = kind(others, settings.seed + 5_000, data.width, onboarding, prefix="validation")
            held_out.append(unseen)
            val_keys |= frozenset(unseen.keys)
    texts = text_vectors(settings, network, train_keys | val_keys)
    training = Samples(sources, train_keys, val_keys, settings, network, training=True, texts=texts)
    validation = None
    if val_keys:
        plain = replace(settings, data=replace(data, absent=max(data.absent, 0.2)))
        validation = Samples(held_out, val_keys, frozenset(), plain, network, training=False, texts=texts)
    return training, validation, {"training": len(train_keys), "validation": len(val_keys)}


def _onboarding(cache: str) -> "OnboardingConfig":
    from storm_core.config import OnboardingConfig

    return OnboardingConfig(cache=cache)


def _write_config(out: Path, settings: "TrainSettings", network: Any) -> None:
    """What `--config` reads back to the same run."""
    from dataclasses import asdict

    import yaml

    from storm_core.report.atomic import whole_file

    tree = asdict(settings)
    tree["data"]["bop"] = list(settings.data.bop)
    with whole_file(out / "config.yaml") as file:
        file.write_text(yaml.safe_dump({**tree, "network": asdict(network)}, sort_keys=False))
