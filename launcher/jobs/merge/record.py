"""What training computed with: which modules were quantised, how, and the dtype that the base was loaded in.

It comes from what the trainer's callback recorded (``quantization.json``), or from a base that is stored quantised.
Only where there is neither does the rule of ``assume`` decide, and then it is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise

from launcher.errors import BadInput, Problem
from launcher.jobs.merge.tensors import FLOATS, TensorRef
from launcher.merge.names import BaseNames, is_expert, spellings
from launcher.records.merged import QuantizationFacts
from launcher.records.quantization import QuantizationRecord

FLOAT_NAMES = ("float16", "bfloat16", "float32")
KINDS = ("nf4", "fp4", "int8")


@dataclass(frozen=True)
class Quantization:
    """How the base was held in training.

    ``kind`` is nf4, fp4, int8, or None for a base in 16 or 32 bits; ``tensors`` are the names on disk of the weights
    that were quantised; ``load_dtype`` is what the base was loaded in, None for as stored; ``source`` says how it is
    known. ``stored_dtype`` is what a base that is stored in 4 bit was dequantised to, None for what its own state says:
    one trainer on a GPU puts its compute dtype in there, another leaves it.
    """

    kind: str | None
    double_quant: bool
    block_size: int
    load_dtype: str | None
    tensors: frozenset[str]
    source: str
    device: str | None = None
    compute_dtype: str | None = None
    bitsandbytes: str | None = None
    stored_dtype: str | None = None

    def facts(self) -> QuantizationFacts:
        """For the manifest: everything but the long list, whose length stands for it."""
        return QuantizationFacts(**{**asdict(self), "tensors": len(self.tensors)})


def from_record(record: QuantizationRecord, base: dict[str, TensorRef]) -> Quantization:
    """The quantisation that ``quantization.json`` describes.

    Raises BadInput when the record is of another version, incomplete, or names modules that the base does not have.
    """
    file = "quantization.json"
    if record.version != 1:
        raise BadInput(Problem(f"a record of version {record.version!r}: ql reads version 1", file))
    kind = record.quant_type
    problems = []
    if kind is not None and kind not in KINDS:
        problems.append(Problem(f"quant_type {kind!r} is none of {', '.join(KINDS)}", file))
    if record.load_dtype not in (*FLOAT_NAMES, None):
        problems.append(Problem(f"load_dtype {record.load_dtype!r} is none of {', '.join(FLOAT_NAMES)}", file))
    names = BaseNames(base)
    found = {module: names.find(f"{module}.weight") for module in record.quantized_modules}
    lost = [module for module, tensor in found.items() if tensor is None]
    if lost:
        message = f"{len(lost)} quantised modules of the record are not in this base, the first is {lost[0]!r}"
        problems.append(Problem(message, file, hint="is this the base that was trained on?"))
    if kind and not found:
        problems.append(Problem(f"the record says {kind} and names no quantised module", file))
    if problems:
        raise BadInput(problems)
    return Quantization(
        kind,
        record.double_quant,
        record.block_size or 64,
        record.load_dtype,
        frozenset(tensor for tensor in found.values() if tensor),
        "recorded by the training run",
        record.device,
        record.compute_dtype,
        record.bitsandbytes,
        record.load_dtype if kind in ("nf4", "fp4") else None,
    )


def assume(
    quantized: str, config: Mapping[str, object], base: dict[str, TensorRef], adapter_modules: list[str]
) -> Quantization:
    """The rule for a bare adapter. ``quantized`` is auto, nf4, int8 or none; auto means nf4.

    peft does not record how the base was held. The rule: the base was loaded in the dtype that its config.json names;
    with nf4, every matrix of its numbered layers was quantised in blocks of 64 with double quantisation, QLoRA's recipe
    and the default of both trainers here, except what transformers 5 keeps outside ``nn.Linear``: routers and fused
    experts. Experts count as quantised when the adapter names them one by one, as transformers 4 did.
    """
    kind = {"auto": "nf4", "nf4": "nf4", "int8": "int8", "none": None}[quantized]
    load_dtype = config.get("dtype") or config.get("torch_dtype")
    load_dtype = load_dtype if load_dtype in FLOAT_NAMES else None
    unfused = any(is_expert(f"{spelling}.weight") for module in adapter_modules for spelling in spellings(module))
    tensors = frozenset(name for name, ref in base.items() if kind and is_linear(name, ref, base, unfused))
    how = "assumed" if quantized == "auto" else f"asked for ({quantized})"
    what = f"{kind}, double quantisation, block 64" if kind == "nf4" else kind or "not quantised"
    dtype = load_dtype or "the stored dtype"
    source = f"{how}: {what}, {len(tensors)} matrices, base loaded in {dtype}; the adapter has no record of it"
    return Quantization(kind, kind == "nf4", 64, load_dtype, tensors, source)


def is_linear(name: str, ref: TensorRef, base: dict[str, TensorRef], unfused_experts: bool) -> bool:
    """Whether ``name`` is the weight of an ``nn.Linear`` inside a numbered layer, going by its name and shape."""
    parts = name.split(".")
    numbered = any(part in ("layers", "h", "blocks") and after.isdigit() for part, after in pairwise(parts))
    if not numbered or parts[-1] != "weight" or len(ref.shape) != 2 or ref.dtype not in FLOATS:
        return False
    if is_expert(name):
        return unfused_experts
    moe = any(is_expert(other) and other.startswith(name.rsplit(".", 2)[0] + ".experts.") for other in base)
    router = parts[-2] in ("gate", "router") and moe
    return not router and "norm" not in parts[-2] and "embed" not in parts[-2]
