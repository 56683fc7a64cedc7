"""Make the golden values in test/golden with BOP's own evaluation code. Run by hand; the tests need none of this.

    python -m venv /tmp/bop && /tmp/bop/bin/pip install -e . pypng imageio pytz pycocotools scikit-image
    git clone https://github.com/thodan/bop_toolkit /tmp/bop_toolkit
    git -C /tmp/bop_toolkit checkout cea62d651c7e395b2e1962b9749e4e89693c6ac4
    cp cocoapi/PythonAPI/pycocotools/{coco,cocoeval}.py /tmp/bop/lib/python3*/site-packages/pycocotools/
    /tmp/bop/bin/python scripts/make_bop_golden.py --bop-toolkit /tmp/bop_toolkit

Written are bop_toolkit.npz (inputs and values of single errors, and masks), bop_toolkit.json (scores of whole
evaluations) and bop_mini/, the small dataset with predictions.csv that those scores are for. The scores come from the
toolkit's scripts eval_bop19_pose.py, eval_bop24_pose.py and eval_bop22_coco.py as they are. Two things are put in their
place from outside, by a sitecustomize.py: the sizes and ids of the small dataset, which goes by the name lmo, and for
VSD our renderer, because theirs need a display. cocoapi is https://github.com/MartinSmeyer/cocoapi at 6237ed6, which
BOP uses because the pycocotools of PyPI does not honour the flag of hardly visible instances.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from storm_core.bop.models import load_eval_models  # noqa: E402
from storm_core.bop.results import PoseEstimate, write_csv  # noqa: E402
from storm_core.geometry.camera import PinholeCamera  # noqa: E402
from storm_core.geometry.pose import from_rotation_translation, se3_exp  # noqa: E402
from storm_core.rendering.raster import raster_batch  # noqa: E402

COMMIT = "cea62d651c7e395b2e1962b9749e4e89693c6ac4"
OUT = ROOT / "test" / "golden"
CAMERA = PinholeCamera(160, 120, 150.0, 150.0, 79.5, 59.5)
SMALL = PinholeCamera(64, 48, 60.0, 62.0, 31.0, 24.5)
TAUS = np.arange(0.05, 0.51, 0.05)
SCENES, IMAGES = 2, 3

SHIM = '''
from bop_toolkit_lib import dataset_params, config
from bop_toolkit_lib.rendering import renderer

split_params, model_params = dataset_params.get_split_params, dataset_params.get_model_params
dataset_params.get_split_params = lambda *a, **k: split_params(*a, **k) | {"scene_ids": [1, 2], "im_size": (160, 120)}
dataset_params.get_model_params = lambda *a, **k: model_params(*a, **k) | {"obj_ids": [1, 5, 6]}


class Ours:
    """Our rasteriser behind the toolkit's interface; lengths in mm."""

    def __init__(self, width, height):
        self.size, self.models = (height, width), {}

    def add_object(self, obj_id, path, **_):
        from pathlib import Path
        from storm_core.bop.models import load_eval_models
        self.models[obj_id] = load_eval_models(Path(path).parent, [obj_id])[obj_id]

    def render_object(self, obj_id, r, t, fx, fy, cx, cy):
        import numpy as np
        from storm_core.geometry.pose import from_rotation_translation
        from storm_core.rendering.raster import raster_batch
        model = self.models[obj_id]
        pose = from_rotation_translation(r, t.ravel() * 1e-3)[None]
        depth, _ = raster_batch(model.vertices, model.faces, pose, np.array([[fx, fy, cx, cy]]), *self.size, True)
        return {"depth": depth[0].astype(float) * 1e3}


renderer.create_renderer = lambda width, height, *_, **__: Ours(width, height)
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bop-toolkit", type=Path, required=True, metavar="DIR")
    toolkit = parser.parse_args().bop_toolkit.resolve()
    sys.path.insert(0, str(toolkit))
    rng = np.random.default_rng(20240607)
    OUT.mkdir(parents=True, exist_ok=True)
    arrays = point_cases(rng) | vsd_cases(rng)
    masks = make_dataset(OUT / "bop_mini", rng)
    scores, mask_arrays = run_toolkit(toolkit, OUT / "bop_mini", masks, rng)
    np.savez_compressed(OUT / "bop_toolkit.npz", **arrays, **mask_arrays)
    made = {"made_with": f"scripts/make_bop_golden.py, bop_toolkit {COMMIT}, numpy {np.__version__}"}
    (OUT / "bop_toolkit.json").write_text(json.dumps(made | scores, indent=1) + "\n")
    size = sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file())
    sys.stdout.write(f"{size / 1e3:.0f} kB in {OUT}\n{json.dumps(scores, indent=1)}\n")


# Single errors.

def point_cases(rng: np.random.Generator, count: int = 240) -> dict[str, Any]:
    """ADD, ADI, MSSD, MSPD and the projected error of random pairs of poses."""
    from bop_toolkit_lib import misc, pose_error

    box = trimesh.creation.box(extents=(80, 50, 120)).subdivide().subdivide()
    ring = trimesh.creation.annulus(30, 60, 15)
    clouds = [np.asarray(box.vertices), np.asarray(ring.vertices), rng.normal(0, 40, (300, 3)) + [20, -30, 10],
              rng.uniform(-50, 50, (150, 3))]
    half_turn = np.diag([-1.0, -1, 1, 1])
    infos: list[dict[str, Any]] = [
        {"symmetries_discrete": [half_turn.ravel().tolist(), np.diag([-1.0, 1, -1, 1]).ravel().tolist()]},
        {"symmetries_continuous": [{"axis": [0, 0, 1], "offset": [0, 0, 0]}],
         "symmetries_discrete": [np.diag([1.0, -1, -1, 1]).ravel().tolist()]},
        {"symmetries_continuous": [{"axis": [0.6, 0, 0.8], "offset": [20, -30, 10]}]}, {}]
    symmetries = [misc.get_symmetry_transformations(info, 0.01) for info in infos]
    model = rng.integers(0, len(clouds), count)
    k = np.array([[572.4, 0, 325.3], [0, 573.6, 242.0], [0, 0, 1]])
    truths = from_rotation_translation(Rotation.random(count, random_state=1).as_matrix(),
                                       rng.uniform([-200, -150, 500], [200, 150, 1500], (count, 3)))
    spread = rng.choice([0.0, 0.02, 0.3, 3.0], count)[:, None]
    estimates = se3_exp(np.hstack([rng.normal(0, 30, (count, 3)), rng.normal(0, 1, (count, 3))]) * spread) @ truths
    estimates[:, :3, 3] = truths[:, :3, 3] + rng.normal(0, 20, (count, 3)) * spread
    # Some estimates are the truth turned by a declared symmetry.
    for i in np.flatnonzero(rng.random(count) < 0.2):
        turn = symmetries[model[i]][rng.integers(len(symmetries[model[i]]))]
        estimates[i] = estimates[i] @ from_rotation_translation(turn["R"], turn["t"].ravel())
    values = []
    for m, e, t in zip(model, estimates, truths, strict=True):
        pair = e[:3, :3], e[:3, 3:], t[:3, :3], t[:3, 3:]
        values.append([pose_error.add(*pair, clouds[m]), pose_error.adi(*pair, clouds[m]),
                       pose_error.mssd(*pair, clouds[m], symmetries[m]),
                       pose_error.mspd(*pair, k, clouds[m], symmetries[m]),
                       pose_error.proj(*pair, k, clouds[m])])
    return {"point_k": k, "point_model": model, "point_estimates": estimates, "point_truths": truths,
            "point_values": np.array(values), "point_infos": np.array(json.dumps(infos)),
            **{f"point_cloud_{i}": c for i, c in enumerate(clouds)}}


def vsd_cases(rng: np.random.Generator, count: int = 60) -> dict[str, Any]:
    """VSD of renderings in 0.1 mm steps, with an occluder, holes and noise in the measured depth."""
    from bop_toolkit_lib import pose_error

    mesh = trimesh.util.concatenate([trimesh.creation.box(extents=(0.16, 0.06, 0.05)), trimesh.creation.box(
        extents=(0.05, 0.06, 0.16), transform=trimesh.transformations.translation_matrix((0.055, 0, 0.08)))])
    diameter = float(np.linalg.norm(mesh.extents))
    depths, deltas, values = [], [], []
    for _ in range(count):
        truth = from_rotation_translation(Rotation.random(random_state=rng.integers(1 << 30)).as_matrix(),
                                          rng.uniform([-0.1, -0.06, 0.4], [0.1, 0.06, 0.6]))
        scale = rng.choice([0.0, 0.1, 0.5, 1.5])
        estimate = se3_exp(rng.normal(0, [0.03, 0.03, 0.03, 0.3, 0.3, 0.3]) * scale) @ truth
        drawn, _ = raster_batch(np.ascontiguousarray(mesh.vertices, np.float32), mesh.faces.astype(np.int32),
                                np.array([estimate, truth]), np.tile(SMALL.vector, (2, 1)), 48, 64, True)
        measured = np.where(drawn[1] > 0, drawn[1], 0.8) + rng.normal(0, 0.004, (48, 64))
        left = rng.integers(0, 64)
        measured[:, left:left + 14] = np.minimum(measured[:, left:left + 14], 0.36)
        measured[rng.random((48, 64)) < 0.05] = 0
        images = np.round(np.stack([drawn[0], drawn[1], measured]) * 1e4).astype(np.uint16)
        delta = float(rng.choice([5.0, 15.0]))
        depths.append(images)
        deltas.append(delta)
        values.append(pose_error.vsd(
            np.eye(3), np.zeros((3, 1)), np.eye(3), np.zeros((3, 1)), images[2] * 0.1, SMALL.matrix, delta, list(TAUS),
            True, diameter * 1e3, _Given(images[:2] * 0.1), 0, "step"))
    return {"vsd_depths": np.array(depths), "vsd_deltas": np.array(deltas), "vsd_values": np.array(values),
            "vsd_diameter": np.array(diameter), "vsd_camera": SMALL.vector}


class _Given:
    """Two ready renderings, the estimate first, as the toolkit asks for them."""

    def __init__(self, depths: np.ndarray) -> None:
        self._depths = list(depths)

    def render_object(self, *_: object) -> dict[str, np.ndarray]:
        return {"depth": self._depths.pop(0)}


# A dataset.

def make_dataset(folder: Path, rng: np.random.Generator) -> dict[tuple[int, int], list[np.ndarray]]:
    """Scenes with occlusion and several instances, and predictions with every kind of mistake. Returns the masks."""
    shutil.rmtree(folder, ignore_errors=True)
    _write_models(folder / "models_eval")
    models = load_eval_models(folder / "models_eval", [1, 5, 6])
    targets, images, estimates = [], [], []
    masks: dict[tuple[int, int], list[np.ndarray]] = {}
    for scene_id in range(1, SCENES + 1):
        scene = folder / "test" / f"{scene_id:06d}"
        for name in ("rgb", "depth"):
            (scene / name).mkdir(parents=True)
        gt, info, cameras = {}, {}, {}
        for im_id in range(IMAGES):
            ids = [1, 1, 5, 6, 6] if im_id != 1 else [1, 5, 5]
            poses = [from_rotation_translation(Rotation.random(random_state=rng.integers(1 << 30)).as_matrix(),
                                               rng.uniform([-0.12, -0.09, 0.5], [0.12, 0.09, 0.75])) for _ in ids]
            if im_id == 2:  # one instance straight behind another is hardly visible
                poses[4] = poses[3].copy()
                poses[4][:3, 3] *= 1.12
            drawn = np.array([raster_batch(models[i].vertices, models[i].faces, p[None], CAMERA.vector[None], 120, 160,
                                           True)[0][0] for i, p in zip(ids, poses, strict=True)])
            nearest = np.where(drawn > 0, drawn, np.inf).min(0)
            shown = [(d > 0) & (d <= nearest) for d in drawn]
            depth = np.where(np.isfinite(nearest), nearest, 0.9) + rng.normal(0, 0.002, nearest.shape)
            depth[rng.random(depth.shape) < 0.03] = 0
            cv2.imwrite(str(scene / "depth" / f"{im_id:06d}.png"), np.round(depth * 1e4 / 5).astype(np.uint16))
            cv2.imwrite(str(scene / "rgb" / f"{im_id:06d}.png"), np.full((120, 160, 3), 90, np.uint8))
            cameras[im_id] = {"cam_K": CAMERA.matrix.ravel().tolist(), "depth_scale": 0.5}
            gt[im_id] = [{"obj_id": i, "cam_R_m2c": p[:3, :3].ravel().tolist(),
                          "cam_t_m2c": (p[:3, 3] * 1e3).tolist()} for i, p in zip(ids, poses, strict=True)]
            shares = [float(s.sum() / max((d > 0).sum(), 1)) for s, d in zip(shown, drawn, strict=True)]
            info[im_id] = [{"visib_fract": s, "px_count_all": int((d > 0).sum()), "px_count_visib": int(v.sum())}
                           for s, d, v in zip(shares, drawn, shown, strict=True)]
            masks[scene_id, im_id] = shown
            images.append({"scene_id": scene_id, "im_id": im_id})
            for obj_id in dict.fromkeys(ids):
                count = sum(i == obj_id and s >= 0.1 for i, s in zip(ids, shares, strict=True))
                if count and not (scene_id == 2 and im_id == 0 and obj_id == 5):  # visible, but nobody's target
                    targets.append({"scene_id": scene_id, "im_id": im_id, "obj_id": obj_id, "inst_count": count})
            estimates += _estimates(scene_id, im_id, ids, poses, rng)
        for name, content in (("scene_gt", gt), ("scene_gt_info", info), ("scene_camera", cameras)):
            (scene / f"{name}.json").write_text(json.dumps(content))
    (folder / "test_targets_bop19.json").write_text(json.dumps(targets))
    (folder / "test_targets_bop24.json").write_text(json.dumps(images))
    write_csv(folder / "predictions.csv", estimates)
    return masks


def _write_models(folder: Path) -> None:
    folder.mkdir(parents=True)
    box = trimesh.creation.box(extents=(70, 70, 110)).subdivide()
    can = trimesh.creation.cylinder(radius=35, height=90, sections=24)
    part = trimesh.util.concatenate([trimesh.creation.box(extents=(100, 40, 20)), trimesh.creation.box(
        extents=(20, 40, 60), transform=trimesh.transformations.translation_matrix((40, 0, 40)))]).subdivide()
    part.apply_translation((15, 5, -10))
    quarter = np.eye(4)
    quarter[:2, :2] = [[0, -1], [1, 0]]
    extra: dict[int, dict[str, Any]] = {
        1: {"symmetries_discrete": [np.linalg.matrix_power(quarter, n).ravel().tolist() for n in (1, 2, 3)]},
        5: {"symmetries_continuous": [{"axis": [0, 0, 1], "offset": [0, 0, 0]}],
            "symmetries_discrete": [np.diag([1.0, -1, -1, 1]).ravel().tolist()]}, 6: {}}
    infos = {}
    for obj_id, mesh in ((1, box), (5, can), (6, part)):
        points = np.asarray(mesh.vertices)
        diameter = float(np.linalg.norm(points[:, None] - points[None], axis=-1).max())
        infos[obj_id] = {"diameter": diameter, **extra[obj_id]}
        mesh.export(folder / f"obj_{obj_id:06d}.ply", encoding="ascii", vertex_normal=False)
    (folder / "models_info.json").write_text(json.dumps(infos))


def _estimates(scene_id: int, im_id: int, ids: list[int], poses: list[np.ndarray],
               rng: np.random.Generator) -> list[PoseEstimate]:
    """Good, bad, missing, doubled and invented poses, some of equal score, in no order."""
    found: list[tuple[int, np.ndarray, float]] = []
    for obj_id, pose in zip(ids, poses, strict=True):
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            scale = rng.choice([0.1, 0.4, 1.0, 2.5])
            moved = se3_exp(rng.normal(0, [0.008, 0.008, 0.015, 0.12, 0.12, 0.12]) * scale)
            moved[:3, 3] = 0
            estimate = pose.copy()
            estimate[:3, :3] = moved[:3, :3] @ pose[:3, :3]
            estimate[:3, 3] += rng.normal(0, [0.006, 0.006, 0.012]) * scale
            found.append((obj_id, estimate, float(rng.choice([round(rng.random(), 1), 1 - 0.3 * scale]))))
    for obj_id in (1, 5, 6):  # also of objects that the image does not show
        if rng.random() < 0.5:
            found.append((obj_id, from_rotation_translation(np.eye(3), rng.uniform([-0.1, -0.1, 0.5], 0.6)),
                          rng.random()))
    order = rng.permutation(len(found))
    return [PoseEstimate(scene_id=scene_id, im_id=im_id, obj_id=found[k][0], cam_from_obj=found[k][1],
                         score=found[k][2], time_s=0.1 * (im_id + 1)) for k in order]


# The toolkit's own evaluation.

def run_toolkit(toolkit: Path, dataset: Path, masks: dict[tuple[int, int], list[np.ndarray]],
                rng: np.random.Generator) -> tuple[dict[str, Any], dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        copy = work / "data" / "lmo"
        shutil.copytree(dataset, copy)
        (copy / "models").symlink_to(copy / "models_eval")
        results, shim = work / "results", work / "shim"
        results.mkdir()
        shim.mkdir()
        (shim / "sitecustomize.py").write_text(SHIM)
        shutil.copy(dataset / "predictions.csv", results / "golden_lmo-test.csv")
        arrays = _mask_results(copy, results / "golden_lmo-test.json", masks, rng)
        env = os.environ | {
            "PYTHONPATH": f"{shim}:{toolkit}:{ROOT}", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "BOP_PATH": str(work / "data"), "BOP_RESULTS_PATH": str(results), "BOP_EVAL_PATH": str(work / "eval"),
            "BOP_NUM_WORKERS": "1"}
        for command in (("calc_gt_coco.py", "--dataset=lmo"),
                        ("eval_bop22_coco.py", "--result_filenames=golden_lmo-test.json"),
                        ("eval_bop19_pose.py", "--result_filenames=golden_lmo-test.csv"),
                        ("eval_bop24_pose.py", "--result_filenames=golden_lmo-test.csv")):
            sys.stderr.write(f"running {' '.join(command)}\n")
            done = subprocess.run([sys.executable, str(toolkit / "scripts" / command[0]), *command[1:]], env=env,
                                  capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stdout[-2000:] + done.stderr[-4000:])
        scores = work / "eval" / "golden_lmo-test"
        return {key: json.loads((scores / f"scores_{file}.json").read_text())
                for key, file in (("bop19", "bop19"), ("bop24", "bop24"), ("bop22", "bop22_coco_segm"))}, arrays


def _mask_results(dataset: Path, file: Path, masks: dict[tuple[int, int], list[np.ndarray]],
                  rng: np.random.Generator) -> dict[str, Any]:
    """Shifted, grown, missing and invented masks as the toolkit reads them; the same as arrays."""
    from bop_toolkit_lib import pycoco_utils

    entries, true, found = [], [], []
    for (scene_id, im_id), shown in masks.items():
        scene = dataset / "test" / f"{scene_id:06d}"
        annotated = json.loads((scene / "scene_gt.json").read_text())[str(im_id)]
        infos = json.loads((scene / "scene_gt_info.json").read_text())[str(im_id)]
        for index, (mask, entry, info) in enumerate(zip(shown, annotated, infos, strict=True)):
            for name in ("mask", "mask_visib"):
                (scene / name).mkdir(exist_ok=True)
                cv2.imwrite(str(scene / name / f"{im_id:06d}_{index:06d}.png"), mask.astype(np.uint8) * 255)
            if mask.any():
                true.append((scene_id, im_id, entry["obj_id"], info["visib_fract"], mask))
            for _ in range(rng.choice([0, 1, 1, 2])):
                reach = int(rng.choice([0, 1, 3, 6]))
                moved = np.roll(mask, rng.integers(-reach, reach + 1, 2), (0, 1))
                obj_id = entry["obj_id"] if rng.random() < 0.9 else 5
                if moved.any():
                    found.append((scene_id, im_id, obj_id, moved, round(float(rng.random()), 1)))
    for scene_id, im_id, obj_id, mask, score in found:
        rle = pycoco_utils.binary_mask_to_rle(mask.astype(np.uint8))
        entries.append({"scene_id": scene_id, "image_id": im_id, "category_id": obj_id, "score": score,
                        "segmentation": rle, "bbox": pycoco_utils.bbox_from_binary_mask(mask), "time": 0.1})
    file.write_text(json.dumps(entries))
    return {"mask_true": np.packbits([m for *_, m in true], axis=-1), "mask_true_of": np.array([t[:3] for t in true]),
            "mask_true_visible": np.array([t[3] for t in true]),
            "mask_found": np.packbits([f[3] for f in found], axis=-1),
            "mask_found_of": np.array([f[:3] for f in found]), "mask_scores": np.array([f[4] for f in found])}


if __name__ == "__main__":
    main()
