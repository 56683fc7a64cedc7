"""Compiled kernels are never older than any source that went into them."""

import ast
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

import storm_core
from storm_core.kernel_cache import (
    UNUSED_AFTER,
    _read,
    fingerprint,
    forget_unused,
    kernel_folder,
    kernel_root,
    sources,
)

ROOT = Path(storm_core.__file__).resolve().parent


def package(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in {"__init__.py": "", **files}.items():
        path = folder / "pack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (path.parent / "__init__.py").touch()
    _read.cache_clear()
    return folder / "pack"


def edit(path: Path, text: str) -> None:
    path.write_text(text)
    _read.cache_clear()  # a process reads each file once


IMPORTS = ["from pack.sub.callee import inner", "from pack.sub import callee", "import pack.sub.callee as c",
           "import os, pack.sub.callee", "from pack.sub import (\n    callee,  # the one\n)",
           "def later():\n    from pack.sub.callee import inner", "from pack.between import x"]


@pytest.mark.parametrize("statement", IMPORTS)
def test_a_change_of_what_a_kernel_calls_changes_its_folder(statement: str, tmp_path: Path) -> None:
    pack = package(tmp_path, {"kernel.py": statement, "between.py": "from pack.sub.callee import inner",
                              "sub/callee.py": "GAIN = 1", "sub/other.py": "x = 1"})
    before = kernel_folder(pack / "kernel.py", tmp_path, "numba 1")
    edit(pack / "sub/other.py", "x = 2")
    assert kernel_folder(pack / "kernel.py", tmp_path, "numba 1") == before
    edit(pack / "sub/callee.py", "GAIN = 2")
    after = kernel_folder(pack / "kernel.py", tmp_path, "numba 1")
    assert after is not None and after != before and after.is_dir()
    edit(pack / "sub/callee.py", "GAIN = 1")
    assert kernel_folder(pack / "kernel.py", tmp_path, "numba 1") == before
    assert kernel_folder(pack / "kernel.py", tmp_path, "numba 2") != before


def test_files_that_import_each_other_are_read_once(tmp_path: Path) -> None:
    pack = package(tmp_path, {"a.py": "import pack.b", "b.py": "import pack.a"})
    assert sources(pack / "a.py") >= {pack / "a.py", pack / "b.py"}
    assert fingerprint(pack / "a.py") == fingerprint(pack / "b.py")


def test_the_tracker_knows_all_it_is_made_of() -> None:
    found = sources(ROOT / "tracking" / "gauss_newton.py")
    for name in ("tracking/region", "tracking/depth", "tracking/texture", "tracking/sparse_model", "refinement/icp",
                 "rendering/raster", "tracking/histogram"):
        assert ROOT / f"{name}.py" in found, name
    assert ROOT / "tracking" / "tracker.py" not in found, "work on the tracker must not compile its kernels again"


def test_no_import_is_overlooked() -> None:
    """The quick reading of imports against Python's own."""
    files = set(ROOT.rglob("*.py"))
    for path in files:
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
        inside = [ROOT.joinpath(*name.split(".")[1:]) for name in names if name.split(".")[0] == ROOT.name]
        assert {base.with_suffix(".py") for base in inside} & files <= set(_read(path, ROOT)[1]), path


def test_the_users_folder_comes_first_and_a_private_one_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "file").touch()
    env = {"XDG_CACHE_HOME": str(tmp_path / "xdg"), "HOME": str(tmp_path / "home")}
    assert kernel_root(str(tmp_path / "mine"), env) == tmp_path / "mine" / "storm"
    assert kernel_root("", env) == tmp_path / "xdg" / "storm" / "kernels"
    assert kernel_root("", {"HOME": env["HOME"]}) == tmp_path / "home" / ".cache" / "storm" / "kernels"
    private = kernel_root("", {"HOME": str(tmp_path / "file")})
    assert private is not None and private.parent == tmp_path / "tmp" and private.stat().st_mode & 0o077 == 0
    private.chmod(0o777)
    assert kernel_root("", {"HOME": str(tmp_path / "file")}) is None, "others could put code there"


def test_folders_that_nobody_used_for_long_are_removed(tmp_path: Path) -> None:
    pack = package(tmp_path, {"kernel.py": ""})
    root = tmp_path / "root"
    kept = {root / "notes", root / ("young-" + "0" * 16)}
    old = root / ("region-" + "a" * 16)
    for folder in (*kept, old):
        folder.mkdir(parents=True)
        (folder / "x").touch()
    for folder in (old, root / "notes"):
        os.utime(folder, (time.time() - UNUSED_AFTER - 60,) * 2)
    folder = kernel_folder(pack / "kernel.py", root, "numba")
    assert set(root.iterdir()) == {folder, *kept}
    assert folder is not None
    os.utime(folder, (time.time() - UNUSED_AFTER - 60,) * 2)
    assert kernel_folder(pack / "kernel.py", root, "numba") == folder
    forget_unused(root)
    assert folder.is_dir(), "it has just been used"


KERNEL = """
import sys
from storm_core.kernels import njit
from pack.callee import gain

@njit(cache=True)
def kernel(x):
    return gain() * x

if __name__ == "__main__":
    print(kernel({"int": 2, "float": 1.5}[sys.argv[1]]))
"""
CALLEE = """
from storm_core.kernels import njit

@njit(cache=True)
def gain():
    return 10
"""


def test_processes_that_compile_at_once_and_an_edited_callee(tmp_path: Path) -> None:
    """Each gets its own variant, now and from the cache; an edit elsewhere is never missed."""
    pack = package(tmp_path, {"kernel.py": KERNEL, "callee.py": CALLEE})
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT.parent}", "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
                        "PYTHONDONTWRITEBYTECODE": "1"}

    def answers() -> list[str]:
        running = [subprocess.Popen([sys.executable, "-m", "pack.kernel", kind], env=env, stdout=subprocess.PIPE,
                                    text=True) for kind in ("int", "float")]
        return [process.communicate()[0].strip() for process in running]

    assert answers() == ["20", "15.0"]
    kept = set((tmp_path / "cache").rglob("*.nbc"))
    assert len([path for path in kept if "kernel.kernel" in path.name]) == 2
    assert answers() == ["20", "15.0"] and set((tmp_path / "cache").rglob("*.nbc")) == kept
    edit(pack / "callee.py", CALLEE.replace("10", "20"))
    assert answers() == ["40", "30.0"]


def test_the_warm_up_leaves_nothing_of_a_loss_to_be_compiled_on_the_robot():
    """A kernel that is compiled when an object is lost for the first time holds the tracker up for seconds."""
    script = """
from storm_core.config import build
from storm_core.pipeline.build import build_tracker
from storm_core.pipeline.warmup import warm_up
from storm_core.simulation.objects import make_object
from storm_core.tracking.gauss_newton import align_kernel, judge_kernel, rank_kernel
from storm_core.tracking.reseed import places_kernel, surprise_kernel
models = {"cereal_box": make_object("cereal_box")}
warm_up(models, tracker=build_tracker(build({}), models))
kernels = align_kernel, judge_kernel, rank_kernel, places_kernel, surprise_kernel
print([kernel.py_func.__name__ for kernel in kernels if not kernel.signatures])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
