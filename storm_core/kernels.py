"""`njit` for the kernels of this package: numba's, but nothing outdated is ever loaded. See `kernel_cache`."""

import fcntl
import logging
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

from storm_core.kernel_cache import kernel_folder, kernel_root

logger = logging.getLogger(__name__)

_DECORATING = threading.Lock()


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """numba.njit(**options), with what is compiled kept in a folder named after all the sources that went into it.

    Several processes may compile at once. Where no folder can be written, each process compiles for itself.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        folder = _folder(Path(function.__code__.co_filename)) if options.get("cache") else None
        if folder is None or numba.config.DISABLE_JIT:
            return numba.njit(**options | {"cache": False})(function)
        # numba chooses the place when it decorates; other packages' kernels in this process keep theirs.
        with _DECORATING:
            kept, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(folder)
            try:
                kernel = numba.njit(**options)(function)
            finally:
                numba.config.CACHE_DIR = kept
        if not Path(kernel.stats.cache_path).is_relative_to(folder):  # it could not be written after all
            return numba.njit(**options | {"cache": False})(function)
        _save_one_at_a_time(kernel, folder)
        return kernel

    return decorate


@cache
def _folder(source: Path) -> Path | None:
    root = _root()
    return None if root is None else kernel_folder(source.resolve(), root, f"numba {numba.__version__}")


@cache
def _root() -> Path | None:
    root = kernel_root(numba.config.CACHE_DIR)
    if root is None:
        logger.warning("no folder for compiled kernels can be written: they are compiled again at every start, which "
                       "takes minutes; set NUMBA_CACHE_DIR to a folder that you may write to")
    return root


def _save_one_at_a_time(kernel: Any, folder: Path) -> None:
    """Let one process at a time add to a folder.

    numba numbers the variants of a kernel by the index that it has just read. Two processes that add different ones at
    the same moment would give both the same number, and the next process would run one in place of the other.
    """
    save = kernel._cache.save_overload

    def locked(signature: Any, compiled: Any) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                save(signature, compiled)
        except OSError as error:
            logger.warning("a compiled kernel is not kept: %s", error)

    kernel._cache.save_overload = locked
