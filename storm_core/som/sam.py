"""SAM 2 sharpens the mask of any localizer, prompted with a point and a box of that mask; never without one."""

import logging
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from storm_core.errors import WeightsError
from storm_core.interfaces import Localizer
from storm_core.models.packages import require_packages
from storm_core.models.pretrained import load_pretrained
from storm_core.som.hsfa.prompts import Prompts, prompts_from
from storm_core.types import Frame, Hint, Localization, NotFound

logger = logging.getLogger(__name__)

AGREE = 0.3
"""Least IoU with the mask that prompted it: below, SAM 2 segmented something else."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Segmenter(Protocol):
    """A promptable segmenter."""

    def segment(self, rgb: NDArray[np.uint8], prompts: Prompts) -> NDArray[np.bool_]:
        """Mask (H, W) of what the point and the box in the picture (H, W, 3) mean."""
        ...


class TransformersSam:
    """`Sam2Model` of transformers from a folder. It needs no torchvision: the picture is prepared here."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        require_packages("SAM 2", "torch", "transformers")
        from transformers import Sam2Model

        # The published folders call themselves sam2_video: they also hold what follows masks through videos.
        self._model = load_pretrained(Sam2Model, folder, "SAM 2", types=("sam2", "sam2_video")).to(device)

    def segment(self, rgb: NDArray[np.uint8], prompts: Prompts) -> NDArray[np.bool_]:
        import torch
        from torch.nn import functional

        size = self._model.config.vision_config.backbone_config.image_size
        size = size if isinstance(size, int) else size[0]
        height, width = rgb.shape[:2]
        picture = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float() / 255
        picture = functional.interpolate(picture, (size, size), mode="bilinear", antialias=True, align_corners=False)
        picture = (picture - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_STD)[:, None, None]
        # The picture is stretched to a square, and so are the prompts; pixel centres lie at integers on both sides.
        sx, sy = size / width, size / height
        (u, v), (x0, y0, x1, y1) = prompts
        device = self._model.device
        with torch.inference_mode():
            out = self._model(
                pixel_values=picture.to(device), multimask_output=False,
                input_points=torch.tensor([[[[(u + 0.5) * sx, (v + 0.5) * sy]]]], device=device),
                input_labels=torch.ones(1, 1, 1, dtype=torch.long, device=device),
                input_boxes=torch.tensor([[[x0 * sx, y0 * sy, x1 * sx, y1 * sy]]], device=device))
            logits = functional.interpolate(out.pred_masks[0].float(), (height, width), mode="bilinear",
                                            align_corners=False)
        return (logits[0, 0] > 0).cpu().numpy()


class PackageSam:
    """The `sam2` package, for a checkpoint of that package (.pt) when it is installed."""

    def __init__(self, checkpoint: Path, device: str = "cpu") -> None:
        require_packages("a SAM 2 checkpoint (.pt)", "torch", "sam2")
        from sam2.build_sam import build_sam2
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        try:
            self._predictor = SAM2ImagePredictor(build_sam2(package_config(checkpoint), str(checkpoint),
                                                            device=device))
        except (OSError, RuntimeError, KeyError) as error:
            raise WeightsError(f"{checkpoint} cannot be loaded by the sam2 package: {error}") from error

    def segment(self, rgb: NDArray[np.uint8], prompts: Prompts) -> NDArray[np.bool_]:
        self._predictor.set_image(np.array(rgb))
        masks, _, _ = self._predictor.predict(point_coords=np.array([prompts.point]), point_labels=np.array([1]),
                                              box=np.array(prompts.box), multimask_output=False)
        return masks[0] > 0


def package_config(checkpoint: Path) -> str:
    """The configuration of the sam2 package that its file names stand for, e.g. sam2.1_hiera_tiny.pt."""
    sizes = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}
    for size, letter in sizes.items():
        for version in ("sam2.1", "sam2"):
            if checkpoint.stem == f"{version}_hiera_{size}":
                return f"configs/{version}/{version}_hiera_{letter}.yaml"
    raise WeightsError(f"{checkpoint.name} is no file name of the sam2 package; expected e.g. sam2.1_hiera_tiny.pt")


def open_sam(name: str, device: str = "cpu") -> Segmenter:
    """SAM 2 from a name of `storm weights list`, a folder of transformers, or a .pt of the sam2 package.

    Raises:
      BackendError: the package that reads it is missing.
      WeightsError: the weights are not there or cannot be loaded.
    """
    from storm_core.models.store import resolve

    path = Path(name).expanduser()
    if path.suffix == ".pt":
        if not path.is_file():
            raise WeightsError(f"som.sam: {path} does not exist")
        return PackageSam(path, device)
    require_packages("SAM 2", "torch", "transformers")
    return TransformersSam(resolve(name, "som.sam"), device)


class SamLocalizer:
    """A localizer whose masks SAM 2 has sharpened. What is not found stays not found."""

    def __init__(self, localizer: Localizer, segmenter: Segmenter) -> None:
        self._localizer, self._segmenter = localizer, segmenter

    def localize(self, frame: Frame, object_name: str, hint: Hint) -> Localization | NotFound:
        found = self._localizer.localize(frame, object_name, hint)
        # A mask that the user gave is not ours to change.
        if isinstance(found, NotFound) or hint.mask is not None:
            return found
        return self._sharpened(frame, found)

    def localize_all(self, frame: Frame, object_name: str, hint: Hint) -> list[Localization] | NotFound:
        """Every instance, of a localizer that finds several."""
        from storm_core.som.several import localize_all

        found = localize_all(self._localizer, frame, object_name, hint)
        return found if isinstance(found, NotFound) else [self._sharpened(frame, f) for f in found]

    def _sharpened(self, frame: Frame, found: Localization) -> Localization:
        mask = self._segmenter.segment(frame.rgb, prompts_from(found.mask))
        both = np.count_nonzero(mask & found.mask)
        iou = both / max(1, np.count_nonzero(mask | found.mask))
        if iou < AGREE:
            logger.warning("SAM 2 answered something else than %s was prompted with (IoU %.2f); its mask is not used",
                           found.object_name, iou)
            return found
        return Localization(object_name=found.object_name, stamp_ns=found.stamp_ns, mask=mask,
                            cam_from_objs=found.cam_from_objs, probability=found.probability)
