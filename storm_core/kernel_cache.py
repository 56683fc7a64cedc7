"""Where compiled kernels are kept: in a folder named after every source that they are made of.

numba looks for changes only in the file of a kernel itself. A kernel keeps compiled code of the functions and constants
that it takes from other files, so after an update it would silently run old ones. Nothing in here imports numba.
"""

import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

UNUSED_AFTER = 60 * 24 * 3600.0
"""Age [s] since its last use from which on a folder of compiled kernels is removed."""

USED_AGAIN = 24 * 3600.0
"""A folder's last use is noted at most this often [s]."""

_FOLDER = re.compile(r"\w+-[0-9a-f]{16}")
_IMPORT = rb"^[ \t]*(?:from[ \t]+(%s[\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]*\b%s\b[^\n]*))"


def fingerprint(source: Path) -> str:
    """Sixteen hexadecimal digits that change with the content of any of the `sources`."""
    package = package_of(source)
    digests = sorted(_read(path, package)[0] for path in sources(source))
    return hashlib.sha256(b"".join(digests)).hexdigest()[:16]


def sources(source: Path) -> set[Path]:
    """A file and every file of its package that it imports, directly or not."""
    package = package_of(source)
    found: set[Path] = set()
    ahead = [source]
    while ahead:
        path = ahead.pop()
        if path not in found:
            found.add(path)
            ahead.extend(_read(path, package)[1])
    return found


def package_of(source: Path) -> Path:
    """The folder of the outermost package that a file belongs to."""
    folder = source.parent
    while (folder.parent / "__init__.py").is_file():
        folder = folder.parent
    return folder


@cache
def _read(path: Path, package: Path) -> tuple[bytes, tuple[Path, ...]]:
    """Digest of a file's name and content, and the files of the package that it names in its imports."""
    text = path.read_bytes()
    name = os.path.relpath(path, package).encode()
    return hashlib.sha256(name + b"\0" + text).digest(), tuple(_imported(text, package))


def _imported(text: bytes, package: Path) -> Iterator[Path]:
    name = re.escape(package.name.encode())
    for match in re.finditer(_IMPORT % (name, name), text, re.M):
        module, names, plain = (part.decode() if part else "" for part in match.groups())
        for dotted in [module] if module else re.findall(r"[\w.]+", plain):
            head, *rest = dotted.split(".")
            if head != package.name:
                continue
            file, folder = package.joinpath(*rest).with_suffix(".py"), package.joinpath(*rest)
            if file.is_file():
                yield file
                continue
            # What is imported from a package may be one of its modules.
            parts = [folder / "__init__.py", *(folder / f"{part}.py" for part in re.findall(r"\w+", names))]
            yield from (path for path in parts if path.is_file())


def kernel_root(given: str = "", env: Mapping[str, str] = os.environ) -> Path | None:
    """The folder that holds the folders of compiled kernels, made when it is missing; None when nothing can be written.

    Args:
      given: the user's NUMBA_CACHE_DIR, which comes before ~/.cache (XDG_CACHE_HOME respected).
    """
    home = Path(env.get("HOME") or os.path.expanduser("~"))
    base = Path(given) / "storm" if given else Path(env.get("XDG_CACHE_HOME") or home / ".cache") / "storm" / "kernels"
    # Compiled code is executed: only a folder that is ours alone may stand in among the temporary files of all users.
    private = Path(tempfile.gettempdir()) / f"storm-kernels-{os.getuid()}"
    if base.is_absolute() or given:
        with suppress(OSError):
            base.mkdir(parents=True, exist_ok=True)
            if os.access(base, os.W_OK | os.X_OK):
                return base
    with suppress(OSError):
        private.mkdir(mode=0o700, exist_ok=True)
        about = private.lstat()
        if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and not about.st_mode & 0o077:
            return private
    return None


def kernel_folder(source: Path, root: Path, compiler: str) -> Path | None:
    """The folder below `root` for the kernels of a file, made when it is missing; None when it cannot be.

    Args:
      compiler: its name and version; what one has compiled another must not load.
    """
    digest = hashlib.sha256(f"{compiler} {fingerprint(source)}".encode()).hexdigest()[:16]
    folder = root / f"{source.stem}-{digest}"
    try:
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
            forget_unused(root)
        elif folder.stat().st_mtime < time.time() - USED_AGAIN:
            os.utime(folder)
    except OSError:
        return None
    return folder


def forget_unused(root: Path) -> None:
    """Remove folders of kernels that no process has used for UNUSED_AFTER.

    A process that still has one in use keeps what it has loaded, and makes the folder again when it compiles more.
    """
    for folder in root.iterdir():
        with suppress(OSError):
            if _FOLDER.fullmatch(folder.name) and folder.stat().st_mtime < time.time() - UNUSED_AFTER:
                shutil.rmtree(folder, ignore_errors=True)
