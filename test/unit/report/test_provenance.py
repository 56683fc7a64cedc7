"""Where numbers come from."""

import hashlib
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import storm_core
from storm_core.report import provenance as module
from storm_core.report.html import html_report
from storm_core.report.provenance import provenance
from test.unit.report.runs import BOX, make_run


def test_everything_that_decides_the_numbers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["storm", "replay", "a folder/<x>", "--seed", "3"])
    p = provenance({"box": BOX}, "seed: 3\n")
    assert p["storm"] == storm_core.__version__ and p["models"] == {"box": BOX.sha256}
    assert p["command_line"] == "storm replay 'a folder/<x>' --seed 3"
    assert p["config_sha256"] == hashlib.sha256(b"seed: 3\n").hexdigest()
    assert {"numpy", "scipy", "numba", "opencv-python-headless"} <= set(p["packages"])
    assert p["machine"]["cores"] >= 1 and p["machine"]["memory_gb"] > 0 and p["weights"]
    assert all(len(digest) == 64 for digest in p["weights"].values())
    assert datetime.now(timezone.utc) - datetime.fromisoformat(p["date"]) < timedelta(minutes=1)
    results, outputs, errors = make_run(10)
    page = html_report(results | {"provenance": p}, outputs, errors, config_text="seed: 3\n")
    for text in (BOX.sha256, "a folder/&lt;x&gt;", p["date"], p["packages"]["numpy"], results["input"]["sha256"]):
        assert text in page, text


def test_the_commit_and_local_changes_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "storm_core"
    package.mkdir()
    file = package / "__init__.py"
    file.write_text("1\n")
    monkeypatch.setattr(module.storm_core, "__file__", str(file))
    assert provenance({}, "")["commit"] is None and provenance({}, "")["dirty"] is None, "installed, not checked out"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    clean = provenance({}, "")
    assert (clean["commit"], clean["dirty"]) == (head, False)
    file.write_text("2\n")
    assert provenance({}, "")["dirty"] is True
    monkeypatch.setenv("PATH", "")
    assert provenance({}, "")["commit"] is None, "no git, no commit, no error"


def test_weights_come_with_their_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.storm_core, "__file__", str(tmp_path / "storm_core" / "__init__.py"))
    assert provenance({}, "")["weights"] == {}
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "manifest.yaml").write_text("version: 1\nshipped:\n- {name: score, sha256: ff00}\n")
    assert provenance({}, "")["weights"] == {"score": "ff00"}
