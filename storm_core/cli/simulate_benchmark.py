"""`storm simulate benchmark`: render a named, seeded suite of scenes whose difficulties are declared."""

import argparse
import os
from pathlib import Path

from storm_core.errors import ConfigError

OPTIONS = ("suite", "split", "count", "frames", "strata", "models", "mesh_unit", "sensor", "workers", "small")
"""Options that the other scenarios do not have."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `storm simulate benchmark`; all default to None."""
    group = parser.add_argument_group("benchmark", "options of `storm simulate benchmark`")
    group.add_argument("--suite", metavar="NAME", help="tracking, registration, absence, failure, symmetric or "
                                                     "detection")
    group.add_argument("--split", metavar="NAME",
                       help="train, val or test: their objects are disjoint (default: test)")
    group.add_argument("--count", type=int, metavar="N", help="scenes in all (default: as many as the suite says)")
    group.add_argument("--frames", type=int, metavar="N",
                       help="frames per scene of tracking (default: 60), failure (120) and symmetric (280)")
    group.add_argument("--strata", nargs="+", metavar="AXIS=VALUE",
                       help="only these, e.g. baseline occlusion=40 light (all values) occlusion=40+light=dim")
    group.add_argument("--models", metavar="DIR",
                       help="your own meshes instead of procedural objects: BOP models folder, or .ply/.obj/.stl/.glb")
    group.add_argument("--mesh-unit", choices=("auto", "m", "mm", "cm", "in"), help="unit of your meshes")
    group.add_argument("--sensor", metavar="NAME",
                       help="depth camera: active_stereo (default), structured_light, stereo, tof or ideal")
    group.add_argument("--workers", type=int, metavar="N", help="processes (default: one per CPU core)")
    group.add_argument("--small", action="store_true", default=None, help="320x240 instead of 640x480 px")


def run(args: argparse.Namespace, images: bool, bags: bool) -> int:
    """Make the benchmark that the options describe."""
    from tqdm import tqdm

    from storm_core.report.atomic import whole_folder
    from storm_core.simulation.benchmark_render import Output, write_benchmark
    from storm_core.simulation.depth_sensors import depth_camera
    from storm_core.simulation.object_pool import procedural_pool, user_pool
    from storm_core.simulation.scenarios import CAMERA
    from storm_core.simulation.scene_plan import plan_scenes
    from storm_core.simulation.strata import SUITES, suite_of

    if args.suite is None:
        raise ConfigError(f"storm simulate benchmark needs --suite; known: {', '.join(SUITES)}")
    suite, split, sensor = suite_of(args.suite), args.split or "test", args.sensor or "active_stereo"
    for option in ("count", "frames", "workers"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise ConfigError(f"--{option} must be at least 1, got {value}")
    if args.frames is not None and not suite.sequence:
        raise ConfigError(f"--frames: scenes of suite {suite.name} are single pictures; leave it out")
    out = Path(args.out).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists already; remove it or choose another --out")
    depth_camera(sensor)
    pool = procedural_pool(split, args.seed, symmetric=suite.name == "symmetric")
    if args.models is not None:
        pool = user_pool(args.models, split, args.seed, args.mesh_unit or "auto")
    plans = plan_scenes(suite, pool, split=split, seed=args.seed, count=args.count, strata=args.strata or (),
                        sensor=sensor, frames=args.frames)
    camera = CAMERA.resized(320, 240) if args.small else CAMERA
    name = f"storm-{suite.name}-v{suite.version}-{split}-seed{args.seed}" + ("-small" if args.small else "") + (
        "-user" if args.models is not None else "") + ("" if sensor == "active_stereo" else f"-{sensor}")
    with whole_folder(out) as folder:
        benchmark = write_benchmark(
            Output(folder=folder, split=split, camera=camera, images=images, bags=bags), suite, pool, plans, name=name,
            seed=args.seed, workers=args.workers or len(os.sched_getaffinity(0)),
            progress=lambda scenes, count: tqdm(scenes, total=count, unit="scene", disable=None, desc="render"))
    strata = list(dict.fromkeys(scene.stratum for scene in benchmark.scenes.values()))
    frames = sum(scene.frames for scene in benchmark.scenes.values())
    print(f"benchmark {benchmark.name}\nscenes    {len(benchmark.scenes)} ({frames} frames) in {out / split}\n"
          f"objects   {len(benchmark.objects)} in {out / 'models'}\nstrata    {' '.join(strata)}")
    if bags:
        print(f"bags      {out / 'bags'}")
    return 0
