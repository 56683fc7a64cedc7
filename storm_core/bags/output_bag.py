"""What a run published, as rosbag2 with the topics, types and stamps of the live nodes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storm_core.bags import messages
from storm_core.bags.write import BagWriter, topic_name
from storm_core.geometry.mesh import ObjectModel
from storm_core.recovery.machine import State
from storm_core.types import ObjectOutput, StepOutput

PRIMARY_TOPIC = "/object_pose"
POSE_TOPIC = "/object_pose/{name}/pose"
DETECTIONS_TOPIC = "/object_pose/detections"
STATUS_TOPIC = "/object_pose/status"
TF_TOPIC = "/tf"
COASTING_SCORE = 0.5
"""A coasting pose never scores higher: nothing in the image confirms it."""

_OK, _WARN, _ERROR, _STALE = range(4)
_LEVELS = {State.TRACKING.value: _OK, State.LOST.value: _ERROR, State.DISABLED.value: _STALE}


def write_output_bag(path: Path, outputs: Iterable[StepOutput], models: Mapping[str, ObjectModel], *, frame_id: str,
                     primary: str = "") -> None:
    """Write one bag; the same outputs always give the same bytes.

    A message counts as received when it was published: `end_to_end` after the stamp of the image where a run was in
    real time, else at the stamp itself.

    Args:
      path: folder of the bag; must not exist yet.
      frame_id: optical frame of the images. primary: object of /object_pose, "" = the first.
    """
    with BagWriter(path) as bag:
        for output in outputs:
            received = output.stamp_ns + round(output.stage_ms.get("end_to_end", 0.0) * 1e6)
            for topic, message in step_messages(output, models, frame_id, primary or next(iter(models))):
                bag.message(topic, received, message)


def step_messages(output: StepOutput, models: Mapping[str, ObjectModel], frame_id: str,
                  primary: str) -> list[tuple[str, Any]]:
    """(topic, message) of one frame; nothing for a frame that was dropped."""
    if not output.objects:
        return []
    at = messages.header(output.stamp_ns, frame_id)
    out: list[tuple[str, Any]] = []
    found, moved = [], []
    for item in output.objects:
        matrix = item.cam_from_obj
        if matrix is None:
            continue
        posed = messages.pose_with_covariance(matrix, item.covariance)
        out.append((POSE_TOPIC.format(name=topic_name(item.object_name)),
                    messages.pose_with_covariance_stamped(at, matrix, item.covariance)))
        found.append(_detection(at, item, matrix, posed, models[item.object_name]))
        if item.trusted:
            moved.append(messages.transform(at, item.object_name, matrix))
            if item.object_name == primary:
                out.append((PRIMARY_TOPIC, messages.pose_stamped(at, matrix)))
    out.append((DETECTIONS_TOPIC, messages.detections(at, found)))
    if moved:
        out.append((TF_TOPIC, messages.transforms(moved)))
    before = {t.object_name: t.before for t in output.transitions}
    statuses = [_status(item, before.get(item.object_name)) for item in output.objects]
    return [*out, (STATUS_TOPIC, messages.diagnostics(at, statuses))]


def _detection(at: Any, item: ObjectOutput, matrix: NDArray[np.float64], posed: Any, model: ObjectModel) -> Any:
    center = matrix.copy()
    center[:3, 3] += matrix[:3, :3] @ model.center
    score = min(item.probability, COASTING_SCORE) if item.coasting else item.probability
    return messages.detection(at, item.object_name, score, posed, center, model.size)


def _status(item: ObjectOutput, before: str | None) -> Any:
    values = {"state": item.state, "reason": item.reason.value, "trusted": str(item.trusted).lower(),
              "coasting": str(item.coasting).lower(), "probability": f"{item.probability:.6g}"}
    if before is not None:
        values["previous_state"] = before
    values |= {f"evidence.{name}": f"{value:.6g}" for name, value in item.evidence.as_dict().items()}
    return messages.status(item.object_name, _LEVELS.get(item.state, _WARN), f"{item.state}: {item.reason.value}",
                           values)
