"""Render the scenes of a benchmark on several processes and write them as a BOP dataset, as bags, or as both."""

import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2

from storm_core.bags.write import BagWriter
from storm_core.errors import SetupError
from storm_core.geometry.camera import PinholeCamera
from storm_core.simulation.benchmark import COVER, Benchmark, BenchmarkObject, BenchmarkScene, save_benchmark
from storm_core.simulation.dataset import DEPTH_SCALE, write_scene
from storm_core.simulation.object_pool import Pool, PoolObject
from storm_core.simulation.objects import write_numbered_models
from storm_core.simulation.recording import SimulatedRecording
from storm_core.simulation.scene_plan import ScenePlan
from storm_core.simulation.staging import stage
from storm_core.simulation.strata import Suite

TARGETS = "test_targets_bop19.json"
LEAST_VISIBLE = 0.1
"""Instances that are visible less are no evaluation targets, as in BOP."""

Progress = Callable[[Iterator[BenchmarkScene], int], Iterable[BenchmarkScene]]
"""Wraps the finished scenes, of which there will be so many, to show how far they are."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """What to write where. folder: of the benchmark. images: of the BOP scenes. bags: one per scene."""

    folder: Path
    split: str
    camera: PinholeCamera
    images: bool
    bags: bool


def write_benchmark(output: Output, suite: Suite, pool: Pool, plans: list[ScenePlan], *, name: str, seed: int,
                    workers: int = 1, progress: Progress = lambda scenes, count: scenes) -> Benchmark:
    """Write models, scenes, targets and the description; returns the latter.

    Args:
      output: its folder exists and is empty. workers: processes; the files do not depend on their number.
    """
    used = sorted({k for plan in plans for k in (plan.target, plan.twin, *plan.neighbours) if k is not None})
    # Made before the processes start, so that every object is made once.
    made = [pool[k] for k in used if pool[k].role != "prop"]
    write_numbered_models(output.folder / "models", {o.obj_id: o.model for o in made},
                          {o.obj_id: o.declared for o in made})
    scenes = {scene.scene: scene for scene in progress(_rendered(output, pool, plans, workers), len(plans))}
    camera = asdict(output.camera) | {"depth_scale": DEPTH_SCALE}
    benchmark = Benchmark(
        name=name, suite=suite.name, version=suite.version, split=output.split, seed=seed, camera=camera,
        objects={o.obj_id: _described(o) for o in made}, scenes={k: scenes[k] for k in sorted(scenes)})
    (output.folder / "camera.json").write_text(json.dumps(camera, indent=1))
    (output.folder / TARGETS).write_text(json.dumps(_targets(output.folder, benchmark)))
    save_benchmark(output.folder, benchmark)
    return benchmark


def _rendered(output: Output, pool: Pool, plans: list[ScenePlan], workers: int) -> Iterator[BenchmarkScene]:
    if min(workers, len(plans)) <= 1:
        for plan in plans:
            yield render_scene(output, pool, plan)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(plans)), context, _start, (output, pool)) as executor:
        futures = [executor.submit(_render_in_worker, plan) for plan in plans]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise SetupError("a process that rendered a scene was killed, most likely for want of memory; use fewer "
                             f"--workers than {workers}") from error
        finally:
            executor.shutdown(cancel_futures=True)


_worker: list[tuple[Output, Pool]] = []
"""What a worker process renders with: the objects are sent once, not with every scene."""


def _start(output: Output, pool: Pool) -> None:
    cv2.setNumThreads(1)
    _worker.append((output, pool))


def _render_in_worker(plan: ScenePlan) -> BenchmarkScene:
    return render_scene(*_worker[0], plan)


def render_scene(output: Output, pool: Pool, plan: ScenePlan) -> BenchmarkScene:
    """Render and write one scene."""
    staged = stage(plan, pool, output.camera)
    recording = SimulatedRecording(staged.scenario, plan.seed[1] * 10_000 + plan.scene, threads=1)
    folder, bag = f"{output.split}/{plan.scene:06d}", f"bags/{plan.scene:06d}" if output.bags else None
    if bag is not None:
        (output.folder / "bags").mkdir(exist_ok=True)
    with ExitStack() as stack:
        writer = stack.enter_context(BagWriter(output.folder / bag, compress=False)) if bag else None
        visible = write_scene(output.folder / folder, recording, staged.ids, images=output.images, bag=writer,
                              whole_masks=True)
    shares = [visible[label] for label in recording.targets if label in visible]
    best = max(shares, key=sum, default=None)
    cover = {} if staged.cover is None else {COVER: staged.cover}
    return BenchmarkScene(
        scene=plan.scene, stratum=plan.cell, tags=dict(plan.tags) | cover, seed=plan.seed, target=plan.target,
        present=bool(recording.targets), labels=staged.ids, events=staged.events, frames=plan.frames,
        rate_hz=plan.rate_hz, sensor=plan.sensor, folder=folder, bag=bag,
        visible=None if best is None else (round(min(best), 4), round(sum(best) / len(best), 4)))


def _described(made: PoolObject) -> BenchmarkObject:
    declared = made.declared
    symmetry = "continuous" if declared.get("symmetries_continuous") else (
        "discrete" if declared.get("symmetries_discrete") else "none")
    return BenchmarkObject(obj_id=made.obj_id, name=made.model.name, role=made.role, symmetry=symmetry,
                           diameter_m=round(made.model.diameter, 6), sha256=made.model.sha256,
                           recipe=None if made.recipe is None else asdict(made.recipe))


def _targets(folder: Path, benchmark: Benchmark) -> list[dict[str, int]]:
    """One entry per image in which the object that the scene is about is visible."""
    out = []
    for scene in benchmark.scenes.values():
        poses, infos = (json.loads((folder / scene.folder / f"{name}.json").read_text())
                        for name in ("scene_gt", "scene_gt_info"))
        for key, entries in poses.items():
            count = sum(entry["obj_id"] == scene.target and info["visib_fract"] >= LEAST_VISIBLE
                        for entry, info in zip(entries, infos[key], strict=True))
            if count:
                out.append({"scene_id": scene.scene, "im_id": int(key), "obj_id": scene.target, "inst_count": count})
    return out
