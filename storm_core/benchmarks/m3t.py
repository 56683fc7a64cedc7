"""M3T (DLR) as a contender: `adapters/m3t_clip.cpp` compiled against the user's build of it."""

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from storm_core.benchmarks.clip import Clip
from storm_core.benchmarks.running import Absent, Contender, call
from storm_core.errors import BackendError

SOURCE = Path(__file__).parent / "adapters" / "m3t_clip.cpp"
PACKAGES = ("opencv4", "glfw3", "glew", "eigen3")
"""What M3T is linked with, as pkg-config calls it."""

HOW = ("git clone https://github.com/DLR-RM/3DObjectTracking; cmake -S 3DObjectTracking/M3T -B 3DObjectTracking/build "
       "-DCMAKE_BUILD_TYPE=Release -DUSE_AZURE_KINECT=OFF -DUSE_REALSENSE=OFF -DUSE_GTEST=OFF; "
       "cmake --build 3DObjectTracking/build --target m3t")
MESH, MODELS = "model.obj", ("region_model.bin", "depth_model.bin")
_SECONDS = "seconds.txt"


def m3t(folder: Path | None, cache: Path, *, texture: bool) -> Contender | Absent:
    """Region + depth modality, or with `texture` region + depth + texture.

    Args:
      folder: checkout with a build in it. cache: where the compiled program and M3T's models are kept.
    """
    name = "m3t_rdt" if texture else "m3t_rd"
    if folder is None:
        return Absent(name=name, reason=f"--m3t DIR, a checkout with its build: {'as above' if texture else HOW}")
    try:
        headers, library = find_build(folder)
        program = compiled(headers, library, cache)
    except BackendError as error:
        return Absent(name=name, reason=str(error))

    def command(clip_folder: Path, out: Path, clip: Clip) -> list[str]:
        models = _models(program, clip_folder, cache / clip.model.sha256[:16])
        if not texture:
            return [str(program), str(clip_folder), str(models), str(out)]
        return [*_display(), str(program), str(clip_folder), str(models), str(out), "T"]

    def onboarding(clip: Clip) -> tuple[float, int] | None:
        models = cache / clip.model.sha256[:16]
        return float((models / _SECONDS).read_text()), sum((models / file).stat().st_size for file in MODELS)

    return Contender(name=name, command=command, onboarding=onboarding)


def find_build(folder: Path) -> tuple[Path, Path]:
    """(M3T's source folder, its library) below a folder.

    Raises:
      BackendError: one of them is not there.
    """
    roots = [root for root in (folder, folder / "M3T") if (root / "include" / "m3t" / "tracker.h").is_file()]
    if not roots:
        raise BackendError(f"--m3t {folder} is no checkout of M3T (no include/m3t/tracker.h): {HOW}")
    libraries = sorted([*folder.rglob("libm3t.a"), *folder.rglob("libm3t.so")])
    if not libraries:
        raise BackendError(f"--m3t {folder} holds no libm3t.a; build it: {HOW[HOW.index('cmake'):]}")
    return roots[0], libraries[0]


def compiled(root: Path, library: Path, cache: Path) -> Path:
    """Our program for this build of M3T; compiled when it is not in the cache.

    Raises:
      BackendError: the compiler, a library or the build is not as needed.
    """
    key = f"{SOURCE.read_text()}|{library.resolve()}|{library.stat().st_mtime_ns}"
    program = cache / f"m3t_clip_{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if program.exists():
        return program
    for tool in ("g++", "pkg-config"):
        if shutil.which(tool) is None:
            raise BackendError(f"M3T's driver needs {tool}; install it (apt install g++ pkg-config)")
    found = subprocess.run(["pkg-config", "--cflags", "--libs", *PACKAGES], capture_output=True, text=True, check=False)
    if found.returncode:
        raise BackendError(f"M3T's libraries are missing ({' '.join(found.stderr.split())[:200]}); apt install "
                           "libopencv-dev libglfw3-dev libglew-dev libeigen3-dev")
    cache.mkdir(parents=True, exist_ok=True)
    part = program.with_suffix(f".{os.getpid()}")
    # No -march=native: Eigen's alignment must be that of the library, whose own build does not set it.
    done = subprocess.run(["g++", "-O3", "-std=c++17", "-fopenmp", str(SOURCE), "-I", str(root / "include"), "-I",
                           str(root / "third_party"), str(library), *found.stdout.split(), "-o", str(part)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line or "undefined" in line]
        raise BackendError(f"{SOURCE.name} cannot be compiled against {library}: "
                           f"{(errors or done.stderr.splitlines() or ['no message'])[0][:300]}")
    part.replace(program)
    return program


def _models(program: Path, clip_folder: Path, models: Path) -> Path:
    """M3T's own models of the object, made on all cores when they are not there (minutes)."""
    if all((models / file).exists() for file in (*MODELS, _SECONDS)):
        return models
    shutil.rmtree(models, ignore_errors=True)
    models.mkdir(parents=True)
    shutil.copy(clip_folder / MESH, models / MESH)
    begin = time.perf_counter()
    problem = call([*_display(), str(program), str(clip_folder), str(models)], one_core=False)
    if problem:
        raise BackendError(f"its models could not be made: {problem}")
    (models / _SECONDS).write_text(f"{time.perf_counter() - begin:.1f}\n")
    return models


def _display() -> list[str]:
    """What makes a display for OpenGL when there is none."""
    if os.environ.get("DISPLAY"):
        return []
    if shutil.which("xvfb-run") is None:
        raise BackendError("M3T draws with OpenGL and there is no display; apt install xvfb")
    return ["xvfb-run", "-a"]
