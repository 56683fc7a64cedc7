"""`storm weights`: which learned weights there are, fetch them, check them. No other command uses the network."""

import argparse
from typing import Any

from storm_core.cli.arguments import add_json


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser("weights", help="list, fetch and verify learned weights", description=(
        "The weights of models/manifest.yaml: none is needed for the default backends. They are kept in "
        "$STORM_WEIGHTS or ~/.cache/storm/weights."))
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="name, revision, licence, size and SHA-256 of every file, and what is here")
    fetching = verbs.add_parser("fetch", help="download sets of weights and verify them")
    verifying = verbs.add_parser("verify", help="compare the files that are here with their recorded SHA-256")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="names from `storm weights list`")
    verifying.add_argument("names", nargs="*", metavar="NAME", help="names (default: every set that is here)")
    for verb, run in ((listing, run_list), (fetching, run_fetch), (verifying, run_verify)):
        add_json(verb)
        verb.set_defaults(run=run)


def run_list(args: argparse.Namespace) -> int:
    from storm_core.cli.columns import aligned
    from storm_core.models.manifest import folder_of, manifest_file, read_manifest

    manifest = read_manifest()
    rows = [("file", "size", "SHA-256", "here")]
    for entry in manifest.values():
        terms = f"{entry.license}, gated" if entry.gated else entry.license
        print(f"{entry.name}: {entry.purpose}\n  {entry.repository} at {entry.revision}; {terms}")
        rows += [(f"{entry.name}/{f.name}", size_text(f.bytes), f.sha256 or "not recorded",
                  "yes" if (folder_of(entry) / f.name).is_file() else "no") for f in entry.files]
    print("\n" + aligned(rows, left=range(4)) + f"\n\nfrom {manifest_file()}")
    _write(args, "list", {entry.name: {
        "repository": entry.repository, "revision": entry.revision, "license": entry.license, "gated": entry.gated,
        "files": {f.name: {"bytes": f.bytes or None, "sha256": f.sha256 or None} for f in entry.files},
        "here": all((folder_of(entry) / f.name).is_file() for f in entry.files)} for entry in manifest.values()})
    return 0


def run_fetch(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from storm_core.models.manifest import entry_of, read_manifest
    from storm_core.models.store import fetch, verify

    manifest = read_manifest()
    done: dict[str, Any] = {}
    for name in args.names:
        entry = entry_of(name, manifest)
        print(f"{name}: {entry.repository} at {entry.revision}, {entry.license}, {size_text(entry.bytes)}")
        for f in entry.files:
            print(f"  {f.name}  {size_text(f.bytes)}  {f.sha256 or 'SHA-256 not recorded'}")
        with tqdm(unit="B", unit_scale=True, disable=None) as bar:
            def progress(file: str, so_far: int, total: int, bar: Any = bar) -> None:
                bar.set_description(file, refresh=False)
                bar.total = total or None
                bar.update(so_far - bar.n)

            folder = fetch(name, progress)
        states = verify(entry)
        done[name] = {"folder": str(folder), "files": {s.name: {"bytes": s.bytes, "sha256": s.sha256} for s in states}}
        print(f"{name}: verified, in {folder}")
    _write(args, "fetch", done)
    return 0


def run_verify(args: argparse.Namespace) -> int:
    from storm_core.errors import WeightsError
    from storm_core.models.manifest import entry_of, folder_of, read_manifest
    from storm_core.models.store import verify

    manifest = read_manifest()
    entries = [entry_of(n, manifest) for n in args.names] or [e for e in manifest.values() if folder_of(e).is_dir()]
    wrong, report = [], {}
    for entry in entries:
        states = verify(entry)
        report[entry.name] = {s.name: s.state for s in states}
        wrong += [f"{entry.name}/{s.name}: {s.state}" for s in states if s.state != "ok"]
        print(f"{entry.name}: {sum(s.state == 'ok' for s in states)} of {len(states)} files verified")
    if not entries:
        print("no weights here; `storm weights fetch NAME` gets them")
    _write(args, "verify", report)
    if wrong:
        raise WeightsError(f"{wrong[0]}" + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "")
                           + "; run `storm weights fetch` again")
    return 0


def size_text(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size else "size not recorded"


def _write(args: argparse.Namespace, verb: str, content: Any) -> None:
    import json

    from storm_core import __version__
    from storm_core.report.atomic import whole_file

    if args.json:
        with whole_file(args.json) as file:
            file.write_text(json.dumps({"command": f"weights {verb}", "version": __version__, "weights": content},
                                       indent=1) + "\n")
