"""One job: what a worker needs to know, and nothing else. A job changes no file; its outcome is plain JSON data."""

import importlib
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from storm_core.evaluation.images import ImageFiles, require_reachable
from storm_core.evaluation.resume import code_version, digest_of_files
from storm_core.parallel import on_one_thread

Outcome = dict[str, Any]
"""What a job found: `records` in the form of its kind, and `skipped` [{scene_id, im_id, reason}]."""

KINDS = ("registration", "masks", "system", "failures.play")
"""Each is a module of this package with perform(job) -> Outcome."""

_ALONE = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Query:
    """One object to look for in one image.

    Attributes:
      name: of the object in the configuration. masks: files that each show one instance; None = search for it.
      count: instances to search for. register: registration refines and verifies what the localizer finds.
    """

    name: str
    masks: tuple[str, ...] | None = None
    count: int = 1
    register: bool = True


@dataclass(frozen=True, kw_only=True)
class Job:
    """A share of the work: one image with its queries, or one scene as a sequence.

    Attributes:
      kind: one of KINDS. config: every parameter by dotted path. models: sha256 of each model by name.
    """

    kind: str
    images: tuple[ImageFiles, ...]
    queries: tuple[Query, ...]
    config: Mapping[str, Any]
    models: Mapping[str, str]

    def key(self) -> str:
        """Names this job's outcome: the same for the same input, parameters, models and code, else another."""
        files = [f for image in self.images for f in (image.rgb, image.depth)]
        files += [mask for query in self.queries for mask in query.masks or ()]
        return code_version(asdict(self), digest_of_files(files))


def perform(job: Job) -> Outcome:
    """Do the job in this process.

    Raises:
      DatasetError: this host cannot see the dataset. StormError: a model or parameter is bad.
    """
    for folder in {image.folder for image in job.images}:
        require_reachable(folder)
    return importlib.import_module(f"storm_core.evaluation.{job.kind}").perform(job)


def perform_on_one_core(job: Job) -> Outcome:
    """Do the job with one thread: as many processes as cores share the machine.

    One job at a time per process, because the kernels' thread pool does not stand two callers.
    """
    with _ALONE:
        on_one_thread()
        return perform(job) | {"threads": 1}
