"""The build step: decides what is missing, builds it once, leaves everything else alone."""

import contextlib
import fcntl
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from storm_core.errors import SetupError
from storm_ros.interfaces import PACKAGES
from storm_ros.interfaces.compile import compile_package
from storm_ros.interfaces.definition import DEFINITIONS, InterfacePackage, installed_dependencies, read_package
from storm_ros.interfaces.generate import generate
from storm_ros.interfaces.install import install, installed_digest
from storm_ros.interfaces.toolchain import find_toolchain


@dataclass(frozen=True)
class Prefix:
    """An installation of ROS from PyPI: the virtual environment and its folder of Python packages."""

    root: Path
    site: Path


def running_prefix() -> Prefix:
    """The environment of this Python; SetupError when its rclpy is missing or belongs to a full ROS installation."""
    spec = importlib.util.find_spec("rclpy")
    if spec is None or spec.origin is None:
        raise SetupError("rclpy is not installed; run: pip install 'ros-rclpy[fastrtps]' (or source /opt/ros/<distro>/"
                         "setup.bash)")
    site = Path(sysconfig.get_path("purelib"))
    if not Path(spec.origin).resolve().is_relative_to(site.resolve()):
        distro = os.environ.get("ROS_DISTRO", "<distro>")
        names = " ".join(f"ros-{distro}-{name.replace('_', '-')}" for name in PACKAGES)
        raise SetupError(f"rclpy comes from {Path(spec.origin).parent}, whose message packages are installed with: "
                         f"sudo apt install {names}")
    return Prefix(Path(sys.prefix), site)


def build_missing(report: Callable[[str], None] = lambda line: None, jobs: int | None = None) -> tuple[str, ...]:
    """Build every package that cannot be imported, or whose definitions changed since we built it.

    Args:
      report: receives one line per step.
      jobs: compiler processes; one per core by default.

    Returns:
      the names of the packages that were built; empty when there was nothing to do.
    """
    wanted = [read_package(DEFINITIONS / name) for name in PACKAGES]
    if all(_foreign(package) for package in wanted):
        return ()
    prefix = running_prefix()
    with _lock(prefix.root):
        todo = [package for package in wanted if not _foreign(package) and _outdated(package, prefix)]
        if not todo:
            return ()
        toolchain = find_toolchain()
        for package in todo:
            report(f"building {package.name}: {len(package.messages)} message type(s)")
            dependencies = installed_dependencies(package.depends, prefix.root)
            with tempfile.TemporaryDirectory(prefix="storm_interfaces_") as work:
                generated = generate(package, dependencies, prefix.root, Path(work))
                compiled = compile_package(generated, dependencies, prefix.root, toolchain, jobs)
                install(generated, compiled, prefix.root, prefix.site, build_digest(package))
    importlib.invalidate_caches()
    return tuple(package.name for package in todo)


def build_digest(package: InterfacePackage) -> str:
    """Changes whenever a rebuild is needed: definitions, our own build code, rclpy's version or Python's ABI."""
    sha = hashlib.sha256(package.digest().encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sha.update(path.read_bytes())
    sha.update(importlib.metadata.version("ros-rclpy").encode())
    sha.update(str(sysconfig.get_config_var("EXT_SUFFIX")).encode())
    return sha.hexdigest()


def _foreign(package: InterfacePackage) -> bool:
    """Whether the package is importable and not built by us."""
    spec = importlib.util.find_spec(package.name)
    return spec is not None and spec.origin is not None and installed_digest(Path(spec.origin).parent) is None


def _outdated(package: InterfacePackage, prefix: Prefix) -> bool:
    return installed_digest(prefix.site / package.name) != build_digest(package)


@contextlib.contextmanager
def _lock(root: Path) -> Iterator[None]:
    """Two builds into one environment (a test run beside a demo) take turns; the second finds the work done."""
    try:
        with open(root / ".storm_interfaces.lock", "w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
    except PermissionError as error:
        raise SetupError(f"cannot write into {root}: {error.strerror}; use a virtual environment of yours") from error
