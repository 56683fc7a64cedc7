"""`storm render views`: reference views of meshes as BOP scenes."""

import argparse

from storm_core.cli.mesh_options import add_mesh_options


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("render", help="render reference views of meshes")
    kinds = parser.add_subparsers(metavar="WHAT", required=True)
    views = kinds.add_parser("views", help="pictures from all around with mask, depth and pose", description=(
        "Render every mesh from a Fibonacci sphere, upright, under several lamps, and write one BOP scene per object: "
        "rgb, depth (0.1 mm), mask_visib, cameras and poses. `storm segment --object` takes such a folder."))
    add_mesh_options(views)
    views.add_argument("--out", metavar="DIR", default="results/views", help="one folder per object (default: "
                                                                             "results/views)")
    views.add_argument("--views", type=int, metavar="N", default=None, help="pictures around the object (default: 16)")
    views.add_argument("--size", type=int, metavar="PX", default=None, help="their width and height (default: 256)")
    views.add_argument("--lights", nargs="+", metavar="NAME", default=[],
                       help="lamps: studio, left, right, dim (default: all)")
    views.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json
    import time
    from dataclasses import replace

    from tqdm import tqdm

    from storm_core import __version__
    from storm_core.bop.view_folder import write_views
    from storm_core.cli.arguments import config_from
    from storm_core.cli.columns import aligned
    from storm_core.cli.mesh_options import meshes_of, number_of
    from storm_core.config import check
    from storm_core.onboarding.lights import LIGHTS
    from storm_core.onboarding.views import render_views
    from storm_core.report.atomic import whole_file, whole_folder

    config = config_from(args)
    onboarding = replace(config.onboarding, **{key: value for key, value in (
        ("views", args.views), ("view_size", args.size)) if value is not None})
    check(onboarding)
    lights = tuple(args.lights) or tuple(LIGHTS)
    rows, report = [("object", "pictures", "s")], {}
    with whole_folder(args.out) as folder:
        for k, (name, model) in enumerate(tqdm(meshes_of(args, config).items(), unit="mesh", disable=None), 1):
            begin = time.perf_counter()
            views = render_views(model, onboarding.views, onboarding.view_size, lights)
            write_views(folder / name, views, number_of(name, k))
            spent = time.perf_counter() - begin
            rows.append((name, str(len(views) * len(lights)), f"{spent:.2f}"))
            report[name] = {"pictures": len(views) * len(lights), "seconds": spent, "sha256": views.sha256}
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(json.dumps({"command": "render views", "version": __version__, "objects": report},
                                       indent=1) + "\n")
    print(aligned(rows) + f"\n\nviews in {args.out}")
    return 0
