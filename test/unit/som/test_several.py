"""Several instances by the default localizer, which needs no weights."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from storm_core.bop.mask_results import read_mask_results
from storm_core.cli import main as cli
from storm_core.config import OnboardingConfig, SomConfig
from storm_core.metrics.pose_error import mask_iou
from storm_core.rendering.raster import NumbaRenderer
from storm_core.som.detect import GeometricLocalizer
from storm_core.som.several import localize_all
from storm_core.types import Hint, NotFound
from test.synthetic import frame_of, pose, textured_box

BOX = textured_box()
PLACES = [pose((0.3, 0.2, 0.1), (-0.17, 0.0, 0.62)), pose((-0.4, 0.5, 0.7), (0.0, 0.02, 0.6)),
          pose((0.2, -0.6, 1.4), (0.18, 0.0, 0.64))]


def test_three_copies_give_three_masks_and_none_gives_none(tmp_path: Path) -> None:
    frame = frame_of([(BOX, place) for place in PLACES], noise=0.001)
    som = GeometricLocalizer({"box": BOX}, SomConfig(), OnboardingConfig(cache=str(tmp_path), rotations=300))
    found = localize_all(som, frame, "box", Hint())
    assert not isinstance(found, NotFound) and len(found) == 3
    truths = [NumbaRenderer().render(BOX, place[None], frame.camera).mask[0] for place in PLACES]
    ious = np.array([[mask_iou(f.mask, truth) for truth in truths] for f in found])
    assert sorted(ious.argmax(1)) == [0, 1, 2] and ious.max(1).min() > 0.75
    assert isinstance(localize_all(som, frame_of([], noise=0.001), "box", Hint()), NotFound)
    assert len(localize_all(som, frame, "box", Hint(mask=truths[0]))) == 1, "a given mask is one instance"


def test_the_command_writes_a_mask_with_a_number_for_each_copy(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    frame = frame_of([(BOX, place) for place in PLACES], noise=0.001)
    trimesh.Trimesh(BOX.vertices, BOX.faces, vertex_colors=BOX.colors, process=False).export(tmp_path / "box.ply")
    cv2.imwrite(str(tmp_path / "q.png"), np.ascontiguousarray(frame.rgb[..., ::-1]))
    cv2.imwrite(str(tmp_path / "d.png"), np.round(frame.depth * 1e4).astype(np.uint16))
    intrinsics = {"cam_K": frame.camera.matrix.ravel().tolist(), "depth_scale": 0.1}
    (tmp_path / "camera.json").write_text(json.dumps(intrinsics))
    out = tmp_path / "out"
    assert cli.main(["segment", "--query", str(tmp_path / "q.png"), "--depth", str(tmp_path / "d.png"), "--camera",
                     str(tmp_path / "camera.json"), "--object", str(tmp_path / "box.ply"), "--mesh-unit", "m", "--out",
                     str(out), f"--set=onboarding.cache={tmp_path / 'c'}",
                     "--set=onboarding.rotations=300"]) == 0, capsys.readouterr().err
    answers = json.loads((out / "results.json").read_text())["answers"]
    assert [(a["found"], a["instance"], a["mask"]) for a in answers] == [
        (True, k, f"box_{k}.png") for k in range(3)]
    truths = [NumbaRenderer().render(BOX, place[None], frame.camera).mask[0] for place in PLACES]
    masks = [cv2.imread(str(out / a["mask"]), cv2.IMREAD_GRAYSCALE) > 0 for a in answers]
    ious = np.array([[mask_iou(mask, truth) for truth in truths] for mask in masks])
    assert sorted(ious.argmax(1)) == [0, 1, 2] and ious.max(1).min() > 0.75
    listed = [estimate.mask() for estimate in read_mask_results(out / "masks.json")]
    assert all((a == b).all() for a, b in zip(listed, masks, strict=True))
