"""Every key is the setting's own name, but for four."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from launcher.trainers.codec import Codec, Entry
from launcher.trainers.readback import Reading, times_per_epoch

SAME = {
    "model": ("quant_type", "double_quant", "compute_dtype"),
    "adapter": ("lora_r", "lora_alpha", "lora_dropout"),
    "data": ("sequence_len", "excess_length"),
    "batch": ("micro_batch_size", "gradient_accumulation_steps", "eval_batch_size"),
    "schedule": (
        "num_epochs", "max_steps", "learning_rate", "lr_scheduler", "warmup_ratio", "optimizer", "weight_decay",
        "max_grad_norm", "seed",
    ),
    "rest": ("logging_steps", "gradient_checkpointing"),
}  # fmt: skip


def constant(setting: str, value: Any) -> Entry:
    def decode(reading: Reading) -> None:
        reading.put(setting, value, None, "the only way of this trainer")

    return Entry(setting, None, "none", decode=decode)


def quantised(setting: str, otherwise: Any) -> Callable[[Reading], None]:
    def decode(reading: Reading) -> None:
        in_4_bit = reading.value("method") == "qlora"
        value = reading.config.get(setting) if in_4_bit else otherwise
        reading.put(setting, value, setting if in_4_bit else None, "lora")

    return decode


def read_method(reading: Reading) -> None:
    reading.put("method", "qlora" if reading.config.get("load_in_4bit") else "lora", "load_in_4bit")


def read_template(reading: Reading) -> None:
    reading.put("chat_template", reading.config.get("chat_template") or "none", "chat_template")


def read_eval_fraction(reading: Reading) -> None:
    reading.evaluation_file("eval_file" if reading.config.has("eval_file") else None)


def read_evals(reading: Reading) -> None:
    share = reading.config.get("eval_interval") * reading.epochs
    reading.put("evals_per_epoch", times_per_epoch(share), "eval_interval")


def same(setting: str, section: str) -> Entry:
    if setting in ("quant_type", "double_quant"):
        decode = quantised(setting, False if setting == "double_quant" else None)
        return Entry(setting, setting, section, when=lambda plan: bool(plan.method == "qlora"), decode=decode)
    return Entry(setting, setting, section)


CODEC = Codec(
    name="plain",
    config="a config of the plain trainer",
    default="train.py's default",
    entries=(
        Entry("method", "load_in_4bit", "model", encode=lambda m: {"load_in_4bit": m == "qlora"}, decode=read_method),
        *(same(setting, section) for section, settings in SAME.items() for setting in settings),
        Entry("lora_target_modules", "lora_target_modules", "adapter", convert=tuple),
        Entry("eval_fraction", None, "none", decode=read_eval_fraction, named=True),
        Entry(
            "chat_template", "chat_template", "none", named=True, decode=read_template,
            encode_plan=lambda plan: {"chat_template": "chat_template.jinja" if plan.conversational else None},
        ),
        Entry(
            "evals_per_epoch", "eval_interval", "rest", decode=read_evals,
            encode_plan=lambda plan: {"eval_interval": plan.eval_interval},
        ),
        Entry("keep", "keep", "rest", encode_plan=lambda plan: {"keep": "best" if plan.keeps_best else "last"}),
        constant("packing", False),
        constant("activation_offload", False),
        constant("attn_implementation", "sdpa"),
        constant("kernels", ()),
    ),
)  # fmt: skip
