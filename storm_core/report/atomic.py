"""Output that is either complete or not there: written beside its place, moved there at the end."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storm_core.errors import SetupError


@contextmanager
def whole_file(path: Path | str) -> Iterator[Path]:
    """A path to write to; on success the file takes its place, replacing an old one, otherwise it disappears.

    Raises:
      SetupError: the folder cannot be written, or the disk is full (names the folder and the remedy).
    """
    target = Path(path).expanduser()
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
    part = Path(name)
    try:
        with _explained(target, part):
            yield part
        with _explained(target):
            os.chmod(part, 0o666 & ~_umask())
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path | str) -> Iterator[Path]:
    """An empty folder to fill; on success what it holds replaces the entries of the same names at `path`.

    Other entries of an existing folder stay: the output folder may be one that the user made.

    Raises:
      SetupError: as `whole_file`.
    """
    target = Path(path).expanduser()
    created = _first_missing(target)
    with _explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_dir():
            raise SetupError(f"{target} is a file; give a folder for the output")
        if target.is_dir() and not os.access(target, os.W_OK):
            raise PermissionError(13, "Permission denied", str(target))
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    done = False
    try:
        with _explained(target, part):
            yield part
        with _explained(target):
            os.chmod(part, 0o777 & ~_umask())
            if target.is_dir():
                for entry in sorted(part.iterdir()):
                    _replace(entry, target / entry.name)
            else:
                part.replace(target)
        done = True
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if not done and created is not None:
            _remove_empty(target.parent, created)


def _replace(entry: Path, place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    entry.replace(place)


def _first_missing(path: Path) -> Path | None:
    """The topmost folder above `path` that does not exist yet."""
    missing = None
    for folder in path.parents:
        if folder.exists():
            break
        missing = folder
    return missing


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove folders from `folder` up to and including `top` as long as they are empty."""
    while folder == top or top in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@contextmanager
def _explained(target: Path, part: Path | None = None) -> Iterator[None]:
    """OSErrors as SetupError. With `part` only those that are about writing there: the caller may also read files."""
    try:
        yield
    except OSError as error:
        about = part is None or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
        if not about and not str(error.filename or "").startswith(str(part)):
            raise
        raise SetupError(f"cannot write {target}: {error.strerror or error}; choose a folder on a disk with free space "
                         "that you may write to") from error
