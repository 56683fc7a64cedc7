"""What the networks look at: render and picture of a hypothesis."""

from dataclasses import replace

import numpy as np
import pytest

from storm_core.geometry.pose import so3_exp
from storm_core.render_compare.crops import crop_pairs
from storm_core.render_compare.motion import moved
from storm_core.render_compare.shape import Scaling
from test.unit.refiner.made import small_object, view_of

SIDE = 32


def hypotheses(model, pose, count=3):  # noqa: ANN001, ANN201
    rng = np.random.default_rng(1)
    return moved(np.repeat(pose[None], count, 0), model.center, rng.normal(0, 0.01, (count, 3)),
                 so3_exp(rng.normal(0, 0.4, (count, 3))))


def test_at_the_truth_render_and_picture_agree() -> None:
    model = small_object()
    frame, pose = view_of(model)
    rendered, seen = crop_pairs(frame, model, pose[None], SIDE, Scaling())[0]
    shown = rendered[:3].sum(0) > 0
    assert shown.mean() > 0.1
    # Half a pixel of the frame is up to 2 % of a radius here.
    near = np.abs(rendered[3:] - seen[3:]).max(0) < 0.05
    assert near[shown].mean() > 0.9


def test_places_are_relative_to_the_hypothesis_and_bounded() -> None:
    model = small_object()
    frame, pose = view_of(model)
    pairs = crop_pairs(frame, model, hypotheses(model, pose), SIDE, Scaling())
    assert pairs.shape == (3, 2, 6, SIDE, SIDE) and np.isfinite(pairs).all()
    assert np.abs(pairs[:, :, 3:]).max() < 2 and np.abs(pairs[:, 0, 3:]).max() <= 1.001
    # The wall, far behind the object, is known across the view but not in depth.
    wall = pairs[0, 1, 5] == 0
    assert wall.any() and (pairs[0, 1, 3][wall] != 0).any()


def test_missing_depth_and_the_border_of_the_picture_are_zero() -> None:
    model = small_object()
    frame, pose = view_of(model)
    frame = replace(frame, depth=np.zeros_like(frame.depth))
    pair = crop_pairs(frame, model, pose[None], SIDE, Scaling())[0]
    assert (pair[1, 3:] == 0).all() and (pair[1, :3] > 0).any()
    pose[0, 3] += 10.0
    assert (crop_pairs(frame, model, pose[None], SIDE, Scaling())[0, 1] == 0).all()


def test_the_kernel_agrees_with_its_torch_twin() -> None:
    torch = pytest.importorskip("torch", reason="the twin needs torch")
    from storm_core.render_compare.device_crops import device_model, device_pairs, uploaded
    from storm_core.render_compare.device_raster import every_triangle

    for look in ("plain", "bare"):
        model = small_object(look=look)
        frame, pose = view_of(model)
        poses = hypotheses(model, pose)
        cpu = torch.device("cpu")
        twin = device_pairs(uploaded(frame, cpu), device_model(model, SIDE, cpu),
                            torch.tensor(poses, dtype=torch.float32), SIDE, Scaling(), every_triangle).numpy()
        ours = crop_pairs(frame, model, poses, SIDE, Scaling())
        # A pixel on an edge may fall to either side in single precision.
        assert (np.abs(twin - ours).max((1, 2)) > 1e-3).mean() < 0.005
        assert np.median(np.abs(twin - ours)) < 1e-6
