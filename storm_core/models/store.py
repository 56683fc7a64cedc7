"""Fetched weights on disk: download, verify, find. Only `fetch` ever uses the network."""

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from storm_core.errors import WeightsError
from storm_core.models.manifest import Weights, WeightsFile, entry_of, folder_of, read_manifest

RECORD = "fetched.json"
"""Beside the files: size and SHA-256 of each one as it was fetched."""
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0

Progress = Callable[[str, int, int], None]
"""(file name, bytes so far, bytes in all or 0)."""


class FileState(NamedTuple):
    """`state` is ok, missing, or what is wrong; sha256 and bytes are those found ("" and 0 when missing)."""

    name: str
    state: str
    sha256: str
    bytes: int


def resolve(name_or_folder: str, purpose: str) -> Path:
    """The folder of a fetched entry, or the folder that the user named; nothing is downloaded.

    Raises:
      WeightsError: neither is there; names the command that fetches it.
    """
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return folder
    manifest = read_manifest()
    if name_or_folder not in manifest:
        raise WeightsError(f"{purpose}: {name_or_folder!r} is neither a folder nor a name of `storm weights list` "
                           f"({', '.join(manifest)})")
    entry = manifest[name_or_folder]
    lacking = [f.name for f in entry.files if not (folder_of(entry) / f.name).is_file()]
    if lacking:
        raise WeightsError(f"{purpose}: the weights {entry.name} are not here ({folder_of(entry)} lacks {lacking[0]}); "
                           f"run `storm weights fetch {entry.name}`, or give their folder")
    return folder_of(entry)


def verify(entry: Weights) -> list[FileState]:
    """Every file of an entry against the manifest, or against the record of its download where that has no hash."""
    folder = folder_of(entry)
    record = _record(folder)
    out = []
    for file in entry.files:
        path = folder / file.name
        if not path.is_file():
            out.append(FileState(file.name, "missing", "", 0))
            continue
        found, size = sha256_of(path), path.stat().st_size
        expected = file.sha256 or record.get(file.name, "")
        state = "ok" if found == expected else "not recorded" if not expected else f"wrong SHA-256, expected {expected}"
        out.append(FileState(file.name, state, found, size))
    return out


def fetch(name: str, progress: Progress | None = None, *, opener: Callable[..., object] | None = None) -> Path:
    """Download what is missing of an entry, verify all of it, and return its folder.

    Args:
      opener: stands in for urllib.request.urlopen.

    Raises:
      WeightsError: unknown name, no connection, refused (gated), or a file that is cut short or has another hash than
        the recorded one.
    """
    entry = entry_of(name, read_manifest())
    folder = folder_of(entry)
    record = _record(folder)
    for file in entry.files:
        path = folder / file.name
        expected = file.sha256 or record.get(file.name, "")
        if path.is_file() and expected and sha256_of(path) == expected:
            continue
        record[file.name] = _download(entry, file, path, progress, opener or urllib.request.urlopen)
        (folder / RECORD).write_text(json.dumps(record, indent=1))
    return folder


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _download(entry: Weights, file: WeightsFile, path: Path, progress: Progress | None,
              opener: Callable[..., object]) -> str:
    """Fetch one file next to its place, move it there when its hash is right; returns the hash."""
    request = urllib.request.Request(entry.url(file))
    token = os.environ.get("HF_TOKEN", "") if entry.gated else ""
    if token:
        # Unredirected: the hub forwards to a storage host, which must not see the user's token.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    part = path.with_name(f".{path.name}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with opener(request, timeout=_TIMEOUT_S) as answer, _opened(part) as stream:
            # Without a recorded size the hub's word counts: a connection that breaks looks like the end of the file.
            total = file.bytes or int(answer.headers.get("Content-Length") or 0)
            while block := answer.read(_CHUNK):
                stream.write(block)
                digest.update(block)
                size += len(block)
                if progress is not None:
                    progress(file.name, size, total)
    except urllib.error.HTTPError as error:
        part.unlink(missing_ok=True)
        why = ("the hub wants an account that accepted its terms: set HF_TOKEN" if error.code in (401, 403)
               else f"the hub answered {error.code}")
        raise WeightsError(f"cannot fetch {entry.name}/{file.name} from {entry.repository}: {why}") from error
    except (OSError, http.client.HTTPException) as error:
        part.unlink(missing_ok=True)
        raise WeightsError(f"cannot fetch {entry.name}/{file.name} from {entry.url(file)} "
                           f"({getattr(error, 'reason', error)}); connect this machine, or copy the files listed by "
                           f"`storm weights list` to {path.parent}") from error
    found = digest.hexdigest()
    if (file.sha256 and found != file.sha256) or (total and size != total):
        part.unlink(missing_ok=True)
        raise WeightsError(f"{entry.name}/{file.name} arrived with {size} bytes and SHA-256 {found}, expected "
                           f"{total or 'any number of'} bytes and {file.sha256 or 'any'}; it was thrown away, try "
                           "again")
    part.replace(path)
    return found


def _opened(part: Path) -> BinaryIO:
    """The file to write to; its folder is made only now, so that a failed fetch leaves nothing behind."""
    part.parent.mkdir(parents=True, exist_ok=True)
    return part.open("wb")


def _record(folder: Path) -> dict[str, str]:
    try:
        content = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
