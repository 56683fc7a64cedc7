"""SOM, full backend, as a Localizer: network mask -> instances -> the best one, or NotFound with the reason."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storm_core.config import OnboardingConfig, SomConfig
from storm_core.errors import ConfigError
from storm_core.models.devices import require_torch_device
from storm_core.models.shipped import shipped_file
from storm_core.models.store import resolve
from storm_core.onboarding.array_cache import cache_folder
from storm_core.onboarding.views import ReferenceViews
from storm_core.som.hsfa import checkpoint
from storm_core.som.hsfa.channels import channels
from storm_core.som.hsfa.encoders import open_dino
from storm_core.som.hsfa.instances import split
from storm_core.som.hsfa.memory import remembered, weights_key
from storm_core.som.hsfa.network import HsfaNetwork, Memory
from storm_core.som.hsfa.window import Window, around, whole
from storm_core.types import Frame, Hint, Localization, NotFound, Reason

SHIPPED = "som_lite.safetensors"
"""The small network that comes with STORM (models/som_lite.md)."""
FAINT = 0.2
"""Share of the full answer's logit range that still tells where to look closer: sigmoid above this."""
ZOOM_GROW, ZOOM_BELOW = 2.0, 0.6
"""The closer look is this much larger than the answer; no closer look when it would be most of the picture."""
SMALLEST_PX = 30
"""Masks below this area are noise."""
OUTSIDE = -20.0
"""Logit where the network did not look."""


class HsfaLocalizer:
    """Finds objects by their reference views. Reference tokens are made once per object and kept on disk."""

    def __init__(self, network: HsfaNetwork, views: Mapping[str, ReferenceViews], config: SomConfig, cache: Path,
                 texts: Mapping[str, Tensor] | None = None, device: str = "cpu") -> None:
        """texts: (text_dim,) by object, for a network that was trained with text."""
        self._network, self._views, self._config, self._device = network.to(device).eval(), views, config, device
        key = weights_key(network)
        self._memories: dict[str, Memory] = {
            name: remembered(network, v, cache, key, device) for name, v in views.items()}
        self._texts = {name: text[None].to(device) for name, text in (texts or {}).items()}

    def localize(self, frame: Frame, object_name: str, hint: Hint) -> Localization | NotFound:
        """The most certain instance."""
        found = self.localize_all(frame, object_name, hint)
        return found if isinstance(found, NotFound) else found[0]

    def localize_all(self, frame: Frame, object_name: str, hint: Hint) -> list[Localization] | NotFound:
        """Every instance that is more certain than som.uncertain, the most certain first."""
        if hint.mask is not None:
            if not hint.mask.any():
                return self._nothing(frame, object_name, Reason.MASK_EMPTY, "the mask hint has no pixel")
            return [self._answer(frame, object_name, hint.mask, 1.0)]
        size, shape = self._network.settings.input_px, frame.depth.shape
        window = whole(*shape, size) if hint.box is None else around(hint.box, size, grow=1.5, least=size / 4)
        logits, iou = self._look(frame, object_name, window)
        closer = self._closer(logits, shape) if self._config.hsfa.zoom and hint.box is None else None
        if closer is not None:
            nearby, again = self._look(frame, object_name, closer)
            inside = nearby > OUTSIDE
            logits, iou = np.where(inside, nearby, logits), again
        mask = logits > 0
        if hint.point is not None:
            mask = _touched(mask, hint.point)
        if np.count_nonzero(mask) < SMALLEST_PX:
            best = float(1 / (1 + np.exp(-logits.max())))
            return self._nothing(frame, object_name, Reason.NO_CANDIDATE,
                                 f"the network marks {np.count_nonzero(mask)} px, fewer than {SMALLEST_PX}", best * iou)
        found = []
        for part in split(mask, frame.depth, self._views[object_name].diameter):
            if np.count_nonzero(part) >= SMALLEST_PX:
                sure = float(1 / (1 + np.exp(-logits[part].mean())))
                found.append(self._answer(frame, object_name, part, iou * sure))
        best = max((f.probability for f in found), default=0.0)
        certain = [f for f in found if f.probability >= self._config.uncertain]
        if not certain:
            return self._nothing(frame, object_name, Reason.VERIFIER_REJECTED,
                                 f"the best of {len(found)} masks has probability {best:.2f}", best)
        return sorted(certain, key=lambda f: -f.probability)

    @torch.inference_mode()
    def _look(self, frame: Frame, name: str, window: Window) -> tuple[NDArray[np.float32], float]:
        """Logits (H, W) of the picture from one window, OUTSIDE beside it, and the predicted IoU of its mask."""
        picture = channels(frame.rgb, frame.depth, frame.camera, window, self._views[name].diameter)
        masks = self._network.segment(torch.from_numpy(picture)[None].to(self._device), self._memories[name],
                                      self._texts.get(name))
        best = int(masks.iou[0].argmax())
        small = masks.logits[0, best].float().cpu().numpy()
        return window.sampled(len(small)).paste(small, *frame.depth.shape, fill=OUTSIDE), float(masks.iou[0, best])

    def _closer(self, logits: NDArray[np.float32], shape: tuple[int, int]) -> Window | None:
        """A window around what was faintly seen, None when nothing was or a closer look would hardly be closer."""
        rows, columns = np.nonzero(logits > np.log(FAINT / (1 - FAINT)))
        if len(rows) < SMALLEST_PX // 4:
            return None
        box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
        size = self._network.settings.input_px
        window = around(box, size, grow=ZOOM_GROW, least=size / 4)
        return window if window.side < ZOOM_BELOW * max(shape) else None

    def _answer(self, frame: Frame, name: str, mask: NDArray[np.bool_], probability: float) -> Localization:
        return Localization(object_name=name, stamp_ns=frame.stamp_ns, mask=mask, cam_from_objs=np.zeros((0, 4, 4)),
                            probability=probability)

    def _nothing(self, frame: Frame, name: str, reason: Reason, detail: str, probability: float = 0.0) -> NotFound:
        return NotFound(object_name=name, stamp_ns=frame.stamp_ns, reason=reason, detail=detail,
                        probability=probability)


def open_localizer(views: Mapping[str, ReferenceViews], config: SomConfig,
                   onboarding: OnboardingConfig) -> HsfaLocalizer:
    """The localizer that som.hsfa describes.

    Raises:
      ConfigError: descriptions and network do not go together.
      WeightsError, BackendError: weights are missing or do not fit; the device does not exist.
    """
    settings = config.hsfa
    path = Path(settings.weights).expanduser() if settings.weights else shipped_file(SHIPPED)
    header = checkpoint.read_header(path)
    backbone = None
    if header.settings.encoder == "dinov2":
        backbone = open_dino(resolve(settings.backbone, "som.hsfa.backbone"), header.settings)
    network = checkpoint.load(path, backbone)
    return HsfaLocalizer(network, views, config, cache_folder(onboarding), _texts(config, network, views),
                         device_of(settings.device))


def device_of(name: str) -> str:
    """The device to use for auto, cpu, cuda or cuda:N; BackendError when it is not there."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    require_torch_device(name, "som.hsfa.device")
    return name


def _texts(config: SomConfig, network: HsfaNetwork, views: Mapping[str, ReferenceViews]) -> dict[str, Tensor]:
    if not config.hsfa.text:
        return {}
    from storm_core.som.hsfa.text import TextEncoder, read_descriptions

    if not network.settings.text_dim:
        raise ConfigError("som.hsfa.text is set, but the network was trained without text; clear som.hsfa.text")
    descriptions = read_descriptions(Path(config.hsfa.text).expanduser())
    encoder = TextEncoder(resolve(config.hsfa.text_encoder, "som.hsfa.text_encoder"))
    if encoder.dim != network.settings.text_dim:
        raise ConfigError(f"the network was trained with text vectors of length {network.settings.text_dim}, "
                          f"som.hsfa.text_encoder gives {encoder.dim}")
    known = [name for name in views if name in descriptions]
    return dict(zip(known, encoder.embed([descriptions[name] for name in known]), strict=True)) if known else {}


def _touched(mask: NDArray[np.bool_], point: tuple[float, float]) -> NDArray[np.bool_]:
    """The connected part of a mask under a point (u, v) [px], or near it."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8))
    u, v = round(point[0]), round(point[1])
    reach = mask.shape[1] // 40
    near = labels[max(0, v - reach):v + reach + 1, max(0, u - reach):u + reach + 1]
    hits = np.bincount(near.ravel(), minlength=count)
    hits[0] = 0
    return labels == hits.argmax() if hits.any() else np.zeros_like(mask)
