"""One fresh search for one object in one image, knowing no other image."""

import time

from storm_core.interfaces import Localizer, Registrar
from storm_core.report.attempts import Attempt, Key
from storm_core.types import Frame, Hint, NotFound, Reason, Registration

NO_HINT = Hint()


def attempt(frame: Frame, key: Key, name: str, localizer: Localizer, registrar: Registrar | None,
            accept: float = 0.0, hint: Hint = NO_HINT) -> Attempt:
    """Search one object; register it too when there is a registrar.

    Args:
      accept: without a registrar, the probability from which a localization counts as found.
      hint: what is known about where the object is.
    """
    begin = time.perf_counter()
    found = localizer.localize(frame, name, hint)
    stage_ms = {"localize": (time.perf_counter() - begin) * 1e3, "total": (time.perf_counter() - begin) * 1e3}
    if isinstance(found, NotFound):
        return Attempt(key=key, object_name=name, found=False, reason=found.reason.value, detail=found.detail,
                       probability=found.probability, cam_from_obj=None, mask=None, stage_ms=stage_ms)
    if registrar is None:
        sure = found.probability >= accept
        return Attempt(key=key, object_name=name, found=sure, cam_from_obj=None, mask=found.mask if sure else None,
                       reason=(Reason.FOUND if sure else Reason.UNCERTAIN).value, detail="",
                       probability=found.probability, stage_ms=stage_ms)
    registered_at = time.perf_counter()
    result = registrar.register(frame, found)
    stage_ms["register"] = (time.perf_counter() - registered_at) * 1e3
    stage_ms["total"] = (time.perf_counter() - begin) * 1e3
    ok = isinstance(result, Registration)
    return Attempt(key=key, object_name=name, found=ok, mask=found.mask, stage_ms=stage_ms,
                   reason=Reason.REGISTERED.value if ok else result.reason.value, detail="" if ok else result.detail,
                   probability=result.probability, cam_from_obj=result.cam_from_obj if ok else None)
