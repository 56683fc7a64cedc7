"""`storm segment`: find and segment objects in single pictures, without a mask or a pose to start from."""

import argparse
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.cli.arguments import config_from, require_models
from storm_core.cli.columns import aligned
from storm_core.cli.pictures import add_picture_options, chosen_frames, ignored
from storm_core.cli.segment_query import add_query_options, run_query, with_sam
from storm_core.cli.truth_options import require_truth, truth_afterwards
from storm_core.errors import ConfigError

if TYPE_CHECKING:
    from storm_core.bop.mask_results import MaskEstimate
    from storm_core.report.attempts import Attempt


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("segment", help="find and segment objects in single pictures", description=(
        "Search every object in every picture on its own and write its mask of visible pixels. With BOP masks, say how "
        "well they agree (intersection over union with mask_visib). With --query: one picture file and any meshes or "
        "reference views, all instances of each; writes masks.json (BOP run lengths), an overlay and results.json."))
    add_picture_options(parser, optional=True)
    add_query_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.query:
        return run_query(args)
    if not args.recording:
        raise ConfigError("nothing to segment; give a recording, or --query IMAGE with --object MESH")
    if args.object or args.depth or args.camera:
        raise ConfigError("--object, --depth and --camera belong to --query; a recording has --objects and its own "
                          "cameras")
    return run_recording(args)


def run_recording(args: argparse.Namespace) -> int:
    import cv2
    import numpy as np

    from storm_core import __version__
    from storm_core.bags.recording import open_recording
    from storm_core.bop.dataset import object_ids
    from storm_core.bop.mask_results import write_mask_results
    from storm_core.config_io import to_yaml
    from storm_core.evaluation.attempt import attempt
    from storm_core.pipeline.build import build_localizer, build_models
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.file_names import file_stems
    from storm_core.report.masks import mask_records, tint
    from storm_core.report.results import results_head, stage_times, to_json

    config = require_models(with_sam(config_from(args), args.sam))
    recording = open_recording(args.recording, scene=args.scene)
    ignore = ignored(args.ignore, recording.ids)
    models = build_models(config)
    with ExitStack() as outputs_to_keep:
        json_file = outputs_to_keep.enter_context(whole_file(args.json)) if args.json else None
        target = Path(args.out or Path("results") / f"segment_{recording.name}")
        folder = outputs_to_keep.enter_context(whole_folder(target))
        localizer = build_localizer(config, models)
        attempts, stems = [], file_stems(models)
        for _, key, frame in chosen_frames(recording, args.images):
            found = [attempt(frame, key, name, localizer, None, config.som.accept) for name in models]
            for a in found:
                if a.mask is not None:
                    file = folder / f"{key[0]:06d}_{key[1]:06d}_{stems[a.object_name]}.png"
                    cv2.imwrite(str(file), a.mask.astype(np.uint8) * 255)
            cv2.imwrite(str(folder / f"{key[0]:06d}_{key[1]:06d}.png"), np.ascontiguousarray(
                tint(frame.rgb, [(f"{a.object_name} p={a.probability:.2f}", a.mask) for a in found
                                 if a.mask is not None])[..., ::-1]))
            attempts += found
        # Masks of the dataset are opened only now, when everything has been predicted.
        compare = partial(mask_records, attempts, recording.path, Path(config.models), ignore)
        records, fault = truth_afterwards(lambda: compare(use_truth=args.truth == "auto"))
        if records is None:
            records = compare(use_truth=False)
        results = results_head("segment", __version__, path=recording.path, sha256=recording.sha256,
                               frames=len({a.key for a in attempts}), seed=config.seed)
        known = [r["iou"] for r in records if r["iou"] is not None]
        results["masks"] = {"iou_mean": float(np.mean(known)) if known else None, "n": len(known)}
        results["attempts"] = records
        results["stages_ms"] = stage_times([a.stage_ms for a in attempts])
        write_mask_results(folder / "masks.json", _estimates(attempts, object_ids(Path(config.models), models)))
        (folder / "results.json").write_text(to_json(results))
        (folder / "config.yaml").write_text(to_yaml(config))
        if json_file is not None:
            json_file.write_text(to_json(results))
    print(table(results))
    print(f"\nmasks and overlays in {target}")
    require_truth(fault, target)
    return 0


def _estimates(attempts: "list[Attempt]", ids: dict[str, int]) -> "list[MaskEstimate]":
    """The masks that were found of objects with a BOP id; the time of each is that of its whole image [s]."""
    from storm_core.bop.mask_results import MaskEstimate, run_lengths

    times: dict[tuple[int, int], float] = {}
    for a in attempts:
        times[a.key] = times.get(a.key, 0.0) + a.stage_ms["total"] * 1e-3
    return [MaskEstimate(scene_id=a.key[0], im_id=a.key[1], obj_id=ids[a.object_name], score=float(a.probability),
                         size=a.mask.shape, counts=run_lengths(a.mask), time_s=times[a.key])
            for a in attempts if a.mask is not None and a.object_name in ids]


def table(results: dict[str, Any]) -> str:
    """One line per attempt."""
    rows = [("image", "object", "found", "p", "IoU", "ms", "reason")]
    for a in results["attempts"]:
        rows.append((f"{a['scene_id']}/{a['im_id']}", a["object"], "yes" if a["found"] else "no",
                     f"{a['probability']:.2f}", "-" if a["iou"] is None else f"{a['iou']:.3f}",
                     f"{a['stage_ms']['localize']:.0f}", " ".join(t for t in (a["reason"], a["detail"]) if t)))
    lines = [aligned(rows, left=range(len(rows[0])))]
    if results["masks"]["n"]:
        lines.append(f"mean IoU {results['masks']['iou_mean']:.3f} over {results['masks']['n']} annotated objects "
                     "(0 where nothing was found)")
    return "\n".join(lines)
