"""The layers and the house rules that a machine can check."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

LAYERS = (
    {"errors", "config", "config_io", "parallel", "kernel_cache", "kernels"},
    {"geometry", "models"},
    {"types", "interfaces"},
    {"rendering"},
    {"evidence"},
    {"refinement", "onboarding", "render_compare"},
    {"som", "registration", "tracking", "score_model", "monitor", "recovery"},
    {"pipeline"},
    {"bop", "bags", "metrics", "report", "simulation"},
    {"training", "evaluation", "benchmarks"},
    {"cli"},
)
"""Folders and files of storm_core from the bottom up; a file imports its own layer or below."""

RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ROS = ("rclpy", "launch", "launch_ros", "ament_index_python", "storm_ros", "cv_bridge")
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common", "tools", "stuff"}
HARD_CAP = 400

SOURCES = sorted(p for folder in ("storm_core", "storm_ros", "launch") for p in (ROOT / folder).rglob("*.py"))
CORE = [path for path in SOURCES if path.is_relative_to(ROOT / "storm_core")]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """(module, statement) of each import, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "relative imports hide the layer"
            yield node.module, node
            if node.module in ("storm_core", "storm_ros"):
                yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


def test_every_part_of_the_core_has_a_layer() -> None:
    parts = {p.stem for p in (ROOT / "storm_core").iterdir() if (p.is_dir() or p.suffix == ".py") and p.name[0] != "_"}
    assert parts <= set(RANK), f"give {parts - set(RANK)} a place in LAYERS"


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_core_imports_its_own_layer_or_below(path: Path) -> None:
    part = path.relative_to(ROOT / "storm_core").parts[0].removesuffix(".py")
    if part == "__init__":
        return
    for module, node in imported(tree_of(path)):
        pieces = module.split(".")
        if pieces[0] == "storm_core" and len(pieces) > 1 and pieces[1] in RANK:
            assert RANK[pieces[1]] <= RANK[part], f"line {node.lineno}: {part} may not import {module}"


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_core_does_not_know_ros(path: Path) -> None:
    tree = tree_of(path)
    at_top = {id(node) for node in tree.body}
    is_cli = path.is_relative_to(ROOT / "storm_core" / "cli")
    for module, node in imported(tree):
        root = module.split(".")[0]
        # The command line may start the nodes, but must be usable where no ROS is installed.
        if is_cli and root == "storm_ros" and id(node) not in at_top:
            continue
        if is_cli and root == "storm_ros" and _only_for_type_checkers(tree, node):
            continue
        assert root not in ROS and not root.endswith("_msgs"), f"line {node.lineno} imports {module}"


def _only_for_type_checkers(tree: ast.Module, node: ast.stmt) -> bool:
    blocks = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return any(node in block.body for block in blocks)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_house_rules(path: Path) -> None:
    text = path.read_text()
    tree = tree_of(path)
    assert path.stem not in VAGUE, "name the module after the one concept it holds"
    assert len(text.splitlines()) <= HARD_CAP, "split this file: one concept each"
    assert path.name == "__init__.py" and not text.strip() or ast.get_docstring(tree), "say what this module is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert all(alias.name != "*" for alias in node.names), f"line {node.lineno}: star import"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: bare except"


def test_kernels_are_compiled_by_our_own_njit() -> None:
    """numba's own cache misses changes in other files; see `kernel_cache`."""
    for path in SOURCES:
        if name_of(path) != "storm_core/kernels.py":
            names = {alias.name for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom)
                     for alias in node.names if (node.module or "").startswith("numba")}
            names |= {node.attr for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)
                      and isinstance(node.value, ast.Name) and node.value.id == "numba"}
            assert not names & {"njit", "jit", "vectorize", "guvectorize", "cfunc", "stencil"}, name_of(path)


def test_broad_except_only_where_a_worker_must_survive() -> None:
    """The command line reports bugs, a node outlives one bad frame, a reader thread hands its error to the caller, the
    executor's tasks hand it to their node.

    Anywhere else a broad except hides bugs, unless it raises again.
    """
    allowed = {"storm_core/cli/main.py", "storm_ros/worker.py", "storm_ros/playback.py", "storm_ros/within.py"}
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name):
                broad = node.type.id in ("Exception", "BaseException")
                again = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
                assert not broad or again or name_of(path) in allowed, f"{name_of(path)}, line {node.lineno}"


def test_prints_only_where_a_person_reads() -> None:
    allowed = (ROOT / "storm_core" / "cli", ROOT / "storm_ros" / "interfaces" / "__main__.py")
    for path in SOURCES:
        if any(path.is_relative_to(place) for place in allowed):
            continue
        calls = [n.lineno for n in ast.walk(tree_of(path))
                 if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "print"]
        assert not calls, f"{name_of(path)} prints in lines {calls}; use logging"


def test_importing_the_core_is_light() -> None:
    code = ("import sys, storm_core, storm_core.cli.main, storm_core.pipeline.build\n"
            "print(*sorted({name.split('.')[0] for name in sys.modules}))")
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    assert not loaded & {"torch", "transformers", "rclpy", "storm_ros", "matplotlib", "pandas"}


def test_one_version_everywhere() -> None:
    from storm_core import __version__

    assert f'version="{__version__}"' in (ROOT / "setup.py").read_text()
    assert f"<version>{__version__}</version>" in (ROOT / "package.xml").read_text()


def test_continuous_integration_runs_the_readme_command() -> None:
    lines = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line and line[0] != "#"]
    assert lines[-1] == "make test" and "make test" in (ROOT / "README.md").read_text()
