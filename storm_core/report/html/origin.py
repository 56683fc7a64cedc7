"""The provenance section."""

from collections.abc import Mapping
from typing import Any

from storm_core.report.html import markup


def origin(results: Mapping[str, Any], config_text: str) -> str:
    """Inputs, code and machine of the run as a list, the configuration below."""
    known = results.get("provenance") or {}
    source = results["input"]
    rows = [("Input", f"<code>{markup.escape(source['path'])}</code>"),
            ("Input fingerprint", f"<code>sha256 {markup.escape(source['sha256'])}</code>")]
    for name, digest in (known.get("models") or {}).items():
        rows.append((f"Mesh of {name}", f"<code>sha256 {markup.escape(digest)}</code>"))
    if known:
        weights = known.get("weights") or {}
        rows.append(("Learned weights", ", ".join(f"{markup.escape(name)} <code>{markup.escape(digest)}</code>"
                                                  for name, digest in weights.items()) or "none"))
    commit = known.get("commit")
    code = f"{markup.escape(results['version'])}" + (f", commit <code>{markup.escape(commit)}</code>" if commit else "")
    rows.append(("STORM", code + (", with local changes" if known.get("dirty") else "")))
    if known:
        packages = ", ".join(f"{markup.escape(n)} {markup.escape(v)}" for n, v in known["packages"].items())
        rows += [("Command", f"<code>{markup.escape(known['command_line'])}</code>"),
                 ("Date", markup.escape(known["date"])),
                 ("Python", f"{markup.escape(known['python'])}; {packages}"),
                 ("System", markup.escape(known["system"]))]
    machine = known.get("machine") or results["machine"]
    memory = f", {machine['memory_gb']:g} GiB memory" if machine.get("memory_gb") else ""
    rows += [("Machine", f"{markup.escape(machine['cpu'])}, {machine['cores']} cores{memory}, GPU: "
                         f"{markup.escape(machine['gpu'] or 'none')}"), ("Seed", markup.escape(results["seed"]))]
    content = "<dl>" + "".join(f"<dt>{markup.escape(k)}</dt><dd>{v}</dd>" for k, v in rows) + "</dl>"
    if config_text:
        content += markup.folded("Configuration", f"<pre>{markup.escape(config_text)}</pre>")
    return content
