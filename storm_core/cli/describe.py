"""`storm describe`: keywords for every object from a vision-language model; optional input of the learned network."""

import argparse

from storm_core.cli.mesh_options import add_mesh_options


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("describe", help="describe objects in keywords", description=(
        "Show reference views of every mesh to an image-text-to-text model of transformers; writes descriptions.json. "
        "The model must be on this machine already (`storm weights fetch gemma-3-4b`, or any folder)."))
    add_mesh_options(parser)
    parser.add_argument("--model", metavar="NAME", default="gemma-3-4b",
                        help="name from `storm weights list` or folder of the model (default: gemma-3-4b)")
    parser.add_argument("--device", metavar="DEVICE", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument("--out", metavar="FILE", default="descriptions.json",
                        help="{object: keywords} (default: descriptions.json)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json
    import time

    import numpy as np
    from tqdm import tqdm

    from storm_core import __version__
    from storm_core.cli.arguments import config_from
    from storm_core.cli.mesh_options import meshes_of
    from storm_core.models.packages import require_packages
    from storm_core.models.store import resolve
    from storm_core.onboarding.views import reference_views
    from storm_core.report.atomic import whole_file
    from storm_core.som.describe import PICTURES, Describer

    # Before any mesh is read: what is missing on this machine is said at once.
    require_packages("storm describe", "torch", "transformers")
    folder = resolve(args.model, "storm describe")
    config = config_from(args)
    models = meshes_of(args, config)
    describer = Describer(folder, args.device)
    out, seconds = {}, {}
    for name, model in tqdm(models.items(), unit="mesh", disable=None):
        begin = time.perf_counter()
        views = reference_views(model, config.onboarding)
        chosen = np.linspace(0, len(views) - 1, PICTURES).round().astype(int)
        out[name] = describer.describe([views.rgb[0, k] for k in chosen])
        seconds[name] = time.perf_counter() - begin
    with whole_file(args.out) as file:
        file.write_text(json.dumps(out, indent=1, ensure_ascii=False) + "\n")
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(json.dumps({"command": "describe", "version": __version__, "model": args.model,
                                        "objects": {n: {"text": out[n], "seconds": seconds[n]} for n in out}},
                                       indent=1) + "\n")
    print("\n".join(f"{name}: {text}" for name, text in out.items()) + f"\n\nwritten to {args.out}")
    return 0
