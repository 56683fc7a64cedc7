"""`storm bench tracking`: STORM beside other trackers over the same frames, from the same first pose."""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm_core.cli.arguments import add_json, add_models, config_from
from storm_core.cli.columns import aligned
from storm_core.cli.limits import add_limits, within_limits
from storm_core.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from storm_core.bags.recording import Recording
    from storm_core.benchmarks.clip import Clip, Plan
    from storm_core.benchmarks.protocol import Answer
    from storm_core.benchmarks.running import Contender
    from storm_core.config import StormConfig


def add_parser(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = kinds.add_parser("tracking", help="trackers over recordings with ground truth", description=(
        "Run STORM's tracker and monitor, Open3D's ICP (point-to-plane and coloured), small_gicp and, when their "
        "folders are given, M3T and FoundationPose over the same frames. Everybody starts at the ground truth of the "
        "first frame and is never started again; frames without a pose count as failures, frames whose ground truth is "
        "not good do not count. Times are CPU ms per frame of one process on one core with one thread, without reading "
        "images, the shortest of the repeats; FoundationPose, which runs on the GPU, by the clock. Only what really "
        "ran is in the table; the others are listed with the reason."))
    parser.add_argument("recordings", metavar="RECORDING", nargs="+",
                        help="BOP scene or dataset, bag, or folder, with ground truth")
    add_models(parser)
    parser.add_argument("--strides", nargs="+", type=int, metavar="N", default=[1, 2, 4, 8],
                        help="use every N-th frame, one run each (default: 1 2 4 8)")
    parser.add_argument("--repeats", type=int, metavar="N", default=3,
                        help="the shortest of so many times counts, for everybody (default: 3)")
    parser.add_argument("--max-frames", type=int, metavar="N", default=0,
                        help="use the first N frames of each recording only (default: all)")
    parser.add_argument("--only", nargs="+", metavar="TRACKER", default=[],
                        help="run these only: storm, small_gicp, open3d_point_to_plane, open3d_colored, m3t_rd, "
                             "m3t_rdt, foundationpose (default: all)")
    parser.add_argument("--m3t", metavar="DIR", default="",
                        help="checkout of github.com/DLR-RM/3DObjectTracking with a build of its M3T in it")
    parser.add_argument("--foundationpose", metavar="DIR", default="",
                        help="checkout of github.com/NVlabs/FoundationPose with its weights; run this command in its "
                             "Python environment, or have one in DIR/.venv")
    parser.add_argument("--no-objects", action="store_true",
                        help="leave out the rows of STORM alone: 10 objects at once, registration, onboarding")
    add_json(parser)
    add_limits(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from storm_core.benchmarks.contenders import STORM, contenders
    from storm_core.benchmarks.running import Absent
    from storm_core.report.atomic import whole_file
    from storm_core.report.results import to_json

    if min(args.strides) < 1 or args.repeats < 1 or args.max_frames < 0:
        raise ConfigError(f"--strides and --repeats must be at least 1, --max-frames not negative, got {args.strides}, "
                          f"{args.repeats}, {args.max_frames}")
    strides = sorted(set(args.strides))
    plans, configs, head = _plans(args)
    everybody = contenders(configs, Path(args.m3t) if args.m3t else None,
                           Path(args.foundationpose) if args.foundationpose else None)
    unknown = sorted(set(args.only) - {c.name for c in everybody})
    if unknown:
        raise ConfigError(f"--only {unknown[0]}: there are {', '.join(c.name for c in everybody)}")
    everybody = [c for c in everybody if not args.only or c.name in args.only]
    absent = [c for c in everybody if isinstance(c, Absent)]
    present = [c for c in everybody if not isinstance(c, Absent)]
    results = head | {"strides": strides, "repeats": args.repeats, "clips": {},
                      "not_run": {c.name: c.reason for c in absent}}
    answers: dict[str, dict[str, Answer]] = {}
    with ExitStack() as kept:
        json_file = kept.enter_context(whole_file(args.json)) if args.json else None
        for plan in plans:
            answers[plan.name], results["clips"][plan.name] = _one_clip(plan.read(), configs[plan.name], present,
                                                                        strides, args)
        results["bench"] = _comparison(answers, STORM, strides[0])
        if json_file is not None:
            json_file.write_text(to_json(results))
    print(_text(results))
    return within_limits(args, results)


def _plans(args: argparse.Namespace) -> "tuple[list[Plan], dict[str, StormConfig], dict[str, Any]]":
    """Every object of every scene that can be tracked, their configurations, and the head of the results."""
    import hashlib
    from dataclasses import replace

    from storm_core import __version__
    from storm_core.benchmarks.clip import Plan, plan_clip
    from storm_core.pipeline.build import build_models
    from storm_core.report.results import results_head
    from storm_core.report.run import load_run_truth

    given = config_from(args)
    plans: dict[str, Plan] = {}
    configs, hashes, problems = {}, [], []
    for path in args.recordings:
        config = replace(given, models=given.models or str(_models_beside(Path(path))))
        models = build_models(config)
        for place, recording in _scenes(path):
            hashes.append(recording.sha256)
            truth = load_run_truth(recording, config, models)
            if truth is None:
                raise DatasetError(f"{path} has no ground truth (scene_gt.json, /ground_truth topics): nothing could "
                                   "be measured, and nobody knows where to start")
            for name, model in models.items():
                plan = plan_clip(f"{place}/{name}", recording, model, truth.frames.get(name, ()), args.max_frames)
                if isinstance(plan, str):
                    problems.append(f"{place}, object {name}: {plan}")
                    continue
                if plan.name in plans:
                    raise ConfigError(f"{plan.name}: two recordings have the same name and object; give each once")
                plans[plan.name], configs[plan.name] = plan, replace(config, objects=(name,))
    if not plans:
        raise DatasetError(f"nothing to track: {'; '.join(problems[:3])}")
    frames = sum(plan.frames[1] - plan.frames[0] for plan in plans.values())
    head = results_head("bench tracking", __version__, path=" ".join(args.recordings), frames=frames, seed=given.seed,
                        sha256=hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest())
    return list(plans.values()), configs, head


def _scenes(path: str) -> "Iterator[tuple[str, Recording]]":
    """Name and recording of each scene: no tracker can follow an object from one scene into the next."""
    from storm_core.bags.recording import open_recording

    recording = open_recording(path)
    scenes = list(dict.fromkeys(scene for scene, _ in recording.ids))
    if len(scenes) == 1:
        yield recording.name, recording
        return
    for scene in scenes:
        yield f"{recording.name}_{scene:06d}", open_recording(path, scene=scene)


def _models_beside(recording: Path) -> Path:
    """The models folder of the dataset a BOP scene belongs to."""
    places = [recording, *recording.resolve().parents[:2]]
    found = next((place / "models" for place in places if (place / "models").is_dir()), None)
    if found is None:
        raise ConfigError(f"no meshes given and no folder models beside {recording}; use --models DIR")
    return found


def _one_clip(clip: "Clip", config: "StormConfig", present: "Sequence[Contender]", strides: Sequence[int],
              args: argparse.Namespace) -> "tuple[dict[str, Answer], dict[str, Any]]":
    """Answers by tracker, and the clip's entry in the results."""
    from tqdm import tqdm

    from storm_core.benchmarks.contenders import write_config
    from storm_core.benchmarks.figures import stride_figures
    from storm_core.benchmarks.objects import object_figures
    from storm_core.benchmarks.protocol import Answer, write_clip
    from storm_core.benchmarks.running import run as run_contender

    answers: dict[str, Answer] = {}
    entry: dict[str, Any] = {"frames": len(clip), "size": [clip.camera.width, clip.camera.height], "trackers": {},
                             "not_run": {}}
    with tempfile.TemporaryDirectory(prefix="storm_bench_") as place:
        folder = Path(place)
        write_clip(folder, clip, strides, args.repeats)
        with tqdm(total=len(present) + (not args.no_objects), unit="tracker", disable=None, desc=clip.name) as bar:
            for contender in present:
                bar.set_postfix_str(contender.name)
                answer = run_contender(contender, clip, folder, strides)
                if isinstance(answer, Answer):
                    answers[contender.name] = answer
                    entry["trackers"][contender.name] = {"clock": contender.clock, **_onboarding(answer), **{
                        f"stride_{stride}": stride_figures(clip, answer, stride) for stride in strides}}
                else:
                    entry["not_run"][contender.name] = answer
                bar.update()
            if not args.no_objects:
                bar.set_postfix_str("objects, registration, onboarding")
                figures = object_figures(clip, folder, write_config(folder, config))
                if isinstance(figures, str):
                    entry["not_run"]["storm objects"] = figures
                else:
                    entry["storm"] = figures
                bar.update()
    return answers, entry


def _onboarding(answer: "Answer") -> dict[str, Any]:
    if answer.onboarding is None:
        return {}
    return {"onboarding": {"seconds": answer.onboarding[0], "bytes": answer.onboarding[1]}}


def _comparison(answers: "Mapping[str, Mapping[str, Answer]]", storm: str, stride: int) -> dict[str, dict[str, float]]:
    """`bench` of the results: median time per frame, ours and theirs over the clips that both ran, at one stride."""
    from storm_core.benchmarks.figures import pooled_median

    names = dict.fromkeys(name for by_name in answers.values() for name in by_name if name != storm)
    out = {}
    for name in names:
        both = [(by_name[storm], by_name[name]) for by_name in answers.values() if {storm, name} <= set(by_name)]
        if both:
            ours, theirs = (pooled_median([pair[k] for pair in both], stride) for k in (0, 1))
            out[name] = {"ours_ms": ours, "reference_ms": theirs, "ratio": theirs / ours}
    return out


_HEAD = ("tracker", "stride", "ms p50", "p95", "ADD AUC", "ADD-S AUC", "ADD<0.1d", "MSSD p50", "p95 [mm]", "answered",
         "frames")


def _text(results: Mapping[str, Any]) -> str:
    """One table per clip, what did not run, and what STORM needs beyond a track."""
    blocks = []
    for name, entry in results["clips"].items():
        blocks.append(f"{name}: {entry['frames']} frames of {entry['size'][0]}x{entry['size'][1]}, everybody starts at "
                      "the ground truth of the first; ms of one core per frame\n"
                      + aligned([_HEAD, *_rows(entry, results["strides"])]))
        blocks += [line for line in ("\n".join(_extra(entry)),) if line]
    absent = {**results["not_run"], **{f"{name} ({clip})": reason for clip, entry in results["clips"].items()
                                       for name, reason in entry["not_run"].items()}}
    if absent:
        blocks.append("not run:\n" + "\n".join(f"  {name}: {reason}" for name, reason in absent.items()))
    return "\n\n".join(blocks)


def _rows(entry: Mapping[str, Any], strides: Sequence[int]) -> Iterator[Sequence[str]]:
    for stride in strides:
        for name, tracker in entry["trackers"].items():
            f = tracker[f"stride_{stride}"]
            clock = "" if tracker["clock"] == "CPU" else f" ({tracker['clock']})"
            yield (name + clock, str(stride), *(f"{f['ms'][q]:.2f}" for q in ("p50", "p95")),
                   *(f"{f[key]:.3f}" for key in ("add_auc", "adds_auc", "add_01d")),
                   *(f"{f['mssd_mm'][q]:.1f}" for q in ("p50", "p95")), f"{f['answered']:.2f}", str(f["frames"]))


def _extra(entry: Mapping[str, Any]) -> Iterator[str]:
    for name, tracker in entry["trackers"].items():
        stages = next((f["stages_ms"] for key, f in tracker.items() if key.startswith("stride_")), {})
        if stages:
            yield f"{name}, stages: " + ", ".join(f"{stage} p50 {q['p50']:.2f} ms p95 {q['p95']:.2f} ms"
                                                  for stage, q in stages.items())
        if "onboarding" in tracker:
            yield f"{name}, onboarding: {_cost(tracker['onboarding'])}"
    if "storm" in entry:
        s = entry["storm"]
        r = s["registration"]
        refused = "".join(f", {count} {reason}" for reason, count in r["refused"].items())
        yield f"storm, onboarding: {_cost(s['onboarding'])}"
        yield (f"storm, registration from a mask (all cores): p50 {r['ms']['p50']:.0f} ms, p95 {r['ms']['p95']:.0f} "
               f"ms; right {r['right']} of {r['tried']}{refused}")
        yield (f"storm, objects at once (all cores): 1 in {s['one_ms']:.2f} ms, 10 in {s['ten_ms']:.2f} ms, ratio "
               f"{s['ratio']:.1f}")


def _cost(onboarding: Mapping[str, float]) -> str:
    return f"{onboarding['seconds']:.1f} s, {onboarding['bytes'] / 1e6:.1f} MB"
