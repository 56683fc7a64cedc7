"""What `storm doctor` says about this machine apart from ROS; pure functions of what was found."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from storm_core.kernel_cache import kernel_root

LOWEST_PYTHON = (3, 10)


class Check(NamedTuple):
    """The outcome of one check.

    Attributes:
      status: `problem` keeps STORM from running, `warning` makes it worse.
      text: what was found.
      remedy: what to do; empty when all is well.
    """

    status: Literal["ok", "warning", "problem"]
    text: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What was found.

    Attributes:
      python: version of this interpreter. cores: processor cores this process may use.
      installed: version by name of installed distribution, names in lower case with dashes.
      required: names of the distributions that STORM needs; None when STORM itself is not installed.
      gpus: names of the NVIDIA GPUs.
      cache: folder for onboarding results. cache_writable: whether files can be made there.
      kernels: folder for compiled kernels; None when none can be written.
    """

    python: tuple[int, int]
    cores: int
    installed: Mapping[str, str]
    required: Sequence[str] | None
    gpus: Sequence[str]
    cache: Path
    cache_writable: bool
    kernels: Path | None


OPTIONAL = {
    "torch": ("torch", "every stage works without learned weights"),
    "transformers": ("transformers", "objects are segmented from depth, colour and the CAD model"),
    "safetensors": ("safetensors", "every stage works without learned weights"),
    "sam2": ("sam-2", "SAM 2 comes from transformers"),
    "nvdiffrast": ("nvdiffrast", "STORM's own CPU kernels render"),
    "pytorch3d": ("pytorch3d", "STORM's own CPU kernels render"),
    "cv_bridge": ("cv-bridge", "STORM converts images itself"),
}
"""Optional package -> (distribution, what this version does in its place)."""

SERVES = {
    "torch": "som.backend hsfa, som.sam, storm train som, storm describe",
    "transformers": "DINOv2, SAM 2, text models, storm describe",
    "safetensors": "checkpoints of storm train som",
    "sam2": "som.sam with a .pt checkpoint",
}
"""What an optional package is used for; the others are not used by this version."""


def check_python(python: tuple[int, int]) -> Check:
    text = f"Python {python[0]}.{python[1]}"
    if python < LOWEST_PYTHON:
        return Check("problem", f"{text} is too old", "install Python 3.10 or newer and run: make clean demo")
    return Check("ok", text)


def check_packages(required: Sequence[str] | None, installed: Mapping[str, str]) -> Check:
    if required is None:
        return Check("warning", "STORM runs from its source folder without being installed", "pip install -e .")
    lacking = [name for name in required if name not in installed]
    if lacking:
        return Check("problem", f"packages not installed: {', '.join(lacking)}", f"pip install {' '.join(lacking)}")
    return Check("ok", f"{len(required)} required packages are installed")


def check_opencv(installed: Mapping[str, str]) -> Check:
    """Two OpenCV distributions overwrite each other's files."""
    found = sorted(name for name in installed if re.fullmatch(r"opencv(-contrib)?-python(-headless)?", name))
    if len(found) > 1:
        return Check("warning", f"{' and '.join(found)} are installed over each other",
                     f"pip uninstall -y {' '.join(found)} && pip install opencv-python-headless")
    return Check("ok", f"OpenCV from {found[0]} {installed[found[0]]}" if found else "OpenCV of the system")


def check_cores(cores: int) -> Check:
    if cores < 2:
        return Check("warning", "one processor core: the nodes cannot follow a 30 Hz camera",
                     "give the machine or the container two cores or more")
    return Check("ok", f"{cores} processor cores")


def check_gpu(gpus: Sequence[str]) -> Check:
    if not gpus:
        return Check("warning", "no NVIDIA GPU found: everything runs on the CPU",
                     "none needed by this version; if there is a GPU, install its driver so that nvidia-smi lists it")
    return Check("ok", f"{', '.join(gpus)}; this version computes on the CPU")


def check_optional(package: str, installed: Mapping[str, str], importable: bool) -> Check:
    """One of OPTIONAL: never a problem, because each has a default in its place."""
    distribution, instead = OPTIONAL[package]
    if distribution in installed or importable:
        found = " ".join(("installed", installed.get(distribution, ""))).strip()
        if package in SERVES:
            return Check("ok", f"{found}, used by {SERVES[package]}")
        return Check("ok", f"{found}, not used by this version: {instead}")
    return Check("ok", f"not installed: {instead}")


def check_cache(cache: Path, writable: bool) -> Check:
    if not writable:
        return Check("warning", f"{cache} cannot be written: models are prepared again at every start",
                     "set onboarding.cache to a folder that you may write to")
    return Check("ok", f"prepared models are kept in {cache}")


def check_kernels(kernels: Path | None) -> Check:
    if kernels is None:
        return Check("warning", "compiled kernels cannot be kept: every start compiles them again, which takes minutes",
                     "set NUMBA_CACHE_DIR to a folder that you may write to")
    return Check("ok", f"compiled kernels are kept in {kernels}")


def machine_checks(machine: Machine, importable: Mapping[str, bool]) -> dict[str, Check]:
    """All checks by title; importable: whether each of OPTIONAL can be imported."""
    out = {
        "python": check_python(machine.python),
        "packages": check_packages(machine.required, machine.installed),
        "opencv": check_opencv(machine.installed),
        "cores": check_cores(machine.cores),
        "gpu": check_gpu(machine.gpus),
        "cache": check_cache(machine.cache, machine.cache_writable),
        "kernels": check_kernels(machine.kernels),
    }
    return out | {name: check_optional(name, machine.installed, importable[name]) for name in OPTIONAL}


def this_machine(env: Mapping[str, str] = os.environ) -> Machine:
    """What is found here; programs are looked up on the PATH of `env`."""
    installed = {str(d.metadata["Name"]).lower().replace("_", "-"): d.version for d in metadata.distributions()
                 if d.metadata["Name"]}
    cache = Path(env.get("XDG_CACHE_HOME") or Path(env.get("HOME") or Path.home()) / ".cache") / "storm"
    return Machine(
        python=sys.version_info[:2], cores=len(os.sched_getaffinity(0)), installed=installed, required=_required(),
        gpus=_gpus(env), cache=cache, cache_writable=_writable(cache),
        kernels=kernel_root(env.get("NUMBA_CACHE_DIR", ""), env))


def _required() -> list[str] | None:
    """Distributions named by our own metadata; None when STORM runs from a source tree that was not installed."""
    try:
        lines = metadata.requires("storm_ros") or []
    except metadata.PackageNotFoundError:
        return None
    plain = [line for line in lines if "extra ==" not in line]
    return [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-") for line in plain]


def _gpus(env: Mapping[str, str]) -> tuple[str, ...]:
    program = shutil.which("nvidia-smi", path=env.get("PATH"))
    if program is None:
        return ()
    try:
        found = subprocess.run([program, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True,
                               timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(line.strip() for line in found.stdout.splitlines() if line.strip()) if found.returncode == 0 else ()


def _writable(folder: Path) -> bool:
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    return existing.is_dir() and os.access(existing, os.W_OK)
