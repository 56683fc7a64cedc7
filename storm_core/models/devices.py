"""Where torch computes: a device that somebody named is there, or one error says why not."""

from storm_core.errors import BackendError


def require_torch_device(name: str, setting: str) -> None:
    """Nothing when torch can compute on cpu, cuda or cuda:N of this name.

    Raises:
      BackendError: it is no device or not on this machine; names the setting.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise BackendError(f"{setting} {name!r} is no device; use cpu, cuda or cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BackendError(f"{setting} is {name}, but torch sees no CUDA device; use cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BackendError(f"{setting} is {name}, but torch sees {torch.cuda.device_count()} CUDA device(s), numbered "
                           "from 0; use another number")
