"""Groups of options that several commands share, and what they mean."""

import argparse
import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from storm_core.config import StormConfig
from storm_core.config_io import read_config
from storm_core.errors import ConfigError


def add_config(parser: argparse.ArgumentParser) -> None:
    """--config and --set."""
    parser.add_argument("--config", metavar="FILE", default="",
                        help="parameter file (default: the defaults of config/storm.yaml)")
    parser.add_argument("--set", action="append", metavar="PATH=VALUE", default=[], dest="overrides",
                        help="one parameter by dotted path, e.g. monitor.healthy=0.6; may be repeated")


def add_models(parser: argparse.ArgumentParser) -> None:
    """--models, --mesh-unit and --objects, with --config and --set."""
    add_mesh_folder(parser)
    parser.add_argument("--objects", nargs="+", metavar="NAME", default=[],
                        help="names, file stems or BOP ids of the objects (default: all in the models folder)")
    add_config(parser)


def add_mesh_folder(parser: argparse.ArgumentParser) -> None:
    """--models and --mesh-unit."""
    parser.add_argument("--models", metavar="DIR", default="",
                        help="folder with meshes: BOP models folder, or .ply/.obj/.stl/.glb files "
                             "(default: from --config)")
    parser.add_argument("--mesh-unit", choices=("auto", "m", "mm", "cm", "in"), default=None,
                        help="unit of the meshes (default: mm for BOP models, otherwise guessed from their size)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json FILE."""
    parser.add_argument("--json", metavar="FILE", default="", help="write the numbers to this file")


def add_seed(parser: argparse.ArgumentParser, of: str = "everything random") -> None:
    """--seed N, for commands without a configuration."""
    parser.add_argument("--seed", type=seed_number, metavar="N", default=0, help=f"seed of {of} (default: 0)")


def add_config_seed(parser: argparse.ArgumentParser) -> None:
    """--seed N, which `config_from` puts into the configuration."""
    parser.add_argument("--seed", type=seed_number, metavar="N", default=None,
                        help="seed of everything random (default: seed of the parameter file, 0 without one)")


def seed_number(text: str) -> int:
    """A seed, for `type` of an argument: a whole number that is not negative."""
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if seed < 0:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0, got {text!r}")
    return seed


def config_from(args: argparse.Namespace) -> StormConfig:
    """The configuration that the options of `add_models`, `add_config` and `add_config_seed` describe.

    Raises:
      ConfigError: the file or an assignment is wrong (names the dotted path).
    """
    given: dict[str, Any] = {}
    for option, path in (("models", "models"), ("objects", "objects"), ("mesh_unit", "mesh_unit")):
        value = getattr(args, option, None)
        if value:
            given[path] = value
    if getattr(args, "seed", None) is not None:  # 0 is a seed as well
        given["seed"] = args.seed
    return read_config(args.config or None, given | dict(assignments(args.overrides)))


def require_models(config: StormConfig) -> StormConfig:
    """The configuration, or ConfigError when it names no meshes."""
    if not config.models:
        raise ConfigError("no meshes given; use --models DIR or set models in the parameter file")
    return config


def require_rate(rate_hz: float) -> None:
    """Raise ConfigError for a --rate that is no number of frames per second."""
    if not 0 < rate_hz < math.inf:  # nan is not between
        raise ConfigError(f"--rate must be positive and finite, got {rate_hz}")


def assignments(texts: Sequence[str]) -> Mapping[str, Any]:
    """{'dotted.path': value} from PATH=VALUE texts; values are read as YAML."""
    out: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set needs PATH=VALUE, got {text!r}")
        try:
            out[path] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {path}: cannot read the value {value!r}") from error
    return out
