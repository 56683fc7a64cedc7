"""`storm onboard`: check meshes and prepare everything that searches and the network need of them, once."""

import argparse
from typing import Any

from storm_core.cli.mesh_options import add_mesh_options
from storm_core.errors import SetupError


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("onboard", help="prepare meshes", description=(
        "Check every mesh and prepare it: search templates, near-symmetries, reference views, and the reference tokens "
        "of the network when som.backend is hsfa. Everything is kept by content in onboarding.cache, so that a node "
        "starts at once."))
    add_mesh_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import json

    from tqdm import tqdm

    from storm_core import __version__
    from storm_core.cli.arguments import config_from
    from storm_core.cli.columns import aligned
    from storm_core.cli.mesh_options import meshes_of
    from storm_core.onboarding.array_cache import cache_folder, why_nothing_is_kept
    from storm_core.report.atomic import whole_file
    from storm_core.report.results import machine

    config = config_from(args)
    models = meshes_of(args, config)
    report: dict[str, Any] = {}
    with tqdm(models.items(), unit="mesh", disable=None) as bar:
        for name, model in bar:
            bar.set_description(name)
            report[name] = _prepare(model, config)
    rows = [("object", "diameter", "faces", "templates s", "views s", "tokens s", "from cache")]
    for name, model in models.items():
        r = report[name]
        rows.append((name, f"{model.diameter * 1e3:.0f} mm", str(len(model.faces)), f"{r['templates_s']:.2f}",
                     f"{r['views_s']:.2f}", "-" if r["tokens_s"] is None else f"{r['tokens_s']:.2f}",
                     "yes" if r["cached"] else "no"))
    print(aligned(rows))
    for name, model in models.items():
        for warning in model.warnings:
            print(f"{name}: {warning}")
    if args.json:
        with whole_file(args.json) as file:
            file.write_text(json.dumps({"command": "onboard", "version": __version__, "machine": machine(),
                                        "objects": report}, indent=1) + "\n")
    lost = [name for name, model in models.items() if not _is_kept(model, config)]
    if lost:
        reason = why_nothing_is_kept(config.onboarding) or "is the disk full?"
        raise SetupError(f"what was prepared of {', '.join(lost)} is not kept: cannot write "
                         f"{cache_folder(config.onboarding)} ({reason}); choose a folder with free space that you may "
                         "write to by --set onboarding.cache=DIR")
    print(f"\nkept in {cache_folder(config.onboarding)}")
    return 0


def _is_kept(model: Any, config: Any) -> bool:
    from storm_core.onboarding.onboard import templates_file
    from storm_core.onboarding.views import views_file

    return all(file(model, config.onboarding).is_file() for file in (templates_file, views_file))


def _prepare(model: Any, config: Any) -> dict[str, Any]:
    """Seconds of each part, and whether the views were there before."""
    import time

    from storm_core.onboarding.onboard import onboard
    from storm_core.onboarding.views import reference_views, views_file

    cached = views_file(model, config.onboarding).is_file()
    start = time.perf_counter()
    onboard(model, config.onboarding)
    templates = time.perf_counter()
    views = reference_views(model, config.onboarding)
    rendered = time.perf_counter()
    tokens = None
    if config.som.backend == "hsfa":
        from storm_core.som.hsfa.localizer import open_localizer

        open_localizer({model.name: views}, config.som, config.onboarding)
        tokens = time.perf_counter() - rendered
    return {"templates_s": templates - start, "views_s": rendered - templates, "tokens_s": tokens, "cached": cached,
            "diameter_m": model.diameter, "faces": len(model.faces), "views": len(views), "sha256": model.sha256,
            "warnings": list(model.warnings)}
