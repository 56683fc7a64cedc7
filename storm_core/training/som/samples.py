"""Training samples by number: the same number always gives the same sample, so a resumed run misses none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from storm_core.errors import ConfigError
from storm_core.som.hsfa.channels import channels
from storm_core.som.hsfa.memory import view_input
from storm_core.som.hsfa.settings import NetworkSettings
from storm_core.som.hsfa.window import Window, around, whole
from storm_core.training.som.augment import augmented
from storm_core.training.som.settings import TrainSettings
from storm_core.training.som.source import Source
from storm_core.training.som.split import pictures_for


@dataclass(frozen=True, eq=False)
class Batch:
    """query: (B, 8, S, S). views: (G, V, 8, S, S), of the object of each B / G neighbouring samples.

    target: (B, 1, M, M) in [0, 1]. text: (B, text_dim) or None.
    """

    query: Tensor
    views: Tensor
    target: Tensor
    text: Tensor | None

    def to(self, device: str) -> "Batch":
        return Batch(self.query.to(device), self.views.to(device), self.target.to(device),
                     None if self.text is None else self.text.to(device))


class Samples(torch.utils.data.Dataset):
    """Endless samples of `objects` from pictures that show none of `banned`."""

    def __init__(self, sources: Sequence[Source], objects: frozenset[str], banned: frozenset[str],
                 settings: TrainSettings, network: NetworkSettings, *, training: bool,
                 texts: Mapping[str, Tensor] | None = None) -> None:
        """training: augment, and draw views and lamps; otherwise the same evenly spaced views every time.

        Raises:
          ConfigError: no picture is left.
        """
        self._settings, self._network, self._training = settings, network, training
        self._sources, self._objects = list(sources), objects
        self._pictures = []
        for number, source in enumerate(sources):
            mine = objects & frozenset(source.keys)
            if mine:
                self._pictures += [(number, k) for k in pictures_for(source.shown, source.present, mine, banned)]
        if not self._pictures:
            raise ConfigError("no pictures to train with; give data.bop or data.synthetic")
        self._texts = dict(texts or {})
        self._of_object: dict[str, list[tuple[int, int]]] = {}
        if training and settings.data.queries > 1:
            for number, k in self._pictures:
                for key in objects & sources[number].shown[k]:
                    self._of_object.setdefault(key, []).append((number, k))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One sample as tensors without batch axis; see `Batch`."""
        data, stage = self._settings.data, 0 if self._training else 1
        rng = np.random.default_rng([self._settings.seed, stage, int(index)])
        # What neighbours share: the object, the lamp and the views.
        shared = rng
        if self._of_object:
            shared = np.random.default_rng([self._settings.seed, 2, int(index) // data.queries])
            source, key, frame, mask = self._drawn_of(sorted(self._of_object)[shared.integers(len(self._of_object))],
                                                      rng)
        else:
            source, key, frame, mask = self._drawn(rng)
        if self._training:
            frame, mask = augmented(frame, mask, self._settings.augment, rng, may_mirror=source.may_mirror(key))
        views = source.views(key)
        window = self._window(mask, rng, zoom=data.zoom)
        s, count = self._network, min(data.views, len(views))
        lamp, chosen = 0, np.linspace(0, len(views) - 1, count).round().astype(int).tolist()
        if self._training:
            lamp, chosen = int(shared.integers(len(views.lights))), shared.permutation(len(views))[:count].tolist()
        # Objects with fewer views than asked for repeat some, so that all samples of a batch are alike.
        chosen = tuple((chosen * data.views)[:data.views])
        out = {"query": torch.from_numpy(channels(frame.rgb, frame.depth, frame.camera, window, views.diameter)),
               "views": self._views(source, key, lamp, chosen),
               "target": torch.from_numpy(np.clip(window.sampled(s.mask_px).cut(mask.astype(np.float32)), 0, 1))[None]}
        if s.text_dim:
            out["text"] = self._texts.get(key, torch.zeros(s.text_dim))
        return out

    @lru_cache(maxsize=64)  # noqa: B019  samples live as long as the process
    def _views(self, source: Source, key: str, lamp: int, chosen: tuple[int, ...]) -> Tensor:
        """Input of these views; neighbours that ask for one object share it."""
        return view_input(source.views(key), self._network.input_px, lamp, list(chosen))

    def _drawn(self, rng: np.random.Generator) -> tuple:
        """A source, an object of it, a frame and the object's mask in it; all False when it is absent."""
        for _ in range(50):
            number, k = self._pictures[rng.integers(len(self._pictures))]
            source = self._sources[number]
            mine = self._objects & frozenset(source.keys)
            absent = sorted(mine - source.present[k])
            if absent and rng.random() < self._settings.data.absent:
                frame, masks = source.picture(k)
                return source, absent[rng.integers(len(absent))], frame, np.zeros(frame.depth.shape, bool)
            asked = sorted(mine & source.shown[k])
            key = asked[rng.integers(len(asked))]
            frame, masks = source.picture(k)
            if masks[key].any():
                return source, key, frame, masks[key]
        raise ConfigError("50 pictures in a row show nothing of any object; lower data.min_visible or check the masks")

    def _drawn_of(self, key: str, rng: np.random.Generator) -> tuple:
        """As `_drawn`, of this object."""
        mine = self._of_object[key]
        source = self._sources[mine[0][0]]
        absent = rng.random() < self._settings.data.absent
        for _ in range(50):
            number, k = self._pictures[rng.integers(len(self._pictures))] if absent else mine[rng.integers(len(mine))]
            if absent and key in self._sources[number].present[k]:
                continue
            frame, masks = self._sources[number].picture(k)
            if absent:
                return source, key, frame, np.zeros(frame.depth.shape, bool)
            if masks[key].any():
                return source, key, frame, masks[key]
        raise ConfigError(f"50 pictures in a row are of no use for {key}; lower data.min_visible or data.absent")

    def _window(self, mask: np.ndarray, rng: np.random.Generator, *, zoom: float) -> Window:
        height, width = mask.shape
        size, change = self._network.input_px, self._settings.augment.scale if self._training else 0.0
        if rng.random() >= zoom:
            full = whole(height, width, size)
            side = full.side * (1 + rng.uniform(-change, change))
            move = rng.uniform(-0.5, 0.5, 2) * abs(full.side - side)
            return Window(full.x0 + (full.side - side) / 2 + move[0], full.y0 + (full.side - side) / 2 + move[1], side,
                          size)
        if mask.any():
            rows, columns = np.nonzero(mask)
            box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1))
        else:
            u, v, half = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.05, 0.2) * width
            box = (u - half, v - half, u + half, v + half)
        near = around(box, size, grow=rng.uniform(1.3, 3.5) if self._training else 2.0, least=size / 4)
        move = rng.uniform(-0.15, 0.15, 2) * near.side * self._training
        return Window(near.x0 + move[0], near.y0 + move[1], near.side, size)


def collate(samples: Sequence[Mapping[str, Tensor]], queries: int = 1) -> Batch:
    """One batch. queries: neighbouring samples that ask for the same object by the same views."""
    stacked = {name: torch.stack([s[name] for s in samples]) for name in samples[0]}
    return Batch(stacked["query"], stacked["views"][::queries], stacked["target"], stacked.get("text"))
