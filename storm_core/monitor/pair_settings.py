"""Shape of the pair model. Apart from the model, which needs torch, so that its settings can be read without."""

from dataclasses import dataclass

from storm_core.config import param


@dataclass(frozen=True)
class PairSettings:
    backbone: str = param("dinov2-base", "DINOv2 weights: a name of `storm weights list` or a folder")
    layers: int = param(1, "attention layers over the tokens of both pictures", "", 1, 12)
    heads: int = param(8, "attention heads; they divide the width of the backbone", "", 1, 32)
    hidden: int = param(2048, "width of the layers' feed-forward part", "", 16, 8192)
    tokens: str = param("cls", "what attention sees of each picture: cls (as published: one vector) or patches",
                        choices=("cls", "patches"))
