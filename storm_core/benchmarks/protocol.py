"""How a contender is told what to track, and how it answers: files that a C++ or Python program reads in a few lines.

A clip is a folder:

    clip.txt    lines `key value`: width, height [px], fx, fy, cx, cy [px], depth_unit [m], frames, diameter [m],
                strides (several), repeats, object, start (16 numbers: true cam_from_obj [m] of frame 0, by rows)
    stamps.txt  acquisition time of each frame [ns], one per line
    rgb.bin     frames x height x width x 3 bytes, RGB
    depth.bin   frames x height x width little-endian 16-bit counts of depth_unit, aligned with colour, 0 = missing
    model.ply   the object's mesh [m] with vertex colours; model.obj: the same without colours

For each stride and each repeat the contender starts anew at `start` in frame 0, then answers frames stride,
2 stride, ... in this order without looking ahead, and writes lines to its output file:

    pose STRIDE REPEAT FRAME MS m00 m01 ... m33     cam_from_obj [m] by rows, or the word `none` instead of it
    stage STRIDE REPEAT FRAME NAME MS               a part of MS, if it can tell
    onboarding SECONDS BYTES                        what preparing the object cost, once

MS is the time for this frame without reading images. Exit status 0; otherwise the last line on stderr says why.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storm_core.benchmarks.clip import DEPTH_UNIT_M, Clip
from storm_core.errors import DatasetError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel

Pose = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """What a contender reads; attributes as in the module's description."""

    camera: PinholeCamera
    depth_unit: float
    diameter: float
    strides: tuple[int, ...]
    repeats: int
    start: Pose
    object_name: str
    stamps_ns: tuple[int, ...]
    rgb: NDArray[np.uint8]
    depth: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.stamps_ns)


@dataclass(eq=False)
class Answer:
    """What a contender wrote, by (stride, frame).

    Attributes:
      poses: of the first repeat; None = it said that it has none. ms: shortest over the repeats [ms].
      stages: stage name -> as `ms`. onboarding: (seconds, bytes), None when it did not say.
    """

    poses: dict[tuple[int, int], Pose | None] = field(default_factory=dict)
    ms: dict[tuple[int, int], float] = field(default_factory=dict)
    stages: dict[str, dict[tuple[int, int], float]] = field(default_factory=lambda: defaultdict(dict))
    onboarding: tuple[float, int] | None = None


def asked(frames: int, stride: int) -> range:
    """The frames that are answered at this stride; frame 0 is given."""
    return range(stride, frames, stride)


def write_clip(folder: Path, clip: Clip, strides: Sequence[int], repeats: int) -> None:
    """Write the folder of a clip; `folder` exists."""
    c = clip.camera
    values: Mapping[str, object] = {
        "width": c.width, "height": c.height, "fx": c.fx, "fy": c.fy, "cx": c.cx, "cy": c.cy,
        "depth_unit": DEPTH_UNIT_M, "frames": len(clip), "diameter": clip.model.diameter,
        "strides": " ".join(map(str, strides)), "repeats": repeats, "object": clip.model.name,
        "start": " ".join(repr(float(v)) for v in clip.start.ravel())}
    (folder / "clip.txt").write_text("".join(f"{key} {value}\n" for key, value in values.items()))
    (folder / "stamps.txt").write_text("".join(f"{stamp}\n" for stamp in clip.stamps_ns))
    clip.rgb.tofile(folder / "rgb.bin")
    clip.depth.astype("<u2").tofile(folder / "depth.bin")
    _write_meshes(folder, clip.model)


def read_task(folder: Path) -> Task:
    """The clip in a folder; images stay on disk until they are used."""
    pairs = (line.partition(" ") for line in (folder / "clip.txt").read_text().splitlines())
    values = {key: value for key, _, value in pairs}
    camera = PinholeCamera(int(values["width"]), int(values["height"]),
                           *(float(values[key]) for key in ("fx", "fy", "cx", "cy")))
    shape = (int(values["frames"]), camera.height, camera.width)
    return Task(
        camera=camera, depth_unit=float(values["depth_unit"]), diameter=float(values["diameter"]),
        strides=tuple(map(int, values["strides"].split())), repeats=int(values["repeats"]),
        start=np.array(values["start"].split(), float).reshape(4, 4), object_name=values["object"],
        stamps_ns=tuple(map(int, (folder / "stamps.txt").read_text().split())),
        rgb=np.memmap(folder / "rgb.bin", np.uint8, "r", shape=(*shape, 3)),
        depth=np.memmap(folder / "depth.bin", "<u2", "r", shape=shape))


def read_answer(file: Path, frames: int, strides: Sequence[int]) -> Answer:
    """What a contender wrote about a clip of so many frames.

    Raises:
      DatasetError: a line is malformed, or answers a frame that was not asked for.
    """
    answer = Answer()
    wanted = {(stride, k) for stride in strides for k in asked(frames, stride)}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        try:
            kind, *words = line.split()
            if kind == "onboarding":
                answer.onboarding = float(words[0]), int(words[1])
                continue
            stride, repeat, frame = map(int, words[:3])
            key = stride, frame
            if key not in wanted:
                raise ValueError(f"frame {frame} was not asked for at stride {stride}")
            if kind == "stage":
                _shortest(answer.stages[words[3]], key, float(words[4]))
            elif kind == "pose":
                _shortest(answer.ms, key, float(words[3]))
                if repeat == 0:
                    answer.poses[key] = _pose(words[4:])
            else:
                raise ValueError(f"{kind!r} is unknown")
        except (ValueError, IndexError) as error:
            raise DatasetError(f"{file} line {number} is no answer of a tracker ({error}): {line[:80]}") from error
    return answer


def pose_line(stride: int, repeat: int, frame: int, ms: float, pose: Pose | None) -> str:
    """One line of an answer."""
    numbers = "none" if pose is None else " ".join(f"{v:.9g}" for v in np.ravel(pose))
    return f"pose {stride} {repeat} {frame} {ms:.6f} {numbers}\n"


def stage_line(stride: int, repeat: int, frame: int, stage: str, ms: float) -> str:
    """One line of an answer."""
    return f"stage {stride} {repeat} {frame} {stage} {ms:.6f}\n"


def _shortest(times: dict[tuple[int, int], float], key: tuple[int, int], ms: float) -> None:
    times[key] = min(ms, times.get(key, ms))


def _pose(words: Sequence[str]) -> Pose | None:
    """A pose, or None for `none` and for numbers that are no pose: a tracker that diverged has no answer."""
    if list(words) == ["none"]:
        return None
    numbers = np.array(words, float)
    if numbers.size != 16:
        raise ValueError(f"a pose has 16 numbers, got {numbers.size}")
    pose = numbers.reshape(4, 4)
    rotation = pose[:3, :3]
    if not np.isfinite(pose).all() or np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-2:
        return None
    return pose


def _write_meshes(folder: Path, model: ObjectModel) -> None:
    import trimesh

    vertices = "".join(f"v {x:.7f} {y:.7f} {z:.7f}\n" for x, y, z in model.vertices)
    faces = "".join(f"f {a} {b} {c}\n" for a, b, c in model.faces + 1)
    (folder / "model.obj").write_text(vertices + faces)
    trimesh.Trimesh(model.vertices, model.faces, vertex_colors=model.colors, process=False).export(folder / "model.ply")
