"""Contenders in processes of their own: what they get, what becomes of their failures, who can run here."""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from storm_core.benchmarks import m3t as m3t_module
from storm_core.benchmarks.clip import Clip
from storm_core.benchmarks.contenders import contenders
from storm_core.benchmarks.figures import stride_figures
from storm_core.benchmarks.foundationpose import foundationpose
from storm_core.benchmarks.m3t import MODELS, m3t
from storm_core.benchmarks.protocol import Answer, write_clip
from storm_core.benchmarks.running import WALL, Absent, Contender, call, run
from storm_core.config import StormConfig
from test.unit.benchmarks.tiny import N

STAYS = """
import os, sys
from pathlib import Path
clip, out = map(Path, sys.argv[1:3])
values = dict(line.split(" ", 1) for line in (clip / "clip.txt").read_text().splitlines())
with out.open("w") as file:
    for stride in map(int, values["strides"].split()):
        for repeat in range(int(values["repeats"])):
            for k in range(stride, int(values["frames"]), stride):
                file.write(f"pose {stride} {repeat} {k} {1 + k} {values['start']}\\n")
"""
"""A tracker that believes nothing ever moves."""


def stand_in(tmp_path: Path, code: str, **options: object) -> Contender:
    script = tmp_path / "tracker.py"
    script.write_text(code)
    return Contender(name="stand_in", command=lambda folder, out, clip: [sys.executable, str(script), str(folder),
                                                                         str(out)], **options)  # type: ignore[arg-type]


def ran(contender: Contender, clip: Clip, tmp_path: Path) -> Answer | str:
    folder = tmp_path / "clip"
    folder.mkdir(exist_ok=True)
    write_clip(folder, clip, [1, 2], 2)
    return run(contender, clip, folder, [1, 2])


def test_a_program_answers(clip: Clip, tmp_path: Path) -> None:
    answer = ran(stand_in(tmp_path, STAYS), clip, tmp_path)
    assert isinstance(answer, Answer)
    assert set(answer.poses) == {(1, k) for k in range(1, N)} | {(2, k) for k in range(2, N, 2)}
    figures = stride_figures(clip, answer, 1)
    assert 0.3 < figures["add_auc"] < 0.999 and figures["answered"] == 1


@pytest.mark.parametrize(("code", "reason"), [
    ("import sys; sys.exit('no licence')", r"no licence \(exit status 1\)"),
    ("import os; os.kill(os.getpid(), 9)", r"no message \(signal 9\)"),
    ("pass", "ended without an answer"),
    ("import sys; open(sys.argv[2], 'w').write('pose 1 0 0 1.0 none')", "was not asked for"),
])
def test_a_failure_is_told_in_its_own_words(clip: Clip, tmp_path: Path, code: str, reason: str) -> None:
    answer = ran(stand_in(tmp_path, code), clip, tmp_path)
    assert isinstance(answer, str)
    assert re.search(reason, answer), answer


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    assert "cannot be started" in call([str(tmp_path / "nothing")], one_core=False)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot tie a process to a core")
def test_one_core_means_one_core(clip: Clip, tmp_path: Path) -> None:
    code = ("import json, os, sys; open(sys.argv[2], 'w'); json.dump([len(os.sched_getaffinity(0)), "
            "os.environ.get('OMP_NUM_THREADS')], open(sys.argv[1] + '/seen.json', 'w'))")
    ran(stand_in(tmp_path, code), clip, tmp_path)
    assert json.loads((tmp_path / "clip" / "seen.json").read_text()) == [1, "1"]
    ran(stand_in(tmp_path, code, clock=WALL), clip, tmp_path)
    assert json.loads((tmp_path / "clip" / "seen.json").read_text())[0] == len(os.sched_getaffinity(0))


def everybody(clip: Clip, **folders: Path | None) -> dict[str, Contender | Absent]:
    found = contenders({clip.name: StormConfig()}, folders.get("m3t"), folders.get("foundationpose"))
    return {c.name: c for c in found}


def test_what_is_not_there_says_how_to_get_it(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name, *a: None if name in ("open3d", "small_gicp") else real(name, *a))
    found = everybody(clip)
    assert isinstance(found["storm"], Contender)
    reasons = {name: c.reason for name, c in found.items() if isinstance(c, Absent)}
    assert reasons["open3d_colored"] == reasons["open3d_point_to_plane"] == "pip install open3d"
    assert reasons["small_gicp"] == "pip install small_gicp"
    assert "--m3t DIR" in reasons["m3t_rd"] and "--foundationpose DIR" in reasons["foundationpose"]


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    def reason(found: Contender | Absent) -> str:
        assert isinstance(found, Absent)
        return found.reason

    assert "no checkout of M3T" in reason(m3t(tmp_path, tmp_path, texture=False))
    (tmp_path / "M3T" / "include" / "m3t").mkdir(parents=True)
    (tmp_path / "M3T" / "include" / "m3t" / "tracker.h").touch()
    assert "no libm3t.a" in reason(m3t(tmp_path, tmp_path, texture=False))
    assert "no estimater.py" in reason(foundationpose(tmp_path))
    (tmp_path / "estimater.py").touch()
    assert "no weights" in reason(foundationpose(tmp_path))


@pytest.fixture
def m3t_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like a build of M3T; its compiled program is the one that stays where it started."""
    folder = tmp_path / "checkout"
    (folder / "M3T" / "include" / "m3t").mkdir(parents=True)
    (folder / "M3T" / "include" / "m3t" / "tracker.h").touch()
    (folder / "build").mkdir()
    (folder / "build" / "libm3t.a").touch()
    program = tmp_path / "m3t_clip"
    writes = f"[open(sys.argv[2] + '/' + name, 'w').write('12345') for name in {MODELS!r}]"
    program.write_text(f"#!{sys.executable}\nimport sys\nif len(sys.argv) == 3:\n    {writes}\n    sys.exit()\n"
                       "sys.argv.pop(2)\n" + STAYS)
    program.chmod(0o755)
    monkeypatch.setattr(m3t_module, "compiled", lambda headers, library, cache: program)
    monkeypatch.setenv("DISPLAY", ":0")
    return folder


def test_m3t_makes_its_models_once_and_tells_what_they_cost(m3t_build: Path, clip: Clip, tmp_path: Path) -> None:
    for texture in (False, True):
        contender = m3t(m3t_build, tmp_path / "cache", texture=texture)
        assert isinstance(contender, Contender) and contender.name == ("m3t_rdt" if texture else "m3t_rd")
        answer = ran(contender, clip, tmp_path)
        assert isinstance(answer, Answer), answer
        assert answer.onboarding is not None and answer.onboarding[1] == 10
        assert len(answer.poses) == N - 1 + (N - 1) // 2
    made = list((tmp_path / "cache").rglob("region_model.bin"))
    assert len(made) == 1, "both modes share the models"


def test_foundationpose_speaks_the_protocol(clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkout is replaced by one whose refiner leaves the pose as it is."""
    home = tmp_path / "FoundationPose"
    (home / "weights" / "refiner").mkdir(parents=True)
    (home / "weights" / "refiner" / "model_best.pth").touch()
    (home / "nvdiffrast").mkdir()
    (home / "nvdiffrast" / "__init__.py").touch()
    (home / "nvdiffrast" / "torch.py").write_text("RasterizeCudaContext = object\n")
    (home / "torch.py").write_text(
        "import numpy as np\nfloat = np.float64\nas_tensor = lambda a, device, dtype: np.asarray(a)\n"
        "class linalg: inv = staticmethod(np.linalg.inv)\n"
        "class cuda:\n    is_available = staticmethod(lambda: True)\n    synchronize = staticmethod(lambda: None)\n")
    (home / "estimater.py").write_text(
        "import numpy as np\nScorePredictor = PoseRefinePredictor = object\n"
        "class FoundationPose:\n"
        "    def __init__(self, mesh, **rest): self.shift = np.eye(4); self.shift[:3, 3] = -mesh.bounds.mean(0)\n"
        "    def get_tf_to_centered_mesh(self): return self.shift\n"
        "    def track_one(self, rgb, depth, K, iteration): return self.pose_last @ self.shift\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    contender = foundationpose(home)
    assert isinstance(contender, Contender) and contender.clock == WALL
    answer = ran(contender, clip, tmp_path)
    assert isinstance(answer, Answer), answer
    assert len(answer.poses) == N - 1 + (N - 1) // 2
    np.testing.assert_allclose(answer.poses[1, N - 1], clip.start, atol=1e-7)


@pytest.mark.parametrize(("package", "names"), [("small_gicp", ["small_gicp"]),
                                                ("open3d", ["open3d_point_to_plane", "open3d_colored"])])
def test_installed_packages_track_a_wedge(clip: Clip, tmp_path: Path, package: str, names: list[str]) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed")
    for name in names:
        contender = everybody(clip)[name]
        assert isinstance(contender, Contender)
        answer = ran(contender, clip, tmp_path)
        assert isinstance(answer, Answer), answer
        figures = stride_figures(clip, answer, 1)
        assert figures["answered"] == 1 and figures["adds_auc"] > 0.9 and figures["ms"]["p50"] > 0
