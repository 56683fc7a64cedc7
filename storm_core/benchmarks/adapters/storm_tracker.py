"""STORM's tracker and monitor, without recovery, as one contender among others.

`python -m storm_core.benchmarks.adapters.storm_tracker CLIP OUT CONFIG`, CONFIG names the meshes (config.yaml).
"""

import sys
import time
from pathlib import Path

from storm_core.benchmarks.adapters.answering import answer
from storm_core.benchmarks.protocol import Pose, Task
from storm_core.config import StormConfig
from storm_core.config_io import read_config
from storm_core.geometry.mesh import ObjectModel
from storm_core.pipeline.build import build_models, build_monitor, build_tracker
from storm_core.pipeline.follow import known_start
from storm_core.pipeline.warmup import compile_kernels
from storm_core.tracking.texture import brightness_images
from storm_core.types import Frame, Track


class StormTracker:
    """stages: preprocess (the images that all objects share), track and monitor."""

    def __init__(self, config: StormConfig, models: dict[str, ObjectModel], task: Task) -> None:
        self.stages: dict[str, float] = {}
        self._name = task.object_name
        self._tracker = build_tracker(config, models)
        self._monitor = build_monitor(config, models)

    def start(self, frame: Frame, cam_from_obj: Pose) -> None:
        self._tracker.start(frame, known_start(self._name, frame.stamp_ns, cam_from_obj))

    def track(self, frame: Frame) -> Pose | None:
        begin = time.process_time()
        brightness_images(frame)  # the tracker finds them ready, as it does for every object after the first
        prepared = time.process_time()
        result = self._tracker.track(frame).get(self._name)
        tracked = time.process_time()
        self.stages = {"preprocess": (prepared - begin) * 1e3, "track": (tracked - prepared) * 1e3}
        if not isinstance(result, Track):
            return None
        self._monitor.judge(frame, result)
        self.stages["monitor"] = (time.process_time() - tracked) * 1e3
        return result.cam_from_obj


if __name__ == "__main__":
    clip, out, config_file = map(Path, sys.argv[1:])
    config = read_config(str(config_file), {})
    models = build_models(config)
    compile_kernels()
    answer(clip, out, lambda task: StormTracker(config, models, task))
