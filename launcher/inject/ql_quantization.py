"""What was quantised in training, and how: read off the model's own modules, so that a merge can repeat it exactly.

And that it stays so while it trains.
"""

from __future__ import annotations

import sys
from typing import Any


def describe_quantization(model: Any, args: Any, versions: dict[str, str], trainer: str) -> dict[str, Any]:
    """The record of a model about to be trained (version 1 of quantization.json).

    ``load_dtype`` is the dtype the base's tensors had when they were quantised (without quantisation: have now).
    Module names are the base model's. Raises ValueError when modules were quantised in different ways, or in one that
    only the trainer knows: a record without them would have the merge take the base for one in 16 bit.
    """
    import torch

    packed = [base_name(name) for name, module in model.named_modules() if _is_packed(module)]
    if packed:
        raise ValueError(
            f"the trainer quantised {len(packed)} modules in a way that a merge cannot repeat, such as {packed[0]}"
        )
    bitsandbytes = sys.modules.get("bitsandbytes")
    quantized: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for name, module in model.named_modules():
        if bitsandbytes is not None and isinstance(module, (bitsandbytes.nn.Linear4bit, bitsandbytes.nn.Linear8bitLt)):
            quantized[base_name(name)] = module
        elif isinstance(module, torch.nn.Linear) and ".lora_" not in name:
            plain[base_name(name)] = module
    loaded = _name(next(iter(plain.values())).weight.dtype) if plain else None
    ways = {_way(module, loaded) for module in quantized.values()}
    if len(ways) > 1:
        raise ValueError(f"modules were quantised in {len(ways)} different ways: {sorted(map(str, ways))}")
    if ways:
        (way,) = ways
    else:
        computes = "float16" if args.fp16 else "bfloat16" if args.bf16 else "float32"
        way = (None, False, None, computes, loaded, None)
    quant_type, double_quant, block_size, compute_dtype, load_dtype, storage_dtype = way
    return {
        "version": 1,
        "backend": trainer,
        "method": "qlora" if quantized else "lora",
        "quant_type": quant_type,
        "double_quant": double_quant,
        "block_size": block_size,
        "compute_dtype": compute_dtype,
        "load_dtype": load_dtype,
        "storage_dtype": storage_dtype,
        "quantized_modules": sorted(quantized),
        "skipped_modules": sorted(plain),
        "device": next(model.parameters()).device.type,
        "bitsandbytes": versions.get("bitsandbytes"),
        "versions": versions,
    }


def keep_trainable(model: Any) -> int:
    """Keep bitsandbytes from repacking 4-bit weights on a CPU; returns how many modules were told so.

    On a CPU with AVX512-BF16 (Zen 4, Sapphire Rapids and newer) bitsandbytes 0.50 repacks a weight in the first
    evaluation, for a kernel that has no backward pass, and never unpacks it: from then on no gradient passes through
    the layer, and training goes on without a word. It also rounds the scales to bfloat16, which training did not.
    """
    switched = [module for module in model.modules() if hasattr(module, "support_avx512bf16_for_cpu")]
    for module in switched:
        module.support_avx512bf16_for_cpu = False
    return len(switched)


def base_name(name: str) -> str:
    """A module's name in the base model: without what peft puts before it and around it."""
    return name.removeprefix("base_model.model.").removesuffix(".base_layer")


def _is_packed(module: Any) -> bool:
    """Whether a parameter is stored as bytes, and a parametrization makes it anew each time it is used.

    So are 4-bit experts, and linear layers that another library than bitsandbytes quantised.
    """
    chains = getattr(module, "parametrizations", None) or {}
    stored = [original for chain in chains.values() for original in _originals(chain)]
    return any(not tensor.dtype.is_floating_point and not tensor.dtype.is_complex for tensor in stored)


def _originals(chain: Any) -> list[Any]:
    """What a parametrized parameter is made of: one tensor, or several."""
    if getattr(chain, "is_tensor", True):
        return [chain.original]
    return [getattr(chain, f"original{index}") for index in range(chain.ntensors)]


def _way(module: Any, loaded: str | None) -> tuple[Any, ...]:
    """Of one module; ``loaded`` is the dtype of the linears beside it, for an 8-bit one, which forgets its own."""
    state = getattr(module.weight, "quant_state", None)
    if state is None:  # LLM.int8() rounds to float16 first, whatever the base was loaded in, and computes in it
        return "int8", False, None, "float16", loaded, "int8"
    compute = module.compute_dtype or state.dtype
    return (
        state.quant_type,
        bool(state.nested),
        state.blocksize,
        _name(compute),
        _name(state.dtype),
        _name(module.weight.dtype),
    )


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
