"""Who does the jobs: this process, processes of this machine, or the workers of a Dask cluster.

Jobs come from and outcomes go to the caller, who alone writes files.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from storm_core.errors import SetupError
from storm_core.evaluation.jobs import Job, Outcome, perform, perform_on_one_core
from storm_core.evaluation.resume import Parts

CONNECT_S = 10
"""Longest wait for the scheduler of a cluster, and then for its first worker [s]."""

Task = Callable[[Job], Outcome]


@dataclass(frozen=True, kw_only=True)
class Crew:
    """workers: local processes; 1 = this process with all cores. dask: address of a scheduler, empty = local."""

    workers: int
    dask: str = ""


def do_jobs(jobs: Sequence[Job], crew: Crew, parts: Parts, *, unit: str) -> tuple[list[Outcome], int]:
    """The outcome of every job in their order, and how many of them were there already.

    Args:
      unit: what one job is, for the progress bar.

    Raises:
      StormError: what a job raised; SetupError: a worker died or a cluster is out of reach. Finished jobs are kept.
      KeyboardInterrupt: with a line that says what is kept.
    """
    from tqdm import tqdm

    keys = [job.key() for job in jobs]
    done = {k: outcome for k, key in enumerate(keys) if (outcome := parts.get(key)) is not None}
    reused = len(done)
    todo = [k for k in range(len(jobs)) if k not in done]
    try:
        with tqdm(total=len(jobs), initial=reused, unit=unit, disable=None) as bar:
            for place, outcome in _stream([jobs[k] for k in todo], crew):
                parts.put(keys[todo[place]], outcome)
                done[todo[place]] = outcome
                bar.update()
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"interrupted; {len(done)} of {len(jobs)} parts are kept in {parts.folder}, "
                                "the same command continues from there") from stop
    return [done[k] for k in range(len(jobs))], reused


def _stream(jobs: Sequence[Job], crew: Crew) -> Iterator[tuple[int, Outcome]]:
    """(place in `jobs`, outcome) of each job as soon as it is done."""
    if not jobs:
        return
    if crew.dask:
        yield from _on_cluster(jobs, crew.dask)
    elif crew.workers > 1:
        yield from _on_processes(jobs, min(crew.workers, len(jobs)))
    else:
        import numba

        for place, job in enumerate(jobs):
            yield place, perform(job) | {"threads": numba.get_num_threads()}


def _on_processes(jobs: Sequence[Job], workers: int) -> Iterator[tuple[int, Outcome]]:
    others = set(multiprocessing.active_children())
    # Spawned, not forked: a fork copies thread pools in the middle of what they do.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)
    finished = False
    try:
        places = {pool.submit(perform_on_one_core, job): place for place, job in enumerate(jobs)}
        for future in as_completed(places):
            yield places[future], future.result()
        finished = True
    except BrokenProcessPool as error:
        raise SetupError("a worker process ended without an answer, most likely for lack of memory; the finished "
                         "parts are kept: run the same command with fewer --workers") from error
    finally:
        if not finished:
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Settings of a worker process, before it imports numpy."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _on_cluster(jobs: Sequence[Job], address: str) -> Iterator[tuple[int, Outcome]]:
    try:
        from distributed import Client
        from distributed import as_completed as as_completed_there
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise SetupError("--dask needs the package distributed: pip install 'storm_ros[fleet]'") from error
    client = _client(Client, address)
    try:
        places = {client.submit(perform_on_one_core, job, pure=False): place
                  for place, job in enumerate(jobs)}
        for future in as_completed_there(places):
            yield places[future], future.result()
    except KilledWorker as error:
        raise SetupError(f"workers of {address} died while they worked, most likely for lack of memory: {error}"
                         ) from error
    except ModuleNotFoundError as error:
        raise SetupError(f"the workers of {address} lack {error.name}; install the same storm_ros there") from error
    finally:
        client.close()


def _client(make: Callable[..., Any], address: str) -> Any:
    """A client of the cluster that has at least one worker."""
    try:
        client = make(address, timeout=CONNECT_S)
    except (OSError, ValueError, TimeoutError, asyncio.TimeoutError) as error:
        raise SetupError(f"no Dask scheduler answers at {address} within {CONNECT_S} s ({error}); start one with "
                         "`dask scheduler` and give its address, such as tcp://host:8786") from error
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except (TimeoutError, asyncio.TimeoutError) as error:
        client.close()
        raise SetupError(f"the Dask scheduler at {address} has no workers; start some with "
                         f"`dask worker {address} --nthreads 1`") from error
    return client
