"""CUDA graphs of a model's layers: a micro-batch of short rows is started by two calls, not by thousands.

An experiment, used by probe.py alone. The forward and the backward of all layers are recorded once for each shape of
micro-batch and replayed from then on: the same kernels on the same weights in the same order.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import nn

SEEN = 2  # times that a shape must have come before it is recorded
MOST = 6  # shapes that are recorded


class Stack(nn.Module):  # type: ignore[misc]  # Any where mypy does not read torch
    """All layers as one callable of tensors: (hidden states, mask or nothing, cos, sin) to hidden states."""

    def __init__(self, layers: list[Any], masked: bool, arguments: dict[str, Any]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.forwards = [type(layer).forward.__get__(layer) for layer in layers]
        self.masked = masked
        self.arguments = arguments

    def forward(self, hidden: Any, *rest: Any) -> Any:
        mask = rest[0] if self.masked else None
        for forward in self.forwards:
            hidden = forward(
                hidden, attention_mask=mask, position_embeddings=rest[-2:], position_ids=None, past_key_values=None,
                use_cache=False, **self.arguments,
            )  # fmt: skip
        return hidden


class GraphedLayers:
    """Replaces the layers' forward of a model in training; a call that it does not know runs as before."""

    def __init__(self, model: Any) -> None:
        self.layers = list(sorted((list(m) for m in model.modules() if isinstance(m, nn.ModuleList)), key=len)[-1])
        self.seen: Counter[Any] = Counter()
        self.graphs: dict[Any, Any] = {}
        self.failed: dict[Any, str] = {}
        self.pool: Any = None
        self.done = False
        self.replays = 0

    def attach(self) -> None:
        """The first layer replays the graph of all; the others then hand on what they get."""
        for index, layer in enumerate(self.layers):
            layer.forward = self._forward_of(index, layer.forward)
            for parameter in layer.parameters():
                if parameter.requires_grad:  # a replay writes gradients where the one before wrote them
                    parameter.register_hook(lambda grad: grad.clone())

    def report(self) -> dict[str, Any]:
        return {"graphs": len(self.graphs), "replays": self.replays, "failed": list(self.failed.values())}

    def _forward_of(self, index: int, original: Any) -> Any:
        def forward(hidden: Any, *args: Any, **kwargs: Any) -> Any:
            if index == 0:
                self.done = False
                graph = None if args else self._graph(hidden, kwargs)
                if graph is not None:
                    self.done = True
                    self.replays += 1
                    return graph(hidden, *_tensors(kwargs))
            elif self.done:
                return hidden
            return original(hidden, *args, **kwargs)

        return forward

    def _graph(self, hidden: Any, kwargs: dict[str, Any]) -> Any:
        if not (torch.is_grad_enabled() and self.layers[0].training and hidden.is_cuda):
            return None
        tensors = _tensors(kwargs)
        key = (hidden.shape, hidden.dtype, hidden.requires_grad, tuple((t.shape, t.dtype) for t in tensors))
        if key in self.graphs:
            return self.graphs[key]
        self.seen[key] += 1
        if key in self.failed or self.seen[key] < SEEN or len(self.graphs) >= MOST:
            return None
        try:
            self.graphs[key] = self._record(hidden, tensors, kwargs)
        except Exception as error:  # an experiment: what cannot be recorded runs as before, and is counted
            self.failed[key] = f"{type(error).__name__}: {error}"[:300]
            return None
        return self.graphs[key]

    def _record(self, hidden: Any, tensors: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        used = {"attention_mask", "position_embeddings", "position_ids", "past_key_values", "use_cache"}
        rest = {name: value for name, value in kwargs.items() if name not in used and not torch.is_tensor(value)}
        stack = Stack(self.layers, kwargs.get("attention_mask") is not None, rest)
        stack.train()
        if self.pool is None:
            self.pool = torch.cuda.graph_pool_handle()
        sample = (hidden.detach().clone().requires_grad_(hidden.requires_grad), *(t.detach().clone() for t in tensors))
        enabled, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
        with torch.autocast("cuda", dtype=dtype, enabled=enabled, cache_enabled=False):
            return torch.cuda.make_graphed_callables(stack, sample, allow_unused_input=True, pool=self.pool)


def _tensors(kwargs: dict[str, Any]) -> tuple[Any, ...]:
    mask = kwargs.get("attention_mask")
    return (*(() if mask is None else (mask,)), *kwargs["position_embeddings"])
