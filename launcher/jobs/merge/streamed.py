"""Run a transformers model whose weights are fetched when a layer needs them and dropped when it is done.

So a model is run that fits neither GPU nor host: one decoder layer of it is there at a time. Masks, positions and
everything else about the family stay with transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

Load = Callable[[str], torch.Tensor]


def empty_model(config: Any) -> Any:
    """The model of ``config`` in evaluation mode, float32, its parameters without storage and its buffers real."""
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    with init_empty_weights(include_buffers=False):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model.eval()


def units(module: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What comes and goes together: each member of a list of layers, and every other module with weights of its own."""
    if isinstance(module, torch.nn.ModuleList):
        for index, child in module.named_children():
            yield f"{name}.{index}".lstrip("."), child
        return
    if any(True for _ in module.parameters(recurse=False)):
        yield name, module
        return
    for child_name, child in module.named_children():
        yield from units(child, f"{name}.{child_name}".lstrip("."))


def stream(model: Any, load: Load, on_unit: Callable[[str], None]) -> list[Any]:
    """Make ``model`` fetch its weights through ``load(parameter name)``; returns the hooks, to be removed after use."""
    handles = []
    for name, unit in units(model):
        handles.append(unit.register_forward_pre_hook(_fetch(name, load, on_unit), with_kwargs=True))
        handles.append(unit.register_forward_hook(_drop))
    return handles


def _fetch(name: str, load: Load, on_unit: Callable[[str], None]) -> Callable[..., None]:
    def hook(unit: Any, _args: Any, _kwargs: Any) -> None:
        on_unit(name)
        for parameter_name, _ in list(unit.named_parameters()):
            owner_name, _, leaf = parameter_name.rpartition(".")
            tensor = load(f"{name}.{parameter_name}")
            unit.get_submodule(owner_name)._parameters[leaf] = torch.nn.Parameter(tensor, requires_grad=False)

    return hook


def _drop(unit: Any, _args: Any, _output: Any) -> None:
    for module in unit.modules():
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[leaf] = torch.nn.Parameter(parameter.to("meta"), requires_grad=False)


def add_low_rank(module: Any, a: torch.Tensor, b: torch.Tensor, scale: float, magnitude: torch.Tensor | None) -> Any:
    """Let an ``nn.Linear`` add its adapter's output, unmerged; with DoRA also rescale its rows. Returns the hook.

    DoRA (https://arxiv.org/abs/2402.09353): row i of the weight is scaled by magnitude_i / norm of row i of W + s·BA.
    """

    def hook(linear: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        update = torch.nn.functional.linear(torch.nn.functional.linear(args[0], a), b) * scale
        if magnitude is None:
            return output + update
        norm = torch.linalg.vector_norm(linear.weight + scale * (b @ a), dim=1)
        bias = 0.0 if linear.bias is None else linear.bias
        return (magnitude / norm) * (output - bias + update) + bias

    return module.register_forward_hook(hook)


def add_embedding_low_rank(module: Any, a: torch.Tensor, b: torch.Tensor, scale: float) -> Any:
    """The same for an ``nn.Embedding``, whose update is ``scale * b[token] @ a`` (Gemma scales its embeddings)."""

    def hook(embedding: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        factor = getattr(embedding, "embed_scale", 1.0)
        return output + torch.nn.functional.embedding(args[0], b) @ a * (scale * factor)

    return module.register_forward_hook(hook)
