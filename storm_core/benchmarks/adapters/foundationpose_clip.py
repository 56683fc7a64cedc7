"""Runs FoundationPose over one clip of `storm bench tracking`; nothing of STORM is imported.

`python foundationpose_clip.py CHECKOUT CLIP OUT`, with the interpreter FoundationPose is installed for. CLIP and OUT
are described in storm_core/benchmarks/protocol.py. The first pose is given, so only its tracking mode runs: the
refiner with the two iterations of its own run_demo.py.
"""

import sys
import time
from pathlib import Path

import numpy as np

ITERATIONS = 2


def main(checkout: Path, clip: Path, out: Path) -> None:
    sys.path.insert(0, str(checkout))
    try:
        import nvdiffrast.torch as dr
        import torch
        import trimesh
        from estimater import FoundationPose, PoseRefinePredictor, ScorePredictor
    except ImportError as error:
        sys.exit(f"FoundationPose cannot be imported here ({error}); run `storm bench` in its environment")
    if not torch.cuda.is_available():
        sys.exit("FoundationPose needs a CUDA GPU, and this machine has none that torch can use")
    values = dict(line.split(" ", 1) for line in (clip / "clip.txt").read_text().splitlines())
    n, h, w = (int(values[key]) for key in ("frames", "height", "width"))
    fx, fy, cx, cy = (float(values[key]) for key in ("fx", "fy", "cx", "cy"))
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    rgb = np.memmap(clip / "rgb.bin", np.uint8, "r", shape=(n, h, w, 3))
    depth = np.memmap(clip / "depth.bin", "<u2", "r", shape=(n, h, w))
    start = np.array(values["start"].split(), float).reshape(4, 4)
    mesh = trimesh.load(str(clip / "model.ply"), process=False)
    tracker = FoundationPose(model_pts=mesh.vertices, model_normals=mesh.vertex_normals, mesh=mesh,
                             scorer=ScorePredictor(), refiner=PoseRefinePredictor(), glctx=dr.RasterizeCudaContext(),
                             debug=0, debug_dir=str(clip))
    to_center = tracker.get_tf_to_centered_mesh()
    with out.open("w") as file:
        for stride in map(int, values["strides"].split()):
            for repeat in range(int(values["repeats"])):
                given = torch.as_tensor(start, device="cuda", dtype=torch.float)
                tracker.pose_last = given @ torch.linalg.inv(to_center)
                for k in range(stride, n, stride):
                    color, metres = np.array(rgb[k]), depth[k] * np.float32(values["depth_unit"])
                    torch.cuda.synchronize()
                    begin = time.perf_counter()
                    pose = np.asarray(tracker.track_one(rgb=color, depth=metres, K=K, iteration=ITERATIONS))
                    torch.cuda.synchronize()
                    ms = (time.perf_counter() - begin) * 1e3
                    file.write(f"pose {stride} {repeat} {k} {ms:.6f} {' '.join(f'{v:.9g}' for v in pose.ravel())}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
