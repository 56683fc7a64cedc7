"""Masks that were found, and the instances they belong to."""

import numpy as np

from storm_core.evaluation.score import matched, searched
from storm_core.types import Localization, NotFound, Reason
from test.synthetic import frame_of, pose, textured_box


def block(first: int, last: int) -> np.ndarray:
    mask = np.zeros((8, 20), bool)
    mask[2:6, first:last] = True
    return mask


def test_every_instance_gets_the_mask_that_covers_it_best_and_none_twice() -> None:
    left, right = block(0, 6), block(10, 16)
    one, other = block(9, 16), block(0, 5)
    first, second = matched([left, right], [one, other])
    assert first is other and second is one
    first, second = matched([left, right], [one])
    assert first is None and second is one
    assert matched([left, right], []) == [None, None]
    only, = matched([left], [one])
    assert only is one, "a wrong mask is what was found, not nothing"


def test_instances_are_searched_one_after_the_other() -> None:
    """The second search sees a frame in which the first find is out of the way."""
    model = textured_box("box")
    frame = frame_of([(model, pose((0, 0, 0), (0, 0, 0.5)))])
    spots = [np.zeros(frame.depth.shape, bool) for _ in range(2)]
    spots[0][100:120, 100:120] = spots[1][200:220, 200:220] = True

    class Localizer:
        def localize(self, frame, object_name, hint):
            for spot in spots:
                if frame.depth[spot].min() > 0.1:
                    return Localization(object_name=object_name, stamp_ns=0, mask=spot, probability=0.9,
                                        cam_from_objs=np.zeros((0, 4, 4)))
            return NotFound(object_name=object_name, stamp_ns=0, reason=Reason.NO_CANDIDATE)

    found = searched(Localizer(), frame, model, 3)
    assert [np.array_equal(a, b) for a, b in zip(found, spots, strict=True)] == [True, True]
