"""`storm register`: find the pose of objects in single pictures, each picture on its own."""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from storm_core.cli.arguments import config_from, require_models
from storm_core.cli.columns import aligned
from storm_core.cli.hints import add_hint_options, hint_of
from storm_core.cli.pictures import add_picture_options, chosen_frames, ignored
from storm_core.cli.truth_options import require_truth, truth_afterwards


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("register", help="find the pose of objects in single pictures", description=(
        "Search and register every object in every picture on its own, without knowing the other pictures; a mask, a "
        "box or a point may say where. Write the poses as BOP CSV, overlays and figures. With ground truth, say which "
        "poses are right (ADD, or ADD-S for declared symmetries, below 0.1 diameter) and which objects were found that "
        "are not there."))
    add_picture_options(parser)
    add_hint_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    import cv2
    import numpy as np
    from scipy.spatial import cKDTree

    from storm_core import __version__
    from storm_core.bags.recording import open_recording
    from storm_core.bop.dataset import object_ids
    from storm_core.bop.results import PoseEstimate, write_csv
    from storm_core.config_io import to_yaml
    from storm_core.evaluation.attempt import attempt
    from storm_core.pipeline.build import build_localizer, build_models, build_registrar
    from storm_core.report.atomic import whole_file, whole_folder
    from storm_core.report.attempts import attempt_record, counts, judge, object_figures
    from storm_core.report.overlay import TRUSTED, OverlayPainter
    from storm_core.report.results import results_head, stage_times, to_json
    from storm_core.report.run import load_run_truth, numbered

    config = require_models(config_from(args))
    recording = open_recording(args.recording, scene=args.scene)
    ignore = ignored(args.ignore, recording.ids)
    models = build_models(config)
    with ExitStack() as outputs_to_keep:
        json_file = outputs_to_keep.enter_context(whole_file(args.json)) if args.json else None
        target = Path(args.out or Path("results") / f"register_{recording.name}")
        folder = outputs_to_keep.enter_context(whole_folder(target))
        localizer, registrar = build_localizer(config, models), build_registrar(config, models)
        painter = OverlayPainter(models)
        attempts, indices = [], []
        for index, key, frame in chosen_frames(recording, args.images):
            image = np.array(frame.rgb)
            hint = hint_of(args, frame)
            for name, model in models.items():
                result = attempt(frame, key, name, localizer, registrar, hint=hint)
                attempts.append(result)
                indices.append(index)
                if result.cam_from_obj is not None:
                    painter.paint_pose(image, frame.camera, model, result.cam_from_obj, TRUSTED,
                                       f"{name} p={result.probability:.2f}")
            cv2.imwrite(str(folder / f"{key[0]:06d}_{key[1]:06d}.png"), np.ascontiguousarray(image[..., ::-1]))
        # Ground truth is opened only now, when everything has been predicted.
        truth, fault = truth_afterwards(lambda: load_run_truth(
            recording, config, models) if args.truth == "auto" else None)
        trees = {name: cKDTree(model.eval_vertices) for name, model in models.items()}
        verdicts = [judge(a, truth, i, models[a.object_name], ignore, trees[a.object_name])
                    for a, i in zip(attempts, indices, strict=True)]
        results = results_head("register", __version__, path=recording.path, sha256=recording.sha256,
                               frames=len(set(indices)), seed=config.seed)
        results["truth"] = None if truth is None else truth.source
        results["objects"] = {name: object_figures([v for a, v in zip(attempts, verdicts, strict=True)
                                                    if a.object_name == name], model) for name, model in models.items()}
        results["attempts"] = [attempt_record(a, v) for a, v in zip(attempts, verdicts, strict=True)]
        results["summary"] = counts(verdicts)
        results["stages_ms"] = stage_times([a.stage_ms for a in attempts])
        numbers = numbered(object_ids(Path(config.models), models), models)
        write_csv(folder / "poses.csv", [
            PoseEstimate(scene_id=a.key[0], im_id=a.key[1], obj_id=numbers[a.object_name], score=a.probability,
                         cam_from_obj=a.cam_from_obj, time_s=a.stage_ms["total"] * 1e-3)
            for a in attempts if a.cam_from_obj is not None])
        (folder / "results.json").write_text(to_json(results))
        (folder / "config.yaml").write_text(to_yaml(config))
        if json_file is not None:
            json_file.write_text(to_json(results))
    print(table(results))
    print(f"\nposes and overlays in {target}")
    require_truth(fault, target)
    return 0


def table(results: dict[str, Any]) -> str:
    """One line per attempt, the counts below."""
    rows = [("image", "object", "found", "p", "ADD [mm]", "ADD-S [mm]", "verdict", "ms", "reason")]
    for a in results["attempts"]:
        rows.append((f"{a['scene_id']}/{a['im_id']}", a["object"], "yes" if a["found"] else "no",
                     f"{a['probability']:.2f}", _mm(a["add_mm"]), _mm(a["adds_mm"]), a["verdict"],
                     f"{a['stage_ms']['total']:.0f}", " ".join(t for t in (a["reason"], a["detail"]) if t)))
    lines = [aligned(rows, left=range(len(rows[0])))]
    if results["truth"] is not None:
        s = results["summary"]
        lines.append(f"annotated: {s['correct']} right, {s['wrong']} wrong, {s['missed']} missed; "
                     f"not in the picture: {s['false_accept']} accepted of {s['false_accept'] + s['rejected']}")
    return "\n".join(lines)


def _mm(value: float) -> str:
    return f"{value:.1f}" if abs(value) < float("inf") else "-"
