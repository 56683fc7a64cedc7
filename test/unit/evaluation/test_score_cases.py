"""Masks that were found, and the instances they belong to."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from storm_core.config import StormConfig
from storm_core.evaluation.dataset import open_dataset
from storm_core.evaluation.score import cases, matched, measured_share, recalls, searched
from storm_core.types import Localization, NotFound, Reason
from test.synthetic import frame_of, pose, textured_box
from test.unit.evaluation_runs.tiny_dataset import write_dataset


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


def row(error: float, measured: float, found: bool = True) -> dict[str, object]:
    errors = {"fitness": error, "oracle": error}
    return {"image": "1/0", "object": "1", "measured": measured, "ms": 1.0, "found": found, "errors": errors,
            "errors_shape": errors}


def test_what_depth_has_not_seen_is_counted_and_told_apart() -> None:
    figures = recalls([row(0.01, 0.9), row(0.5, 0.2), row(np.inf, 0.02, found=False), row(0.02, 0.1)])
    assert figures["targets"] == 4 and figures["recall_shape"]["fitness"] == 0.5
    seen = figures["measured"]
    assert seen["targets"] == 3 and seen["recall_shape"]["fitness"] == 2 / 3
    low, high = seen["ci95_shape"]["fitness"]
    assert low < 2 / 3 < high
    assert recalls([row(0.01, float("nan"))])["measured"] is None


def test_the_measured_share_is_that_of_the_whole_silhouette() -> None:
    frame = frame_of([(textured_box("box"), pose((0, 0, 0), (0, 0, 0.5)))])
    mask = frame.depth > 0
    depth = frame.depth.copy()
    depth[:, : depth.shape[1] // 2] = 0
    share = measured_share(replace(frame, depth=depth), mask, 0.5)
    assert share == 0.5 * (depth[mask] > 0).mean()
    assert measured_share(frame, np.zeros_like(mask), 0.0) == 0.0


def test_the_splits_are_those_of_the_training(tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(tmp_path / "tiny", images=10, scenes=1))
    images = {split: {c.image.im_id for c in cases(dataset, StormConfig(), {}, "gt", split=split)}
              for split in ("train", "test", "")}
    assert images == {"train": set(range(9)), "test": {9}, "": set(range(10))}
