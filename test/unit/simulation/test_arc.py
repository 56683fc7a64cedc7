"""The layers of the benchmark's clip: one camera, and one object that is there, hidden, gone or elsewhere."""

import numpy as np
import pytest

from storm_core.errors import ConfigError
from storm_core.geometry.camera import PinholeCamera
from storm_core.simulation.recording import SimulatedRecording
from storm_core.simulation.scenarios import ARC_LAYERS, ARC_TARGETS, arc

SMALL = PinholeCamera(160, 120, 153.5, 153.5, 80.0, 60.0)


def test_only_the_target_differs_between_the_layers():
    seen = {}
    for layer in ARC_LAYERS:
        recording = SimulatedRecording(arc(0, camera=SMALL, duration=0.2, objects=2, layer=layer), 0, oversample=1)
        assert recording.targets == ARC_TARGETS[:2]
        seen[layer] = recording.render(3).truth
    target, other = ARC_TARGETS[:2]
    visible = {layer: truth[target].visib_fract for layer, truth in seen.items()}
    assert visible["shown"] > 0.8 and visible["moved"] > 0.8 and visible["hidden"] < 0.05 and visible["gone"] == 0
    assert all(np.array_equal(seen[layer][other].cam_from_obj, seen["shown"][other].cam_from_obj)
               for layer in ARC_LAYERS)
    apart = seen["moved"][target].cam_from_obj[:3, 3] - seen["shown"][target].cam_from_obj[:3, 3]
    assert np.linalg.norm(apart) > 0.08
    assert np.array_equal(seen["hidden"][target].cam_from_obj, seen["shown"][target].cam_from_obj)
    with pytest.raises(ConfigError, match="unknown layer 'lost'"):
        arc(0, layer="lost")
