"""How each weight of a base is read: as it is stored, or as training rounded it."""

from __future__ import annotations

import re

import torch

from launcher.errors import BadInput, Problem
from launcher.jobs.merge.record import Quantization
from launcher.jobs.merge.sources import EightBit, FourBit, Plain, Source, StoredEightBit, StoredFourBit
from launcher.jobs.merge.tensors import FLOATS, TensorRef

STATE = re.compile(
    r"(?P<weight>.+\.weight)\.(?P<part>absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+)$"
)


def base_sources(
    base: dict[str, TensorRef], quantization: Quantization, original: bool
) -> tuple[dict[str, Source], list[Problem]]:
    """How each weight of the base is read. With ``original`` nothing is rounded to what training computed with."""
    states: dict[str, dict[str, TensorRef]] = {}
    for name, ref in base.items():
        match = STATE.fullmatch(name)
        if match:
            states.setdefault(match["weight"], {})[match["part"]] = ref
    sources = {
        name: _source(name, base, states.get(name), quantization, original)
        for name in base
        if not STATE.fullmatch(name) and not name.endswith((".SCB", ".weight_format"))
    }
    empty = [ref for ref in base.values() if ref.elements == 0]
    if empty:
        hint = "saved under ZeRO-3 without being gathered: zero_to_fp32.py makes whole weights of the checkpoint"
        message = f"{len(empty)} of its tensors are empty, the first is {empty[0].name!r}"
        raise BadInput(Problem(message, str(empty[0].path), hint=hint))
    problems = [
        Problem(f"tensor {name!r} is stored in 8-bit floats, which ql cannot merge", str(source.ref.path))
        for name, source in sources.items()
        if isinstance(source, Plain) and source.ref.dtype.is_floating_point and source.ref.dtype not in FLOATS
    ]
    return sources, problems


def _source(
    name: str,
    base: dict[str, TensorRef],
    state: dict[str, TensorRef] | None,
    quantization: Quantization,
    original: bool,
) -> Source:
    """How one tensor is read; ``state`` is what bitsandbytes stored beside a weight in 4 bit."""
    ref = base[name]
    if state is not None:
        return StoredFourBit(ref, state, None if original else quantization.stored_dtype)
    scales = base.get(name.removesuffix("weight") + "SCB") if name.endswith(".weight") else None
    if scales is not None:
        return StoredEightBit(ref, scales)
    if original or ref.dtype not in FLOATS:
        return Plain(ref, None)
    load_dtype = getattr(torch, quantization.load_dtype) if quantization.load_dtype else None
    if not quantization.kind or name not in quantization.tensors:
        return Plain(ref, load_dtype)
    if quantization.kind == "int8":
        return EightBit(ref)
    return FourBit(ref, load_dtype or ref.dtype, quantization.kind, quantization.block_size, quantization.double_quant)
