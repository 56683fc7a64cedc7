"""Which frames of its recording a run played: written into results.json, read back before its figures are made anew."""

import json
from pathlib import Path
from typing import Any

from storm_core.bags.recording import Recording
from storm_core.bags.selection import Selection
from storm_core.errors import DatasetError
from storm_core.report.foreign import outputs_of
from storm_core.report.jsonl import PREDICTIONS, Predictions, object_names
from storm_core.types import StepOutput

RESULTS = "results.json"


def played(recording: Recording, count: int) -> dict[str, int]:
    """The first `count` frames of a recording, or of a selection of one, as {first, stop, stride} of the whole one."""
    indices = recording.indices if isinstance(recording, Selection) else range(len(recording))
    indices = indices[:count]
    if not indices:
        return {"first": 0, "stop": 0, "stride": 1}
    return {"first": indices[0], "stop": indices[-1] + 1, "stride": indices[1] - indices[0] if count > 1 else 1}


def played_part(file: Path, recording: Recording) -> Selection:
    """The frames that predictions have to be about: all, or those that the run says it played.

    The results.json beside a predictions.jsonl says so, if it is about this very recording; predictions alone do not:
    a file that was cut off looks like one of a short run.

    Raises:
      DatasetError: the results.json is damaged.
    """
    beside = file.with_name(RESULTS)
    everything = Selection(recording, tuple(range(len(recording))))
    if file.name != PREDICTIONS or not beside.exists():
        return everything
    try:
        source: dict[str, Any] = json.loads(beside.read_text())["input"]
        if source["sha256"] != recording.sha256 or "played" not in source:
            return everything
        indices = range(*(int(source["played"][key]) for key in ("first", "stop", "stride")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{beside} does not say what was played ({error}); remove it to count every frame of "
                           f"{recording.path}") from error
    return Selection(recording, tuple(k for k in indices if 0 <= k < len(recording)))


def padded(predictions: Predictions, part: Selection) -> tuple[list[StepOutput], int]:
    """One output per frame of the part, and how many of them are made up because nothing is said about their frame.

    In these no object has a pose, so that each counts as a failure.

    Raises:
      DatasetError: a prediction is about a frame that is not in the part, or they are out of order.
    """
    place = {frame: k for k, frame in enumerate(part.ids)}
    places = [place.get(frame, -1) for frame in predictions.ids]
    if -1 in places or any(b <= a for a, b in zip(places, places[1:], strict=False)):
        raise DatasetError(f"its frames are {predictions.ids[0]} to {predictions.ids[-1]}, those played are "
                           f"{part.ids[0]} to {part.ids[-1]} ({len(part)} of {part.path})")
    out = outputs_of({}, part, object_names(predictions.outputs))
    for k, output in zip(places, predictions.outputs, strict=True):
        out[k] = output
    return out, len(out) - len(places)
