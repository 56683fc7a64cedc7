"""From .msg files to C and Python sources, by the rosidl generators that came with rclpy."""

import contextlib
import importlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from storm_core.errors import SetupError
from storm_ros.interfaces.definition import InterfacePackage

_TYPESUPPORTS = ("rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c")


@dataclass(frozen=True)
class GeneratedPackage:
    """Sources of one package, one folder per library because two generators emit equal file names.

    Attributes:
      package: what it was generated from.
      root: work folder; `<library>/<package>/…` holds the sources of a library, headers included.
      idl: folder with .idl and .json files for share/.
    """

    package: InterfacePackage
    root: Path
    idl: Path

    def folder(self, library: str) -> Path:
        """Root of the generated tree of one library (`rosidl_generator_c`, …)."""
        return self.root / library / self.package.name


def generate(package: InterfacePackage, dependencies: Mapping[str, Path], prefix: Path, work: Path) -> GeneratedPackage:
    """Run all generators.

    Args:
      package: the definitions.
      dependencies: share folders of the installed interface packages it needs.
      prefix: where the generators' templates are installed (below share/).
      work: empty folder to write into.
    """
    # The generators announce every file on stdout; nobody who installs wants to read that.
    with contextlib.redirect_stdout(io.StringIO()):
        return _generate(package, dependencies, prefix, work)


def _generate(package: InterfacePackage, dependencies: Mapping[str, Path], prefix: Path,
              work: Path) -> GeneratedPackage:
    out = GeneratedPackage(package, work, work / "idl" / package.name)
    out.idl.mkdir(parents=True)
    convert = importlib.import_module("rosidl_adapter").convert_to_idl
    for message in package.messages:
        convert(package.folder, package.name, message, out.idl)
    common = {
        "package_name": package.name,
        "idl_tuples": [f"{out.idl}:{m.with_suffix('.idl')}" for m in package.messages],
        "ros_interface_files": [str(package.folder / m) for m in package.messages],
        "ros_interface_dependencies": [f"{d}:{i}" for d, share in dependencies.items() for i in share.glob("*/*.idl")],
        "include_paths": [f"{d}:{share}" for d, share in dependencies.items()],
        "type_description_tuples": [f"{m.with_suffix('.idl')}:{out.idl / m.with_suffix('.json')}"
                                    for m in package.messages],
        "target_dependencies": [],
    }

    def arguments(generator: str, folder: Path, templates: bool = True) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        resource = prefix / "share" / generator / "resource"
        if templates and not resource.is_dir():
            raise SetupError(f"templates of {generator} are missing ({resource}); reinstall ros-rclpy[fastrtps]")
        path = work / f"{generator}.json"
        path.write_text(json.dumps(common | {"output_dir": str(folder), "template_dir": str(resource)}))
        return str(path)

    def run(generator: str, function: str, *extra: list[str]) -> None:
        getattr(importlib.import_module(generator), function)(arguments(generator, out.folder(generator)), *extra)

    hashes = importlib.import_module("rosidl_generator_type_description")
    hashes.generate_type_hash(arguments("rosidl_generator_type_description", out.idl, templates=False))
    run("rosidl_generator_c", "generate_c")
    run("rosidl_typesupport_fastrtps_c", "generate_typesupport_fastrtps_c")
    run("rosidl_typesupport_introspection_c", "generate_c")
    run("rosidl_typesupport_c", "generate_c", list(_TYPESUPPORTS))
    out.folder("rosidl_generator_py").mkdir(parents=True)
    (out.folder("rosidl_generator_py") / "__init__.py").touch()
    run("rosidl_generator_py", "generate_py", ["rosidl_typesupport_c"])
    for generator in ("rosidl_generator_c", *_TYPESUPPORTS):
        _visibility_header(generator, out, prefix)
    return out


def _visibility_header(generator: str, out: GeneratedPackage, prefix: Path) -> None:
    """The export-macro header, which CMake would otherwise fill in from the generator's template."""
    name = f"{generator}__visibility_control.h"
    text = (prefix / "share" / generator / "resource" / f"{name}.in").read_text()
    text = text.replace("@PROJECT_NAME@", out.package.name).replace("@PROJECT_NAME_UPPER@", out.package.name.upper())
    (out.folder(generator) / "msg" / name).write_text(text)
