"""What STORM needs for several objects at once, for a registration from a mask, and for onboarding, on all cores.

`python -m storm_core.benchmarks.adapters.storm_objects CLIP OUT CONFIG` writes lines:

    copies NUMBER FRAME MS              so many copies of the object tracked and judged in this frame
    register FRAME MS m00 ... m33       registered from masks.npz of the clip, or a reason instead of the pose
    onboarding SECONDS BYTES            everything that is prepared from the mesh alone, nothing cached
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from storm_core.benchmarks.clip import frame_of
from storm_core.benchmarks.protocol import Task, asked, read_task
from storm_core.config import StormConfig
from storm_core.config_io import read_config
from storm_core.geometry.mesh import ObjectModel
from storm_core.parallel import on_threads
from storm_core.pipeline.build import build_localizer, build_models, build_monitor, build_registrar, build_tracker
from storm_core.pipeline.follow import known_start
from storm_core.pipeline.warmup import compile_kernels, warm_up
from storm_core.types import Hint, Localization, Registration, Track

COPIES = (1, 10)
MASKS = "masks.npz"
"""In the folder of the clip: frames (K,), masks (K, H, W) bool."""


def copies(task: Task, config: StormConfig, model: ObjectModel) -> Iterator[str]:
    """Copies of the object under other names, all started at the same pose: each is followed as if it were alone."""
    for number in COPIES:
        models = {f"copy {k}": replace(model, name=f"copy {k}") for k in range(number)}
        shortest = dict.fromkeys(asked(len(task), 1), float("inf"))
        for _ in range(task.repeats):
            tracker, monitor = build_tracker(config, models), build_monitor(config, models)
            first = frame_of(task.rgb[0], task.depth[0], task.camera, task.stamps_ns[0])
            for name in models:
                tracker.start(first, known_start(name, first.stamp_ns, task.start))
            for k in shortest:
                frame = frame_of(task.rgb[k], task.depth[k], task.camera, task.stamps_ns[k])
                begin = time.perf_counter()
                tracks = [result for result in tracker.track(frame).values() if isinstance(result, Track)]
                on_threads(partial(monitor.judge, frame), tracks)  # as the pipeline does
                shortest[k] = min(shortest[k], (time.perf_counter() - begin) * 1e3)
        yield from (f"copies {number} {k} {ms:.6f}\n" for k, ms in shortest.items())


def registrations(clip: Path, task: Task, config: StormConfig, model: ObjectModel) -> Iterator[str]:
    """One registration per mask, on its own: nothing is remembered from another frame."""
    models = {model.name: model}
    localizer, registrar = build_localizer(config, models), build_registrar(config, models)
    warm_up(models, localizer=localizer, registrar=registrar)
    with np.load(clip / MASKS) as given:
        frames, masks = given["frames"], given["masks"]
    for k, mask in zip(frames, masks, strict=True):
        frame = frame_of(task.rgb[k], task.depth[k], task.camera, task.stamps_ns[k])
        begin = time.perf_counter()
        result = localizer.localize(frame, model.name, Hint(mask=mask))
        if isinstance(result, Localization):
            result = registrar.register(frame, result)
        ms = (time.perf_counter() - begin) * 1e3
        told = (" ".join(f"{v:.9g}" for v in result.cam_from_obj.ravel()) if isinstance(result, Registration)
                else result.reason.value)
        yield f"register {k} {ms:.6f} {told}\n"


def onboarding(config: StormConfig, models: dict[str, ObjectModel]) -> str:
    """Every stage is built with an empty cache; what lies in the cache afterwards is the prepared object."""
    with tempfile.TemporaryDirectory() as cache:
        fresh = replace(config, onboarding=replace(config.onboarding, cache=cache))
        begin = time.perf_counter()
        for build in (build_localizer, build_registrar, build_tracker, build_monitor):
            build(fresh, models)
        seconds = time.perf_counter() - begin
        size = sum(file.stat().st_size for file in Path(cache).rglob("*") if file.is_file())
    return f"onboarding {seconds:.6f} {size}\n"


if __name__ == "__main__":
    clip, out, config_file = map(Path, sys.argv[1:])
    config, task = read_config(str(config_file)), read_task(clip)
    models = build_models(config)
    compile_kernels()
    with out.open("w") as file:
        file.write(onboarding(config, models))
        file.writelines(registrations(clip, task, config, models[task.object_name]))
        file.writelines(copies(task, config, models[task.object_name]))
