"""Several instances by the default localizer, which needs no weights."""

from pathlib import Path

import numpy as np

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
