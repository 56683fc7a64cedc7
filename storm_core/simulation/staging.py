"""From the plan of a benchmark scene to its script: objects laid out, camera path, light, occluders and events."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from storm_core.geometry.camera import PinholeCamera
from storm_core.simulation import itinerary, occluders
from storm_core.simulation.camera_path import CameraPath
from storm_core.simulation.depth_sensors import depth_camera
from storm_core.simulation.happenings import PARKED, Event, Thing, happening, label_of
from storm_core.simulation.itinerary import EVENT, Orbit
from storm_core.simulation.lighting import lighting
from storm_core.simulation.object_pool import Pool, PoolObject
from storm_core.simulation.room import room
from storm_core.simulation.scenarios import Scenario
from storm_core.simulation.scene import Body, Scene
from storm_core.simulation.scene_plan import ScenePlan
from storm_core.simulation.strata import PRESENT
from storm_core.simulation.table_layout import arrange, at_rest, footprint, height

Pose = NDArray[np.float64]

_CLEAR_VIEW = 0.97
"""Neighbours that hide more of the target than the rest of this are taken away."""
_DISTANCE = {"near": 0.62, "medium": 1.0, "far": 1.75}
_LAYOUT, _ROOM, _LIGHT, _VIEW, _PATH, _COVER, _SURFACE, _CHANGE = range(8)
"""Independent random streams of a scene: a factor that draws more from its own leaves the others as they are."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Staged:
    """A scene ready to be rendered.

    Attributes:
      ids: label of each annotated body -> BOP id.
      cover: what hides the target of a single picture: `carton`, or the side that a held sheet comes from; None =
        nothing does, or in a sequence, where the sheet always comes from the right.
    """

    scenario: Scenario
    ids: dict[str, int]
    events: tuple[Event, ...]
    cover: str | None


def stage(plan: ScenePlan, pool: Pool, camera: PinholeCamera) -> Staged:
    """The script of one scene; a pure function of the plan and the objects."""
    duration = plan.frames / plan.rate_hz
    target, around = _laid_out(plan, pool)
    radius = footprint(target.body.model, target.body.world_from_obj)
    tall = height(target.body.model, target.body.world_from_obj)
    orbit, path = _camera(plan, target, tall, duration)
    probe = occluders.Probe(camera)
    change = happening(plan.tags.get("event", "none"), target, around, None if plan.twin is None else pool[plan.twin],
                       duration, np.random.default_rng([*plan.seed, _CHANGE]))
    around = _unobstructed(probe, path, change.places, change.around, duration)
    things = change.things if plan.tags.get("presence", PRESENT) == PRESENT else _stand_in(plan, pool, target)
    cover, covering = _cover(plan, probe, path, orbit, target.body, radius, tall, duration)
    things = things + around + covering
    light = lighting(plan.tags.get("light", "normal"), np.random.default_rng([*plan.seed, _LIGHT]))
    planes = room(np.random.default_rng([*plan.seed, _ROOM]))
    # An empty table still needs a body to render; this one is never seen.
    bodies = tuple(thing.body for thing in things) or (replace(target.body, world_from_obj=PARKED),)
    labelled = {thing.label: k for k, thing in enumerate(things) if thing.label is not None}
    scenario = Scenario(
        name=f"{plan.suite}-{plan.scene:06d}", duration=duration, rate=plan.rate_hz, camera=camera, path=path,
        scene=Scene(bodies=bodies, planes=planes, lamp=light.lamp, power=light.power, ambient=light.ambient,
                    softness=light.softness),
        targets=tuple(label for label, k in labelled.items() if things[k].obj_id == plan.target), annotated=labelled,
        motions={k: thing.motion for k, thing in enumerate(things) if thing.motion is not None},
        exposure=light.exposure, lamp=light.motion(), tint=light.tint, depth_camera=depth_camera(plan.sensor),
        color_sensor=light.sensor, present={t.label: t.present for t in things if t.label and t.present},
        blind=next(((e.from_s, e.to_s) for e in change.events if e.kind == "depth_lost"), None))
    return Staged(scenario=scenario, ids={label: things[k].obj_id for label, k in labelled.items()},
                  events=change.events, cover=cover)


def _laid_out(plan: ScenePlan, pool: Pool) -> tuple[Thing, list[Thing]]:
    """The target in the middle, and what stands around it: neighbours, then further instances and look-alikes."""
    copies = int(plan.tags.get("instances", "1")) - 1
    twin = [plan.twin] if plan.tags.get("distractors") in ("same_shape", "same_print") else []
    ids = [plan.target, *plan.neighbours, *[plan.target] * copies, *twin]
    poses = arrange([pool[k].model for k in ids], np.random.default_rng([*plan.seed, _LAYOUT]),
                    beside=copies + len(twin))
    surface = np.random.default_rng([*plan.seed, _SURFACE])
    things, count = [], {}
    for obj_id, pose in zip(ids, poses, strict=True):
        body = _body(pool[obj_id], np.eye(4) if pose is None else pose, surface)
        if pose is not None:
            count[obj_id] = count.get(obj_id, 0) + 1
            things.append(Thing(body, label_of(pool[obj_id], count[obj_id]), obj_id))
    return things[0], things[1:]


def _body(made: PoolObject, pose: Pose, rng: np.random.Generator) -> Body:
    grey = float(rng.uniform(0.3, 0.75))
    gloss = float(rng.choice([0.02, 0.1, 0.25]))
    return Body(model=made.model, world_from_obj=pose, paint=(grey, grey, grey), gloss=gloss)


def _camera(plan: ScenePlan, target: Thing, tall: float, duration: float) -> tuple[Orbit, CameraPath]:
    view = np.random.default_rng([*plan.seed, _VIEW])
    size = target.body.model.diameter
    distance = float(np.clip(1.9 * size + 0.23, 0.34, 1.0)) * view.uniform(0.92, 1.08)
    middle = target.middle
    azimuth, elevation = -np.pi / 2 + view.uniform(-0.8, 0.8), view.uniform(0.5, 0.95)
    orbit = Orbit(aim=(middle[0], middle[1], tall / 2), azimuth=azimuth, elevation=elevation,
                  distance=max(distance * _DISTANCE[plan.tags.get("distance", "medium")], 0.6 * size + 0.2))
    if _behind_carton(plan):
        # A carton on the table hides little from a camera high above it.
        orbit = replace(orbit, elevation=0.28 + 0.3 * (elevation - 0.5))
    rng = np.random.default_rng([*plan.seed, _PATH])
    if plan.suite == "failure":
        return orbit, itinerary.eventful(orbit, plan.tags["event"], duration, rng)
    if "speed" in plan.tags:
        return orbit, itinerary.wander(orbit, itinerary.PACES[plan.tags["speed"]], duration, rng)
    # A picture is taken by a camera whose view is a little off the object.
    off = tuple(float(a) for a in np.array(orbit.aim) + view.normal(0, 0.12 * orbit.distance, 3) * [1, 1, 0.3])
    return orbit, itinerary.still(replace(orbit, aim=off) if plan.tags.get("occlusion", "0") == "0" else orbit, rng)


def _unobstructed(probe: occluders.Probe, path: CameraPath, targets: list[Body], around: list[Thing],
                  duration: float) -> list[Thing]:
    """Without the neighbours that stand between the camera and the target."""
    left = list(around)
    for t in np.linspace(0.0, duration, 5 if duration > 0.1 else 1):
        for target in targets:
            while left:
                bodies = [thing.body for thing in left]
                share = probe.visible(path.at(t), target, bodies)
                worst = probe.worst(path.at(t), target, bodies)
                if share is None or share >= _CLEAR_VIEW or worst is None:
                    break
                left.pop(worst)
    return left


def _stand_in(plan: ScenePlan, pool: Pool, target: Thing) -> list[Thing]:
    """What stands in the place of an absent target: nothing, or a look-alike."""
    if plan.twin is None:
        return []
    made, place = pool[plan.twin], target.body.world_from_obj
    if plan.tags["presence"] == "same_print":
        place = at_rest(made.model, np.random.default_rng([*plan.seed, _CHANGE]))
        place[:2, 3] += target.middle
    body = replace(target.body, model=made.model, world_from_obj=place)
    return [Thing(body, label_of(made), plan.twin)]


def _behind_carton(plan: ScenePlan) -> bool:
    """Half of the occluded pictures have a carton in the way instead of a hand with a sheet."""
    cover = np.random.default_rng([*plan.seed, _COVER])
    return plan.frames == 1 and plan.tags.get("occlusion", "0") != "0" and bool(cover.random() < 0.5)


def _cover(plan: ScenePlan, probe: occluders.Probe, path: CameraPath, orbit: Orbit, target: Body, radius: float,
           tall: float, duration: float) -> tuple[str | None, list[Thing]]:
    """What hides the target: its name, see `Staged.cover`, and its bodies."""
    hidden = int(plan.tags.get("occlusion", "0")) / 100
    span = (0.30 * duration, 0.70 * duration) if plan.frames > 1 else (-1.0, 1.0)
    if plan.tags.get("event") in ("occluded", "moved", "removed", "swapped"):
        hidden, span = 1.0, (EVENT[0] * duration, EVENT[1] * duration)
    if not hidden:
        return None, []
    rng = np.random.default_rng([*plan.seed, _COVER, 1])
    if _behind_carton(plan):
        body = occluders.carton(path.at(0.0), itinerary.toward(orbit), target, radius, tall, probe, hidden, rng)
        if body is not None:
            return "carton", [Thing(body, None, 0)]
    side = str(rng.choice(list(occluders.SIDES))) if plan.frames == 1 else None
    sheet = occluders.held_sheet(path, target, orbit.distance, probe, hidden, span, rng, side or "right")
    return side, [Thing(body, None, 0, sheet.motion) for body in sheet.bodies]
