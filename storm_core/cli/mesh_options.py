"""What `storm onboard`, `storm render views` and `storm describe` share: meshes named one by one."""

import argparse
from typing import TYPE_CHECKING

from storm_core.cli.arguments import add_config, add_json
from storm_core.errors import ConfigError

if TYPE_CHECKING:
    from storm_core.config import StormConfig
    from storm_core.geometry.mesh import ObjectModel


def add_mesh_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("meshes", nargs="+", metavar="MESH",
                        help="mesh files (.ply, .obj, .stl, .glb) or folders with meshes (BOP models folder)")
    parser.add_argument("--mesh-unit", choices=("auto", "m", "mm", "cm", "in"), default=None,
                        help="unit of the meshes (default: mm for BOP models, otherwise guessed from their size)")
    add_config(parser)
    add_json(parser)


def meshes_of(args: argparse.Namespace, config: "StormConfig") -> "dict[str, ObjectModel]":
    """All models under distinct names.

    Raises:
      MeshError: one cannot be read.
      ConfigError: two have the same name.
    """
    from storm_core.geometry.mesh_io import load_models

    out: dict[str, ObjectModel] = {}
    for place in args.meshes:
        for name, model in load_models(place, unit=config.mesh_unit, max_faces=config.onboarding.max_faces).items():
            if name in out:
                raise ConfigError(f"two meshes are named {name!r}, the second in {place}; rename one of the files")
            out[name] = model
    return out


def number_of(name: str, position: int) -> int:
    """BOP id of an object: the number in its name, otherwise its position from 1."""
    digits = name.removeprefix("obj_")
    return int(digits) if digits.isdigit() else position
