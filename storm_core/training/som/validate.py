"""Figures of a network on fixed samples of objects it has never trained on."""

from collections.abc import Mapping

import torch
from torch import Tensor

from storm_core.som.hsfa.network import HsfaNetwork
from storm_core.training.som.distributed import Crew
from storm_core.training.som.losses import iou_of
from storm_core.training.som.samples import Samples, collate


@torch.no_grad()
def validate(network: HsfaNetwork, state: Mapping[str, Tensor], samples: Samples, count: int, batch: int,
             crew: Crew) -> dict[str, float]:
    """Mean IoU where the object is there, share of empty masks where it is not, error of the predicted IoU.

    The mask counts that the network itself predicts to be best. `state` stands in for the network's own for this time.
    """
    own = {name: value.clone() for name, value in network.trained_state().items()}
    network.load_state_dict(state, strict=False)
    was_training = network.training
    network.eval()
    # Sums of: IoU, present samples, empty masks, absent samples, squared IoU errors.
    sums = torch.zeros(5, device=crew.device)
    mine = range(crew.rank, count, crew.size)
    for start in range(0, len(mine), batch):
        data = collate([samples[k] for k in mine[start:start + batch]]).to(crew.device)
        masks = network(data.query, data.views, data.text)
        chosen = masks.iou.argmax(1, keepdim=True)
        iou = iou_of(masks.logits, data.target).gather(1, chosen)[:, 0]
        present = (data.target > 0.5).any((2, 3))[:, 0]
        empty = ~(masks.logits > 0).any((2, 3)).gather(1, chosen)[:, 0]
        error = (masks.iou.gather(1, chosen)[:, 0] - iou).square()
        sums += torch.stack([iou[present].sum(), present.sum(), empty[~present].sum(), (~present).sum(), error.sum()])
    network.load_state_dict(own, strict=False)
    network.train(was_training)
    iou_sum, there, silent, away, errors = crew.summed(sums).tolist()
    return {"val/iou": iou_sum / there if there else float("nan"), "val/present": there, "val/absent": away,
            "val/silent": silent / away if away else float("nan"), "val/iou_error": (errors / count) ** 0.5}
