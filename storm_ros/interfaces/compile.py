"""From generated sources to the shared libraries of one message package, laid out as a full ROS installs them."""

import os
import subprocess
import sysconfig
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from storm_core.errors import SetupError
from storm_ros.interfaces.generate import GeneratedPackage
from storm_ros.interfaces.toolchain import Toolchain


@dataclass(frozen=True)
class _Library:
    """One library: sources from the folder of its name, linked against its own, sibling and runtime libraries."""

    name: str
    siblings: tuple[str, ...] = ()
    runtime: tuple[str, ...] = ()


_LIBRARIES = (
    _Library("rosidl_generator_c", (), ("rosidl_runtime_c", "rcutils")),
    _Library("rosidl_typesupport_fastrtps_c", ("rosidl_generator_c",),
             ("rosidl_typesupport_fastrtps_c", "rosidl_typesupport_fastrtps_cpp", "rmw")),
    _Library("rosidl_typesupport_introspection_c", ("rosidl_generator_c",), ("rosidl_typesupport_introspection_c",)),
    _Library("rosidl_typesupport_c", ("rosidl_generator_c",), ("rosidl_typesupport_c",)),
    _Library("rosidl_generator_py", ("rosidl_generator_c", "rosidl_typesupport_c"), ()),
)


@dataclass(frozen=True)
class CompiledPackage:
    """Where the results lie.

    Attributes:
      libraries: the .so files that belong into lib/.
      extension: the Python extension module that belongs into the Python package.
    """

    libraries: tuple[Path, ...]
    extension: Path


def compile_package(generated: GeneratedPackage, dependencies: Mapping[str, Path], prefix: Path, toolchain: Toolchain,
                    jobs: int | None = None) -> CompiledPackage:
    """Compile in parallel (`jobs` processes, one per core by default) and link."""
    name, root = generated.package.name, generated.root
    headers = [root / library.name for library in _LIBRARIES] + list(toolchain.include_dirs)
    headers += [path for path in (prefix / "include").iterdir() if path.is_dir()] + [prefix / "include"]
    flags = ["-O1", "-fPIC", "-w", f"-DROSIDL_GENERATOR_C_BUILDING_DLL_{name}", *(f"-I{path}" for path in headers)]

    entry = generated.folder("rosidl_generator_py") / f"_{name}_s.ep.rosidl_typesupport_c.c"
    sources = {lib.name: [path for path in sorted(generated.folder(lib.name).rglob("*.c*"))
                          if path.suffix in (".c", ".cpp") and ".ep." not in path.name] for lib in _LIBRARIES}
    work = [entry, *(path for paths in sources.values() for path in paths)]

    def compile_one(source: Path) -> None:
        compiler = [toolchain.cxx_compiler, "-std=c++17"] if source.suffix == ".cpp" else [toolchain.c_compiler,
                                                                                           "-std=gnu11"]
        _run([*compiler, *flags, "-c", str(source), "-o", str(_object(source))])

    with ThreadPoolExecutor(jobs or os.cpu_count() or 1) as pool:
        list(pool.map(compile_one, work))

    out = root / "lib"
    out.mkdir()
    search = [f"-L{out}", f"-L{prefix / 'lib'}", "-Wl,-rpath,$ORIGIN"]
    libraries = []
    for library in _LIBRARIES:
        target = out / f"lib{name}__{library.name}.so"
        needed = [f"{name}__{sibling}" for sibling in library.siblings]
        needed += [f"{d}__{kind}" for d in dependencies for kind in (library.name, *library.siblings)]
        needed += list(library.runtime)
        if library.name == "rosidl_typesupport_fastrtps_c":
            needed.append("fastcdr")
        _link(toolchain, [_object(path) for path in sources[library.name]], target, search, needed)
        libraries.append(target)
    extension = out / f"{name}_s__rosidl_typesupport_c{sysconfig.get_config_var('EXT_SUFFIX')}"
    own = [f"{name}__{kind}" for kind in ("rosidl_generator_py", "rosidl_typesupport_c", "rosidl_generator_c")]
    _link(toolchain, [_object(entry)], extension, search, own)
    return CompiledPackage(tuple(libraries), extension)


def _object(source: Path) -> Path:
    return source.with_name(source.name + ".o")


def _link(toolchain: Toolchain, objects: Iterable[Path], target: Path, search: list[str], needed: list[str]) -> None:
    # The C library of Python is not linked: the interpreter that loads the module provides those symbols.
    _run([toolchain.cxx_compiler, "-shared", *map(str, objects), "-o", str(target), f"-Wl,-soname,{target.name}",
          *search, *(f"-l{name}" for name in needed), "-Wl,--allow-shlib-undefined"])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SetupError(f"cannot run {command[0]}: {error}; set CC and CXX to working compilers") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["?"]
        raise SetupError(f"{Path(command[0]).name} failed with exit code {done.returncode}: {lines[0].strip()}; "
                         "the ROS headers of this Python environment do not fit, reinstall ros-rclpy[fastrtps]")
