"""Axolotl's LoRA kernels, and what attention and numbers need of a card."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.catalog.capability import FLASH_ATTENTION_2, PACKED_SDPA_IN_BFLOAT16, TENSOR_FLOAT_32
from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import LORA_KERNELS, AxolotlConfig, rule

KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")
ALL_KERNELS = LORA_KERNELS
# Their backward passes add to a gradient in place what they multiply with the dequantised weights; lora_o_kernel's does
# not (axolotl 0.19, kernels/lora.py).
MIXING_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel")


@rule("QL501", "error", upstream="LoRAValidationMixin.check_lora_kernels_8bit")
def kernels_in_8bit(c: AxolotlConfig) -> Iterator[Hit]:
    """LoRA kernels on an 8-bit base.

    They read 4-bit and 16-bit weights only; Axolotl refuses 8-bit ones.
    """
    for key in c.any_of(*KERNELS) if c.adapter == "lora" and c.get("load_in_8bit") else ():
        yield c.key(key, f"{key} cannot read an 8-bit base", f"{key}: false")


@rule("QL502", "error", upstream="LoRAValidationMixin.check_lora_kernels_trust_remote_code")
def kernels_with_remote_code(c: AxolotlConfig) -> Iterator[Hit]:
    """LoRA kernels with `trust_remote_code`.

    They replace modules that Axolotl knows; it refuses code that it does not.
    """
    for key in c.any_of(*KERNELS) if c.get("trust_remote_code") else ():
        yield c.key(key, f"{key} cannot be used with trust_remote_code", f"{key}: false")


@rule("QL503", "warning")
def kernels_with_dropout(c: AxolotlConfig) -> Iterator[Hit]:
    """LoRA kernels with `lora_dropout`.

    The kernels have no fast path for dropout: set it to 0, or switch the kernels off knowingly.
    """
    if c.is_lora and c.get("lora_dropout") and c.any_of(*KERNELS):
        yield c.at("lora_dropout", "the LoRA kernels want lora_dropout: 0", "lora_dropout: 0")


@rule("QL504", "note", upstream="AxolotlConfigWCapabilities.check_auto_enable_lora_kernels")
def kernels_by_default(c: AxolotlConfig) -> Iterator[Hit]:
    """The LoRA kernels are not mentioned.

    Axolotl switches all four on by itself. They need CUDA: on a CPU the run dies in its first step.
    """
    if not c.is_lora or any(c.get(key) is not None for key in ALL_KERNELS) or c.any_of("rl", "trust_remote_code"):
        return
    if not (c.adapter == "lora" and c.get("load_in_8bit")):
        yield c.at("adapter", "Axolotl switches its LoRA kernels on by itself", "lora_mlp_kernel: true, or false")


@rule("QL505", "error")
def kernels_on_cpu(c: AxolotlConfig) -> Iterator[Hit]:
    """LoRA kernels in a config for a CPU.

    They call CUDA directly and stop the run in its first step; unset means on.
    """
    if c.card and c.card.is_cpu and c.is_lora:
        for key in ALL_KERNELS:
            if c.get(key) is not False:
                path = (key,) if c.has(key) else ("adapter",)
                yield c.key(path, f"{key} needs CUDA", f"{key}: false")


@rule("QL506", "error", upstream="AxolotlConfigWCapabilities.check_bf16")
def bf16_without_hardware(c: AxolotlConfig) -> Iterator[Hit]:
    """`bf16: true` for a card without bfloat16.

    Compute capability 8.0 is the first with it; training fails on a T4 or V100.
    """
    if c.card and not c.card.has_bf16:
        for key in ("bf16", "bfloat16"):
            if c.get(key) is True:
                yield c.at(key, f"{c.card.name} has no bfloat16", "fp16: true")


@rule("QL507", "error")
def tf32_without_hardware(c: AxolotlConfig) -> Iterator[Hit]:
    """`tf32: true` for a card without TensorFloat-32.

    It needs compute capability 8.0; transformers refuses it elsewhere, a CPU included.
    """
    if c.card and c.get("tf32") is True and c.card.compute_capability < TENSOR_FLOAT_32:
        yield c.at("tf32", f"{c.card.name} has no TensorFloat-32", "tf32: auto")


@rule("QL508", "error", upstream="AxolotlConfigWCapabilities.check_fp8")
def fp8_without_hardware(c: AxolotlConfig) -> Iterator[Hit]:
    """`fp8: true` for a card before Hopper.

    Axolotl refuses it below compute capability 9.0.
    """
    if c.card and c.get("fp8") and c.card.compute_capability < 9.0:
        yield c.at("fp8", f"{c.card.name} cannot train in FP8", "bf16: true")


@rule(
    "QL509",
    "error",
    upstream=(
        "AxolotlConfigWCapabilities.check_compute_capability_w_sageattn",
        "AxolotlConfigWCapabilities.check_fp8_attention_preflight",
        "SystemValidationMixin.check_flash_attn_available",
    ),
)
def attention_without_hardware(c: AxolotlConfig) -> Iterator[Hit]:
    """An attention kernel that the card cannot run.

    FlashAttention 2 needs compute capability 8.0, FlashAttention 3 and FP8 attention 9.0, Sage one of 8.0, 8.6, 8.9,
    9.0 and 12.0.
    """
    if not c.card or not c.attention:
        return
    capability = 0.0 if c.card.is_cpu else c.card.compute_capability
    needed = {"flash_attention_2": FLASH_ATTENTION_2, "flash_attention_3": 9.0, "flash_attention_4": 9.0, "fp8": 9.0}
    fits = (
        capability in (8.0, 8.6, 8.9, 9.0, 12.0) if c.attention == "sage" else capability >= needed.get(c.attention, 0)
    )
    if not fits:
        path = ("attn_implementation",) if c.has("attn_implementation") else ()
        yield c.at(path, f"{c.card.name} cannot run {c.attention}", "attn_implementation: sdpa")


@rule("QL510", "warning", upstream="AxolotlConfigWCapabilities.check_sample_packing_w_sdpa_bf16")
def packed_sdpa_in_bf16(c: AxolotlConfig) -> Iterator[Hit]:
    """Packing with `sdpa` in bf16 on a card before Hopper.

    Axolotl warns that the loss may become 0 there.
    """
    card_is_old = c.card is not None and not c.card.is_cpu and c.card.compute_capability < PACKED_SDPA_IN_BFLOAT16
    if c.get("sample_packing") and c.attention == "sdpa" and card_is_old:
        for key in ("bf16", "bfloat16"):
            if c.get(key) in (True, "auto"):
                hint = "attn_implementation: flash_attention_2, or sample_packing: false"
                yield c.at(key, f"packed sdpa in bf16 on {c.card.name if c.card else 'it'}", hint)


@rule("QL511", "error")
def flash_attention_in_fp32(c: AxolotlConfig) -> Iterator[Hit]:
    """FlashAttention with `bf16: false` and no `fp16`.

    Its kernels take 16-bit numbers only; the run stops at the first batch.
    """
    flash = c.attention in ("flash_attention_2", "flash_attention_3")
    if flash and c.get("bf16") is False and not c.any_of("fp16", "float16", "bfloat16", "fp8"):
        yield c.at("bf16", f"{c.attention} cannot compute in fp32", "fp16: true, or attn_implementation: sdpa")


@rule("QL512", "error")
def kernels_on_a_stored_base(c: AxolotlConfig) -> Iterator[Hit]:
    """LoRA kernels on a base that is stored in 4 bit from another dtype than the run computes in.

    The stored weights dequantise to the dtype they were quantised from, and the kernels' backward pass mixes the two:
    "self and mat2 must have the same dtype" in the first step. Unset means on. It is seen where `base_model` is a
    folder, and where the config says the dtype itself. A base in 16 bit, quantised while it loads, trains with them.
    """
    has_bf16 = None if c.card is None else c.card.has_bf16 and not c.card.is_cpu
    stored, computed = c.architecture.stored_dtype, compute_dtype(c, has_bf16)
    if not c.is_lora or computed is None or stored in (None, computed):
        return
    unset = not any(c.get(key) is not None for key in ALL_KERNELS) and not c.any_of("rl", "trust_remote_code")
    for key in MIXING_KERNELS:
        if c.get(key) or unset:
            message = f"{key} fails in {computed} on this base, which is stored in {c.architecture.stored_in}"
            yield c.key((key,) if c.has(key) else ("adapter",), message, f"{key}: false, or the base in 16 bit")


def compute_dtype(c: AxolotlConfig, has_bf16: bool | None) -> str | None:
    """The dtype that Axolotl computes in, as its resolve_dtype finds it: bf16 wins, and "auto" (the default) asks the
    card. None where that decides and no card is known.
    """
    bf16, fp16 = c.get("bf16", "auto"), c.get("fp16")
    if bf16 == "auto":
        if fp16:
            bf16 = False
        elif has_bf16 is None:
            return None
        else:
            bf16, fp16 = has_bf16, fp16 is None and not has_bf16 and not c.get("float16")
    if bf16 or c.get("bfloat16"):
        return "bfloat16"
    return "float16" if fp16 or c.get("float16") else "float32"
