"""No monitor: what the tracker says is taken as right. For measuring what TOM is worth."""

from storm_core.config import MonitorConfig
from storm_core.geometry.mesh import ObjectModel
from storm_core.types import Evidence, Frame, Judgement, Reason, Track, Verdict


class TrustingMonitor:
    """Calls every tracked pose healthy without looking at the frame; its evidence is empty (nan = not measured)."""

    def reset(self, object_name: str) -> None:
        """Nothing is remembered."""

    def renew(self, models: dict[str, ObjectModel], config: MonitorConfig) -> None:
        """Nothing depends on models or settings."""

    def judge(self, frame: Frame, track: Track) -> Judgement:
        """HEALTHY with probability 1: to publish without a check is to claim certainty."""
        return Judgement(object_name=track.object_name, stamp_ns=track.stamp_ns, verdict=Verdict.HEALTHY,
                         probability=1.0, reason=Reason.CONFIRMED, evidence=Evidence())
