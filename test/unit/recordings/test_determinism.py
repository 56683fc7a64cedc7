"""Lock-step gives the same bytes every time: in another process, with other hashes, with another number of threads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import trimesh

from storm_core.bags.write import write_recording
from test.real_data import ROOT
from test.synthetic import frame_of, pose, textured_box

PURE = ("predictions.jsonl", "poses.csv", "box.tum", "box_gt.tum", "output/output.mcap", "output/metadata.yaml",
        "config.yaml")
COUNT = 5


def recording(path: Path) -> None:
    """models/ and a bag of a box that comes nearer, is covered in one frame and comes back."""
    box = textured_box("box")
    (path / "models").mkdir()
    mesh = trimesh.Trimesh(box.vertices, box.faces, vertex_colors=box.colors, process=False)
    mesh.export(path / "models" / "box.ply")
    poses = [pose((0.4, 0.3 + 0.02 * k, 0.1), (0.002 * k, 0.02, 0.6 - 0.004 * k)) for k in range(COUNT)]
    frames = [frame_of([(box, p)], stamp_ns=10**18 + k * 33_333_333, noise=0.001, seed=k) for k, p in enumerate(poses)]
    write_recording(path / "bag", frames, {"box": {f.stamp_ns: p for f, p in zip(frames, poses, strict=True)}})


def replay(home: Path, out: str, hash_seed: str, threads: str) -> dict:
    env = os.environ | {"PYTHONHASHSEED": hash_seed, "NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads,
                        "OPENBLAS_NUM_THREADS": threads}
    # The first run fills the onboarding cache, the second one reads it.
    command = ["replay", str(home / "bag"), "--models", str(home / "models"), "--mesh-unit", "m", "--out",
               str(home / out), "--no-video", "--set", f"onboarding.cache={home / 'cache'}"]
    subprocess.run([sys.executable, "-m", "storm_core.cli.main", *command], cwd=ROOT, env=env, check=True,
                   capture_output=True, timeout=300)
    return json.loads((home / out / "results.json").read_text())


def untimed(figures: dict) -> dict:
    """Without what depends on how fast the machine is."""
    intervals = {key: value for key, value in figures["ci95"].items() if "ms" not in key.split("_")}
    return {**figures, "first_pose_s": None, "ci95": intervals}


def test_the_same_command_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    recording(tmp_path)
    first, second = replay(tmp_path, "a", "1", "2"), replay(tmp_path, "b", "2", "1")
    for name in PURE:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    figures = first["objects"]["box"]
    assert figures["coverage"] == 1 and figures["add_auc"] > 0.9, "the box must have been tracked for this to say much"
    assert untimed(figures) == untimed(second["objects"]["box"])
    timing = [json.loads(line) for line in (tmp_path / "a" / "timing.jsonl").read_text().splitlines()]
    assert len(timing) == COUNT and all(np.isfinite(row["stage_ms"]["total"]) for row in timing)
