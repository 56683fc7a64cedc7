"""What the build step needs from the machine: a C and a C++ compiler, Python's headers and the ROS generators."""

import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from storm_core.errors import SetupError

GENERATORS = ("rosidl_adapter", "rosidl_parser", "rosidl_generator_type_description", "rosidl_generator_c",
              "rosidl_generator_py", "rosidl_typesupport_c", "rosidl_typesupport_fastrtps_c",
              "rosidl_typesupport_introspection_c")


@dataclass(frozen=True)
class Toolchain:
    """Compilers and the folders of headers that every source needs."""

    c_compiler: str
    cxx_compiler: str
    include_dirs: tuple[Path, ...]


def find_toolchain(env: Mapping[str, str] = os.environ, include: Path | None = None) -> Toolchain:
    """The compilers named by CC and CXX, else gcc and g++.

    Args:
      env: environment that holds CC, CXX and PATH.
      include: folder of Python.h; the running Python's by default.

    Raises:
      SetupError: a compiler, Python.h, numpy or a generator is missing (names the command that installs it).
    """
    compilers = []
    for variable, default in (("CC", "gcc"), ("CXX", "g++")):
        wanted = env.get(variable) or default
        found = shutil.which(wanted.split()[0], path=env.get("PATH"))
        if found is None:
            raise SetupError(f"no compiler {wanted!r} on this machine, needed once to build message types; run: "
                             "sudo apt install gcc g++")
        compilers.append(found)
    include = Path(sysconfig.get_path("include")) if include is None else include
    if not (include / "Python.h").is_file():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise SetupError(f"{include / 'Python.h'} is missing, needed once to build message types; run: "
                         f"sudo apt install python3-dev (or python{version}-dev)")
    lacking = [name for name in (*GENERATORS, "numpy") if importlib.util.find_spec(name) is None]
    if lacking:
        raise SetupError(f"{', '.join(lacking)} not installed; run: pip install 'ros-rclpy[fastrtps]' numpy")
    import numpy

    return Toolchain(*compilers, (include, Path(numpy.get_include())))
