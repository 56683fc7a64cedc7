"""Putting a built package into the prefix so that nobody ever sees half of it."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from storm_core.errors import SetupError
from storm_ros.interfaces.compile import CompiledPackage
from storm_ros.interfaces.generate import GeneratedPackage

MARKER = "storm_build.json"
"""Lies in the Python package; tells our build from one that belongs to a full ROS installation."""


def installed_digest(python_package: Path) -> str | None:
    """The digest of the definitions that an installed package was built from; None when it is not ours."""
    try:
        return json.loads((python_package / MARKER).read_text())["digest"]
    except (OSError, ValueError, KeyError):
        return None


def install(generated: GeneratedPackage, compiled: CompiledPackage, prefix: Path, site: Path, digest: str) -> None:
    """Copy everything beside its destination, then rename; the Python package, which makes it importable, comes last.

    Args:
      generated: sources, Python code and .idl files.
      compiled: libraries.
      prefix: gets lib/, include/, share/.
      site: folder of Python packages.
      digest: remembered in the marker file.
    """
    package = generated.package
    share = generated.root / "share"
    shutil.copytree(generated.idl, share)
    for path in (Path("package.xml"), *package.messages):
        shutil.copy(package.folder / path, share / path)
    headers = generated.root / "headers"
    for library in ("rosidl_generator_c", "rosidl_typesupport_fastrtps_c", "rosidl_typesupport_introspection_c"):
        shutil.copytree(generated.folder(library), headers / package.name, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("*.c", "*.cpp", "*.o"))
    python = generated.root / "python"
    shutil.copytree(generated.folder("rosidl_generator_py"), python, ignore=shutil.ignore_patterns("*.c", "*.o"))
    shutil.copy(compiled.extension, python)
    (python / MARKER).write_text(json.dumps({"digest": digest}))
    index = prefix / "share" / "ament_index" / "resource_index"
    try:
        for library in compiled.libraries:
            _replace_file(library, prefix / "lib" / library.name)
        _replace_folder(headers, prefix / "include" / package.name)
        _replace_folder(share, prefix / "share" / package.name)
        for kind, text in (("packages", ""), ("rosidl_interfaces", "\n".join(map(str, package.messages)))):
            marker = generated.root / f"index_{kind}"
            marker.write_text(text)
            _replace_file(marker, index / kind / package.name)
        _replace_folder(python, site / package.name)
    except OSError as error:
        raise SetupError(f"cannot install {package.name} into {prefix}: {error}; "
                         "use a virtual environment that you may write to") from error


def _replace_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    shutil.copy(source, name)
    os.replace(name, target)


def _replace_folder(source: Path, target: Path) -> None:
    # A folder cannot be renamed over a full one: the old one steps aside first.
    target.parent.mkdir(parents=True, exist_ok=True)
    side = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    shutil.copytree(source, side / "new")
    if target.exists():
        os.rename(target, side / "old")
    os.rename(side / "new", target)
    shutil.rmtree(side)
