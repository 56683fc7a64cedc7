"""What may be published about an object in a given state; one rule for the offline pipeline and the nodes."""

from storm_core.recovery.machine import ObjectState
from storm_core.types import Evidence, Judgement, ObjectOutput, Track

COAST_GROWTH = 4.0
"""Factor by which the covariance of a coasting pose is published larger than the tracker's own."""


def object_output(
    name: str, stamp_ns: int, state: ObjectState, track: Track | None, judgement: Judgement | None
) -> ObjectOutput:
    """The pose while it is trusted or coasting, and otherwise only why there is none."""
    publish = track is not None and (state.trusted or state.coasting)
    growth = COAST_GROWTH if state.coasting else 1.0
    return ObjectOutput(
        object_name=name,
        stamp_ns=stamp_ns,
        state=state.state.value,
        reason=state.reason,
        cam_from_obj=track.cam_from_obj if publish else None,
        covariance=growth * track.covariance if publish else None,
        probability=judgement.probability if judgement else 0.0,
        trusted=publish and state.trusted,
        coasting=publish and state.coasting,
        evidence=judgement.evidence if judgement else Evidence(),
    )
