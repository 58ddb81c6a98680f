"""Our Unsloth config: what its schema cannot say. Every key of it is read, so there are no dead keys but one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from launcher.rules.base import Config, Hit
from launcher.rules.base import rule as any_rule

rule = partial(any_rule, kinds=("unsloth",))


@rule("QL901", "error")
def quantisation_of_16_bit_base(c: Config) -> Iterator[Hit]:
    """`quant_type` or `double_quant` with `load_in_4bit: false`.

    Nothing is quantised, so nothing reads them.
    """
    if c.get("load_in_4bit") is False:
        for key in ("quant_type", "double_quant"):
            if c.has(key):
                yield c.key(key, f"{key} does nothing with load_in_4bit: false", "remove it, or load_in_4bit: true")


@rule("QL902", "warning")
def overflowing_family(c: Config) -> Iterator[Hit]:
    """`compute_dtype: float16` with a family whose activations overflow it.

    fp16 ends at 65504; these models pass it, and the gradients become NaN while the loss still looks finite.
    """
    if c.get("compute_dtype") == "float16" and c.fp16_overflow:
        message = f"{c.architecture.model_type} overflows float16: {c.fp16_overflow}"
        yield c.at("compute_dtype", message, "compute_dtype: bfloat16")


@rule("QL903", "error")
def dtype_without_hardware(c: Config) -> Iterator[Hit]:
    """A compute dtype that the card cannot do.

    bfloat16 needs compute capability 8.0; a CPU trains in float32.
    """
    dtype = c.get("compute_dtype")
    if c.card and dtype == "bfloat16" and not c.card.has_bf16:
        yield c.at("compute_dtype", f"{c.card.name} has no bfloat16", "compute_dtype: float16")
    if c.card and c.card.is_cpu and dtype == "float16":
        yield c.at("compute_dtype", "a CPU cannot train in float16", "compute_dtype: float32")


@rule("QL904", "error")
def padding_with_the_end(c: Config) -> Iterator[Hit]:
    """`pad_token` is the token that ends a turn or a text.

    The trainer masks padding by its token; the end goes with it, and the model never learns to stop.
    """
    for key in ("eos_token", "end_of_turn"):
        if c.has("pad_token") and c.get("pad_token") == c.get(key):
            yield c.at("pad_token", f"pad_token is {key}", "a token of its own")


@rule("QL905", "warning")
def end_of_turn_is_not_the_end(c: Config) -> Iterator[Hit]:
    """`end_of_turn` differs from `eos_token`.

    The turn's end is trained, and generation stops at the other token: a server runs on until its limit.
    """
    if c.has("end_of_turn") and c.has("eos_token") and c.get("end_of_turn") != c.get("eos_token"):
        yield c.at("eos_token", f"eos_token is not end_of_turn ({c.get('end_of_turn')})", "the same token for both")


@rule("QL906", "warning")
def few_rows_per_step(c: Config) -> Iterator[Hit]:
    """`micro_batch_size` × `gradient_accumulation_steps` below 4 without packing.

    Single rows make noisy gradients; the recipes here use 16 rows per step. Accumulation costs no memory.
    """
    rows = c.get("micro_batch_size", 1) * c.get("gradient_accumulation_steps", 1)
    if not c.get("packing") and rows < 4:
        message = f"{rows} {'row' if rows == 1 else 'rows'} per optimizer step"
        yield c.at("gradient_accumulation_steps", message, "gradient_accumulation_steps: 16")
