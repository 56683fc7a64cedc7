"""The training objective of the masks: focal, Dice and Tversky on the mask, squared error on the predicted IoU.

The published IoU term thresholds the mask and so has no gradient, its Tversky(.5, .5) equals Dice, and its IoU head is
never taught. Here every term has a gradient and says something the others do not.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from storm_core.training.som.settings import LossSettings

ALPHA, GAMMA = 0.25, 2.0
MISSED, WRONG = 0.7, 0.3
"""Tversky weights of false negatives and false positives: small objects are lost rather than overfilled."""


class Losses(NamedTuple):
    """Means over the batch; total is their weighted sum."""

    total: Tensor
    focal: Tensor
    dice: Tensor
    tversky: Tensor
    iou: Tensor


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """(B, K) focal loss (Lin et al., 2017), mean over pixels. logits: (B, K, h, w). target: (B, 1, h, w) in [0, 1]."""
    target = target.expand_as(logits)
    cross = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p = logits.sigmoid()
    miss = p * (1 - target) + (1 - p) * target
    weight = ALPHA * target + (1 - ALPHA) * (1 - target)
    return (weight * miss**GAMMA * cross).mean((2, 3))


def tversky(logits: Tensor, target: Tensor, missed: float, wrong: float) -> Tensor:
    """(B, K) 1 - TP / (TP + missed FN + wrong FP) of soft masks; missed = wrong = 0.5 is the Dice loss."""
    p = logits.sigmoid()
    target = target.expand_as(p)
    hit = (p * target).sum((2, 3))
    fn, fp = ((1 - p) * target).sum((2, 3)), (p * (1 - target)).sum((2, 3))
    # One pixel more on both sides: an empty target asks for an empty mask instead of dividing by zero.
    return 1 - (hit + 1) / (hit + missed * fn + wrong * fp + 1)


@torch.no_grad()
def iou_of(logits: Tensor, target: Tensor) -> Tensor:
    """(B, K) intersection over union of thresholded masks; 0 when the object is absent, whatever is marked."""
    mask, truth = logits > 0, (target > 0.5).expand_as(logits)
    both, either = (mask & truth).sum((2, 3)), (mask | truth).sum((2, 3))
    return both / either.clamp(min=1)


def objective(logits: Tensor, predicted_iou: Tensor, target: Tensor, weights: LossSettings) -> Losses:
    """All terms. Of several masks only the best one per sample is taught to be the object; all learn their IoU.

    Args:
      logits: (B, K, h, w). predicted_iou: (B, K). target: (B, 1, h, w) in [0, 1]; all zeros = object absent.
    """
    parts = torch.stack([focal(logits, target), tversky(logits, target, 0.5, 0.5),
                         tversky(logits, target, MISSED, WRONG)])
    scale = torch.tensor([weights.focal, weights.dice, weights.tversky], device=logits.device)
    best = (parts.detach() * scale[:, None, None]).sum(0).argmin(1, keepdim=True)
    terms = parts.gather(2, best.expand(3, -1, -1)).mean((1, 2))
    error = (predicted_iou - iou_of(logits, target)).square().mean()
    return Losses((terms * scale).sum() + weights.iou * error, *terms, error)
