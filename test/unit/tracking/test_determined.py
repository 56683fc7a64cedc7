"""Which directions an image leaves open."""

import numpy as np
import pytest

from storm_core.tracking.determined import NO_AXIS, OPEN_SHIFT, OPEN_TURN, least_kernel, leaves_open
from storm_core.tracking.histogram import ColorModel, count
from storm_core.tracking.optimise import assess, tolerance
from storm_core.tracking.sparse_model import rendered_view
from storm_core.tracking.texture import make_key_frame
from test.unit.tracking.scenes import CAMERA, background, observe, printed_can, swing, wedge

POSE = swing(1)[0]


@pytest.mark.parametrize("seed", range(5))
def test_least_information_is_what_no_direction_falls_below(seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = 1e4 * rng.normal(size=(6, 9))  # well above the unit that keeps an open rest solvable
    information = root @ root.T
    d = 0.13
    shift, turn = least_kernel(information, d, NO_AXIS, 1.0)
    unit = np.diag([d, d, d, 1, 1, 1])
    covariance = np.linalg.inv(unit @ information @ unit)
    # The slow way: the inverse of the largest variance.
    assert shift == pytest.approx(1 / np.linalg.eigvalsh(covariance[:3, :3])[-1], rel=1e-3)
    assert turn == pytest.approx(1 / np.linalg.eigvalsh(covariance[3:, 3:])[-1], rel=1e-3)


def test_a_free_axis_is_not_asked_about() -> None:
    information = np.diag([1e6, 1e6, 1e6, 1e6, 1e6, 0.0])
    assert least_kernel(information, 1.0, NO_AXIS, OPEN_TURN)[1] == pytest.approx(0.0, abs=1e-6)
    assert least_kernel(information, 1.0, np.array([0.0, 0, 1]), OPEN_TURN)[1] == pytest.approx(OPEN_TURN)
    assert OPEN_SHIFT > 0


def test_a_can_is_held_by_its_print_only() -> None:
    rng = np.random.default_rng(0)
    for model, held in ((wedge(), True), (printed_can(), False)):
        frame = observe(model, POSE, 0, background(rng), rng)
        view = rendered_view(model, POSE, CAMERA)
        posterior = ColorModel(count(frame, view, tolerance(model.diameter))).posterior
        key = make_key_frame(frame, view, POSE, 2 * tolerance(model.diameter))
        assert leaves_open(model, assess(frame, model, view, POSE, posterior)) != held
        assert not leaves_open(model, assess(frame, model, view, POSE, posterior, key))
