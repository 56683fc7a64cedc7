"""Named scenarios: what stands on the table, how the camera moves, what passes in front of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from storm_core.errors import ConfigError
from storm_core.geometry.camera import PinholeCamera
from storm_core.geometry.mesh import ObjectModel
from storm_core.geometry.pose import so3_exp
from storm_core.simulation import shapes
from storm_core.simulation.camera_path import CameraPath, Key
from storm_core.simulation.depth_sensors import ActiveStereo, DepthCamera
from storm_core.simulation.objects import CATALOG, make_object, plain_model, printed_box, turned
from storm_core.simulation.scene import Body, Plane, Scene, stand
from storm_core.simulation.sensor import ColorSensor
from storm_core.simulation.textures import carpet, cloth, plaster, wood

CAMERA = PinholeCamera(640, 480, 614.2, 614.6, 321.7, 241.3)
"""A common RGB-D camera's colour stream at 640x480."""

Motion = Callable[[float], NDArray[np.float64]]
"""t [s] -> world_from_obj (4, 4), or the position (3,) of a lamp."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Scenario:
    """One recording's script.

    Attributes:
      duration: [s]. targets: labels of the objects to be tracked.
      annotated: label -> index of the body, for all bodies with ground truth.
      motions: body index -> motion, for bodies that move.
      exposure: shutter time [s].
      lamp: t [s] -> position of the lamp (3,) [m], for a lamp that moves.
      tint: RGB factors of the light: the white balance.
      present: label -> (from, to) [s], for annotated objects that are not in the scene all the time.
      blind: (from, to) [s] in which the depth camera gives nothing.
    """

    name: str
    duration: float
    rate: float
    camera: PinholeCamera
    scene: Scene
    path: CameraPath
    targets: tuple[str, ...]
    annotated: Mapping[str, int]
    motions: Mapping[int, Motion]
    exposure: float = 0.007
    lamp: Motion | None = None
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    depth_camera: DepthCamera = ActiveStereo()
    color_sensor: ColorSensor = ColorSensor()
    present: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    blind: tuple[float, float] | None = None

    def is_present(self, label: str, t: float) -> bool:
        start, end = self.present.get(label, (-np.inf, np.inf))
        return start <= t < end


def make_scenario(name: str, seed: int) -> Scenario:
    """A scenario by name; ConfigError lists the known ones."""
    if name not in SCENARIOS:
        raise ConfigError(f"unknown scenario {name!r}; known: {', '.join(SCENARIOS)}")
    return SCENARIOS[name](seed)


def _demo(seed: int) -> Scenario:
    """One carton among clutter: rest, hand-held arc, full occlusion by a clipboard, exit and return, fast sweep."""
    rng = np.random.default_rng([seed, 1])
    home, aim = (0.02, -0.56, 0.42), (0.0, 0.02, 0.055)
    away = (1.05, 0.32, 0.02)
    keys = (
        Key(0.0, home, aim), Key(1.4, home, aim),
        Key(2.4, (-0.20, -0.50, 0.44), aim, 0.04), Key(3.6, (0.19, -0.50, 0.36), (0.01, 0.02, 0.05), -0.05),
        Key(4.4, home, aim), Key(7.5, (0.03, -0.55, 0.43), aim),
        Key(8.0, home, aim), Key(8.8, home, away), Key(9.8, (0.03, -0.55, 0.42), away), Key(10.6, home, aim),
        Key(11.3, home, aim),
        Key(11.55, (0.10, -0.53, 0.44), (0.05, 0.02, 0.06), 0.06),
        Key(11.9, (-0.11, -0.53, 0.41), (-0.05, 0.02, 0.05), -0.06),
        Key(12.2, (0.02, -0.52, 0.42), aim), Key(14.0, (0.05, -0.50, 0.40), aim),
    )
    path = CameraPath(keys, rng)
    bodies = [*_clutter(seed, rng), *hand_with_sheet(rng)]
    motion = _pass_by(path, enter=4.55, hide=5.25, leave=6.75, gone=7.45)
    motions = {i: motion for i, body in enumerate(bodies) if body.moving}
    return Scenario(name="demo", duration=14.0, rate=30.0, camera=CAMERA, scene=_room(tuple(bodies), rng), path=path,
                    targets=("cereal_box",), annotated=_of_catalog(bodies, ("cereal_box",)), motions=motions)


def _still(seed: int) -> Scenario:
    """Half a second of the demo's table, hand-held and at rest: for quick checks."""
    rng = np.random.default_rng([seed, 2])
    eye, aim = (0.02, -0.56, 0.42), (0.0, 0.02, 0.055)
    path = CameraPath((Key(0.0, eye, aim), Key(0.5, (0.025, -0.56, 0.42), aim)), rng)
    bodies, targets = _clutter(seed, rng), ("cereal_box", "bottle", "mug")
    return Scenario(name="still", duration=0.5, rate=30.0, camera=CAMERA, scene=_room(tuple(bodies), rng), path=path,
                    targets=targets, annotated=_of_catalog(bodies, targets), motions={})


ARC_TARGETS = ("cereal_box", "bottle", "tea_tin", "mug", "bumpy_blob", "bracket")
"""Objects on the table of `arc`, the first of which is the one that things happen to."""

ARC_LAYERS = ("shown", "hidden", "gone", "moved")
"""What happens to it: nothing, a clipboard before it, taken away, put elsewhere on the table."""


def arc(seed: int, *, camera: PinholeCamera = CAMERA, duration: float = 1.6, objects: int = 1,
        layer: str = "shown") -> Scenario:
    """A smooth arc over the demo's table, which may be played to and fro for ever; every layer has the same camera.

    Args:
      objects: how many of ARC_TARGETS are to be tracked. layer: one of ARC_LAYERS.
    """
    rng = np.random.default_rng([seed, 3])
    aim = (0.0, 0.02, 0.055)
    keys = (Key(0.0, (0.10, -0.52, 0.40), aim), Key(0.5 * duration, (0.0, -0.56, 0.43), aim, 0.02),
            Key(duration, (-0.12, -0.51, 0.42), aim, 0.04))
    path = CameraPath(keys, rng)
    bodies = [*_clutter(seed, rng), *hand_with_sheet(rng)]
    index = _of_catalog(bodies, ARC_TARGETS)
    parked = np.eye(4)
    parked[2, 3] = -5.0
    before = np.eye(4)
    before[2, 3] = 0.36
    motions: dict[int, Motion] = {i: lambda t: parked for i, body in enumerate(bodies) if body.moving}
    target = index[ARC_TARGETS[0]]
    if layer == "hidden":
        motions = dict.fromkeys(motions, lambda t: path.steady(t) @ before)
    elif layer == "gone":
        motions[target] = lambda t: parked
    elif layer == "moved":
        elsewhere = stand(bodies[target].model, -0.02, -0.15, 1.3)
        motions[target] = lambda t: elsewhere
    elif layer != "shown":
        raise ConfigError(f"unknown layer {layer!r}; known: {', '.join(ARC_LAYERS)}")
    return Scenario(name=f"arc-{layer}", duration=duration, rate=30.0, camera=camera, scene=_room(tuple(bodies), rng),
                    path=path, targets=ARC_TARGETS[:objects], annotated=index, motions=motions)


SCENARIOS: dict[str, Callable[[int], Scenario]] = {"demo": _demo, "still": _still}


def _of_catalog(bodies: Sequence[Body], targets: Sequence[str]) -> dict[str, int]:
    """Bodies that are objects of the catalog by name: targets, then the others."""
    found = {body.model.name: index for index, body in enumerate(bodies) if body.model.name in CATALOG}
    return {name: found[name] for name in [*targets, *(n for n in found if n not in targets)]}


def _clutter(seed: int, rng: np.random.Generator) -> list[Body]:
    """The target and its neighbours, each a little moved and turned by the seed."""
    layout = {
        "cereal_box": (0.0, 0.0, 0.35, 0.04), "mug": (-0.145, -0.035, 2.2, 0.18),
        "bottle": (0.150, 0.070, 0.9, 0.12), "tea_tin": (-0.080, 0.155, -0.5, 0.05),
        "bumpy_blob": (0.115, -0.075, 0.3, 0.02), "bracket": (-0.255, 0.110, 0.6, 0.30),
    }
    bodies = []
    for name, (x, y, yaw, gloss) in layout.items():
        model = make_object(name, seed)
        dx, dy = rng.uniform(-0.008, 0.008, 2)
        pose = stand(model, x + dx, y + dy, yaw + rng.uniform(-0.25, 0.25))
        bodies.append(Body(model=model, world_from_obj=pose, gloss=gloss))
    book = _book(rng)
    bodies.append(Body(model=book, world_from_obj=stand(book, 0.315, 0.17, -0.35), gloss=0.05))
    return bodies


def _book(rng: np.random.Generator) -> ObjectModel:
    """A flat printed book."""
    return printed_box("book", (0.155, 0.215, 0.028), rng, (0.24, 0.30, 0.33), (0.80, 0.55, 0.25))


def hand_with_sheet(rng: np.random.Generator) -> list[Body]:
    """A clipboard held by a hand with a sleeve, in the frame of the board: x right, y down, z away from the camera."""
    # Turned by half a turn: the print reads upright for the camera, whose y axis points down.
    board = turned(printed_box("clipboard", (0.200, 0.240, 0.006), rng, (0.80, 0.80, 0.77), (0.35, 0.37, 0.40), 0.0022))
    side = 0.098
    fingers = []
    for k, y in enumerate((-0.030, -0.010, 0.010, 0.029)):
        bones = np.linspace((side + 0.045, y, -0.020), (side - 0.040 + 0.004 * k, y - 0.004, -0.014), 8)
        fingers.append(shapes.tube(bones, 0.0085, 0.004))
    thumb = shapes.tube(np.linspace((side + 0.045, -0.022, 0.022), (side - 0.030, -0.036, 0.014), 8), 0.0095, 0.004)
    palm = shapes.ball((0.042, 0.044, 0.020), 4)
    palm.apply_translation((side + 0.058, 0.002, 0.0))
    wrist = shapes.tube(np.linspace((side + 0.08, 0.008, 0.004), (side + 0.17, 0.05, 0.02), 8), 0.026, 0.006)
    sleeve = shapes.tube(np.linspace((side + 0.14, 0.038, 0.014), (side + 0.55, 0.24, 0.12), 24),
                         np.linspace(0.040, 0.058, 24), 0.006)
    skin = plain_model("hand", trimesh.util.concatenate([*fingers, thumb, palm, wrist]))
    arm = plain_model("sleeve", sleeve)
    parked = np.eye(4)
    parked[:3, 3] = 0, 0, -5
    return [Body(model=board, world_from_obj=parked, gloss=0.03, moving=True),
            Body(model=skin, world_from_obj=parked, paint=(0.80, 0.60, 0.50), gloss=0.06, moving=True),
            Body(model=arm, world_from_obj=parked, paint=(0.20, 0.24, 0.34), gloss=0.0, moving=True)]


def _pass_by(path: CameraPath, *, enter: float, hide: float, leave: float, gone: float) -> Motion:
    """A board that comes in from the right, stays before the aim point from `hide` to `leave` and goes back.

    It moves in the frame of the intended camera: whatever the camera does, the view to the table is blocked.
    """
    sway = 0.012
    outside = np.array([0.46, 0.07, 0.40])
    before = np.array([0.0, 0.0, 0.36])
    track = PchipInterpolator([0.0, enter, hide, (hide + leave) / 2, leave, gone, gone + 1e3],
                              [outside, outside, before, before + [sway, -sway, 0], before, outside, outside])

    def at(t: float) -> NDArray[np.float64]:
        pose = np.eye(4)
        # Out of the way entirely while it has nothing to do, so that no shadow lies on the table.
        pose[:3, 3] = track(t) if enter <= t <= gone else (0.0, 0.0, -5.0)
        pose[:3, :3] = so3_exp([0.0, 0.0, 0.08 * np.sin(1.7 * t)])
        return path.steady(t) @ pose

    return at


def _room(bodies: tuple[Body, ...], rng: np.random.Generator) -> Scene:
    size = 1400
    table, runner = wood(size, size, rng), cloth(size, size, rng)
    # A cloth lies under the left part of the table.
    table[:, :int(0.36 * size)] = runner[:, :int(0.36 * size)]
    floor, back, side = carpet(size, size, rng), plaster(size, size, rng)[::-1], plaster(size, size, rng)
    planes = (
        Plane(centre=(0.0, 0.1, 0.0), right=(1, 0, 0), down=(0, 1, 0), half=(0.8, 0.65), picture=table, gloss=0.06),
        Plane(centre=(0.0, 0.5, -0.74), right=(1, 0, 0), down=(0, 1, 0), half=(3.0, 2.0), picture=floor),
        Plane(centre=(0.0, 1.05, 0.6), right=(1, 0, 0), down=(0, 0, 1), half=(3.0, 1.5), picture=back),
        Plane(centre=(2.6, 0.0, 0.6), right=(0, 1, 0), down=(0, 0, -1), half=(3.0, 1.5), picture=side),
    )
    return Scene(bodies=bodies, planes=planes)
