"""A function of one tensor as CUDA graphs: recorded once per shape, then replayed without any work of the host."""

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], tuple[Tensor, ...]]
_WARM = 3
_MOST = 8
"""Shapes that are remembered; others run without a graph."""


class Graphs:
    """Answers are copies, so that the next call may overwrite what a graph wrote."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._kept: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, tuple[Tensor, ...]]] = {}

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        if x.shape not in self._kept:
            if len(self._kept) >= _MOST:
                return self._function(x)
            self._kept[x.shape] = self._recorded(x)
        graph, given, answer = self._kept[x.shape]
        given.copy_(x)
        graph.replay()
        return tuple(part.clone() for part in answer)

    def _recorded(self, x: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, tuple[Tensor, ...]]:
        given = x.clone()
        # Libraries choose their kernels during the first calls, which must not be part of the recording.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM):
                self._function(given)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = self._function(given)
        return graph, given, answer
