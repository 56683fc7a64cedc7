"""The loop every contender written in Python goes through: start, follow, time, write the answer."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from storm_core.benchmarks.clip import frame_of
from storm_core.benchmarks.protocol import Pose, Task, asked, pose_line, read_task, stage_line
from storm_core.types import Frame


class Contender(Protocol):
    """Follows one object. `stages`: name -> ms of the last call of `track`, may stay empty."""

    stages: dict[str, float]

    def start(self, frame: Frame, cam_from_obj: Pose) -> None: ...

    def track(self, frame: Frame) -> Pose | None: ...


def answer(clip: Path, out: Path, make: Callable[[Task], Contender],
           clock: Callable[[], float] = time.process_time) -> None:
    """Answer every stride and repeat of a clip.

    Args:
      make: a contender without memory of earlier runs. clock: seconds; process time is that of all its threads.
    """
    task = read_task(clip)
    with out.open("w") as file:
        for stride in task.strides:
            for repeat in range(task.repeats):
                contender = make(task)
                contender.start(_frame(task, 0), task.start)
                for k in asked(len(task), stride):
                    frame = _frame(task, k)
                    begin = clock()
                    pose = contender.track(frame)
                    file.write(pose_line(stride, repeat, k, (clock() - begin) * 1e3, pose))
                    file.writelines(stage_line(stride, repeat, k, name, ms) for name, ms in contender.stages.items())


def _frame(task: Task, index: int) -> Frame:
    """Read before the clock runs: the images are copied out of the mapped file here."""
    return frame_of(task.rgb[index], task.depth[index], task.camera, task.stamps_ns[index])


def points_near(frame: Frame, center: NDArray[np.float64],
                radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measured points (N, 3) [m] within `radius` [m] of `center`, and their colours (N, 3) in [0, 1]."""
    camera = frame.camera
    if center[2] <= radius:
        return np.zeros((0, 3)), np.zeros((0, 3))
    reach = radius / (center[2] - radius)
    u0, u1 = (np.clip(camera.cx + camera.fx * (center[0] / center[2] + s * reach), 0, camera.width) for s in (-1, 1))
    v0, v1 = (np.clip(camera.cy + camera.fy * (center[1] / center[2] + s * reach), 0, camera.height) for s in (-1, 1))
    window = np.s_[int(v0):int(np.ceil(v1)), int(u0):int(np.ceil(u1))]
    depth = frame.depth[window].astype(float)
    v, u = np.nonzero(np.abs(depth - center[2]) < radius)
    z = depth[v, u]
    points = np.stack([(u + int(u0) - camera.cx) / camera.fx * z, (v + int(v0) - camera.cy) / camera.fy * z, z], 1)
    near = ((points - center) ** 2).sum(1) < radius**2
    return points[near], frame.rgb[window][v[near], u[near]] / 255.0
