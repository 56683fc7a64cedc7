"""The map between a picture and what the network sees of it is exact for every aspect ratio."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storm_core.errors import InputError
from storm_core.som.hsfa.channels import CHANNELS, channels
from storm_core.som.hsfa.window import Window, around, whole
from test.synthetic import CAMERA

SIDES = st.integers(40, 700)
SIZES = st.sampled_from([56, 64, 128, 224])


def with_row(matrix: np.ndarray) -> np.ndarray:
    return np.vstack([matrix, [0, 0, 1]])


@given(SIDES, SIDES, SIZES)
def test_the_two_maps_are_inverse_and_the_whole_picture_is_inside(height: int, width: int, size: int) -> None:
    window = whole(height, width, size)
    np.testing.assert_allclose(with_row(window.crop_from_px) @ with_row(window.px_from_crop), np.eye(3), atol=1e-12)
    corners = np.array([[-0.5, -0.5, 1], [width - 0.5, height - 0.5, 1]]).T
    seen = window.crop_from_px @ corners
    assert seen.min() >= -0.5 - 1e-9 and seen.max() <= size - 0.5 + 1e-9


@given(SIDES, SIDES, SIZES, st.floats(0.2, 0.8), st.floats(0.2, 0.8), st.floats(0.12, 0.3), st.floats(0.12, 0.3))
def test_a_mask_comes_back_where_it_was(height: int, width: int, size: int, cx: float, cy: float, rx: float,
                                        ry: float) -> None:
    v, u = np.mgrid[:height, :width]
    mask = ((u - cx * width) / (rx * width)) ** 2 + ((v - cy * height) / (ry * height)) ** 2 <= 1
    window = whole(height, width, size)
    # A signed distance is what logits are: smooth, 0 on the border.
    logits = _signed_distance(mask)
    back = window.paste(window.cut(logits, fill=-99), height, width, fill=-99)
    again = back > 0
    differs = np.count_nonzero(again ^ mask)
    rim = np.count_nonzero(mask ^ cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool))
    pixel = max(1.0, window.side / size)
    assert differs <= max(4, 0.75 * pixel * rim), (differs, rim, pixel)
    # Not only alike but in place: the centroid is kept to a fraction of a sample.
    if again.any():
        shift = np.abs(np.array(np.nonzero(again)).mean(1) - np.array(np.nonzero(mask)).mean(1)).max()
        assert shift < 0.35 * pixel + 0.3


@given(SIDES, SIDES, SIZES)
def test_ramps_come_back_as_they_were(height: int, width: int, size: int) -> None:
    v, u = np.mgrid[:height, :width].astype(np.float32)
    window = whole(height, width, size)
    margin = int(3 * max(1.0, window.side / size)) + 2
    for ramp in (u, v):
        back = window.paste(window.cut(ramp), height, width, fill=0)
        inner = np.s_[margin:-margin, margin:-margin]
        if ramp[inner].size:
            np.testing.assert_allclose(back[inner], ramp[inner], atol=0.06 * max(1, window.side / size))


def test_windows_beyond_the_border_see_the_fill_and_give_it_back() -> None:
    picture = np.full((50, 80), 7, np.float32)
    window = Window(60.0, 20.0, 40.0, 40)
    cut = window.cut(picture, fill=-1)
    assert cut[0, 0] == 7 and cut[-1, -1] == -1
    back = window.paste(cut, 50, 80, fill=-5)
    assert (back[:20] == -5).all() and (back[:, :60] == -5).all() and back[25, 70] == 7


def test_a_window_around_a_box_holds_it_in_the_middle() -> None:
    window = around((10, 20, 30, 26), 64, grow=2.0, least=8)
    assert window.side == 40
    np.testing.assert_allclose(window.crop_from_px @ [19.5, 22.5, 1], [31.5, 31.5], atol=1e-9)


@pytest.mark.parametrize("side", [0.0, -3.0, float("nan")])
def test_impossible_windows_are_refused(side: float) -> None:
    with pytest.raises(InputError, match="window"):
        Window(0, 0, side, 10)


def test_channels_hold_colour_normals_and_metric_size() -> None:
    rgb = np.full((480, 640, 3), 200, np.uint8)
    depth = np.full((480, 640), 0.8, np.float32)
    depth[:, :320] = 0
    x = channels(rgb, depth, CAMERA, whole(480, 640, 64), diameter=0.1)
    assert x.shape == (CHANNELS, 64, 64) and x.dtype == np.float32
    assert x[7, 32, 50] == 1 and x[7, 32, 10] == 0
    # A plane parallel to the image: its normal points at the camera.
    np.testing.assert_allclose(x[3:6, 32, 50], [0, 0, -1], atol=1e-3)
    assert x[6, 32, 50] == pytest.approx(np.log(0.1 * 600 / 640 / 0.8), abs=1e-4)
    assert (x[:3, :7] == x[:3, 0:1, 0:1]).all() and not x[3:, 32, 10].any()


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    inside = cv2.distanceTransform(np.pad(mask, 1, mode="edge").astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    outside = cv2.distanceTransform((~np.pad(mask, 1, mode="edge")).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    return (np.where(mask, inside - 0.5, 0.5 - outside)).astype(np.float32)
