"""Weights: the manifest, fetching with verification, and what is said without a connection."""

import hashlib
import http.client
import io
import json
import urllib.error
from pathlib import Path

import pytest

from storm_core.cli import main as cli
from storm_core.errors import BackendError, WeightsError
from storm_core.models import manifest, store
from storm_core.models.packages import require_packages

CONTENT = b"weights" * 100
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Answer(io.BytesIO):
    headers = {"Content-Length": str(len(CONTENT))}


@pytest.fixture
def small_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two entries: one with a recorded hash, one without; weights are kept below tmp_path."""
    file = tmp_path / "manifest.yaml"
    file.write_text(f"""
version: 1
weights:
  - {{name: known, purpose: test, repository: a/b, revision: abc, license: MIT,
      files: [{{name: model.bin, bytes: {len(CONTENT)}, sha256: {DIGEST}}}]}}
  - {{name: unknown, purpose: test, repository: a/c, revision: abd, license: MIT, gated: true,
      files: [{{name: model.bin}}]}}
""")
    monkeypatch.setattr(manifest, "manifest_file", lambda: file)
    monkeypatch.setenv("STORM_WEIGHTS", str(tmp_path / "home"))
    return tmp_path / "home"


def opener(content: bytes):  # noqa: ANN201
    asked = []

    def open_(request, timeout):  # noqa: ANN001, ANN202
        asked.append(request)
        return Answer(content)

    open_.asked = asked
    return open_


def test_the_shipped_manifest_names_revision_licence_and_hash_of_every_set() -> None:
    entries = manifest.read_manifest()
    assert set(entries) == {"dinov2-base", "sam2-tiny", "clip-text", "gemma-3-4b"}
    for entry in entries.values():
        assert len(entry.revision) == 40 and entry.license and entry.files
        if not entry.gated:
            assert all(f.sha256 for f in entry.files)


def test_fetching_verifies_and_does_not_fetch_twice(small_manifest: Path) -> None:
    web = opener(CONTENT)
    folder = store.fetch("known", opener=web)
    assert (folder / "model.bin").read_bytes() == CONTENT
    assert "/a/b/resolve/abc/model.bin" in web.asked[0].full_url
    store.fetch("known", opener=web)
    assert len(web.asked) == 1
    assert store.resolve("known", "a test") == folder


def test_wrong_content_is_thrown_away(small_manifest: Path) -> None:
    with pytest.raises(WeightsError, match=DIGEST):
        store.fetch("known", opener=opener(CONTENT[:-1] + b"!"))
    assert not list(small_manifest.rglob("*model.bin*"))


def test_a_download_cut_short_is_refused_without_a_recorded_hash(small_manifest: Path) -> None:
    def broken(request, timeout):  # noqa: ANN001, ANN202
        raise http.client.IncompleteRead(b"wei", 10)

    with pytest.raises(WeightsError, match=f"arrived with 50 bytes .* expected {len(CONTENT)} bytes"):
        store.fetch("unknown", opener=opener(CONTENT[:50]))
    with pytest.raises(WeightsError, match="cannot fetch unknown/model.bin"):
        store.fetch("unknown", opener=broken)
    assert not [path for path in small_manifest.rglob("*") if path.is_file()]


def test_what_has_no_recorded_hash_is_recorded_when_it_arrives_and_checked_after(
        small_manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    web = opener(CONTENT)
    folder = store.fetch("unknown", opener=web)
    assert web.asked[0].unredirected_hdrs["Authorization"] == "Bearer secret", "and to no host it is forwarded to"
    assert json.loads((folder / store.RECORD).read_text()) == {"model.bin": DIGEST}
    entry = manifest.read_manifest()["unknown"]
    assert [s.state for s in store.verify(entry)] == ["ok"]
    (folder / "model.bin").write_bytes(b"changed")
    assert "wrong SHA-256" in store.verify(entry)[0].state


def test_offline_and_refused_are_one_clear_line_each(small_manifest: Path) -> None:
    def offline(request, timeout):  # noqa: ANN001, ANN202
        raise urllib.error.URLError("no route")

    def gated(request, timeout):  # noqa: ANN001, ANN202
        raise urllib.error.HTTPError(request.full_url, 401, "no", {}, None)

    with pytest.raises(WeightsError, match=r"no route.*copy the files"):
        store.fetch("known", opener=offline)
    with pytest.raises(WeightsError, match="HF_TOKEN"):
        store.fetch("unknown", opener=gated)
    assert not small_manifest.exists(), "a failed fetch leaves nothing behind"
    with pytest.raises(WeightsError, match="storm weights fetch known"):
        store.resolve("known", "a test")


def test_the_commands(small_manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture,
                      tmp_path: Path) -> None:
    assert cli.main(["weights", "list", "--json", str(tmp_path / "list.json")]) == 0
    out = capsys.readouterr().out
    assert DIGEST in out and "MIT" in out and "gated" in out and "not recorded" in out
    assert json.loads((tmp_path / "list.json").read_text())["weights"]["known"]["here"] is False
    monkeypatch.setattr("urllib.request.urlopen", opener(CONTENT))
    assert cli.main(["weights", "fetch", "known"]) == 0
    assert cli.main(["weights", "verify"]) == 0
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: (_ for _ in ()).throw(OSError("offline")))
    assert cli.main(["weights", "fetch", "unknown"]) == 1
    assert cli.main(["weights", "fetch", "nonsense"]) == 1
    assert "nonsense" in capsys.readouterr().err


def test_missing_packages_are_named_with_the_remedy() -> None:
    with pytest.raises(BackendError, match=r"a test needs no_such_package.*make full"):
        require_packages("a test", "json", "no_such_package")
