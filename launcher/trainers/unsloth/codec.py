"""The Unsloth config, setting by setting. The schema is ours, so nearly every key is the setting's own name.

train.py has no defaults: every key is in the file.
"""

from __future__ import annotations

from typing import Any

from launcher.trainers.codec import Codec, Entry, Keys, Planned
from launcher.trainers.readback import Reading, times_per_epoch


def read_method(reading: Reading) -> None:
    reading.put("method", "qlora" if reading.config.get("load_in_4bit") else "lora", "load_in_4bit")


def is_quantised(plan: Any) -> bool:
    return bool(plan.method == "qlora")


def read_quant_type(reading: Reading) -> None:
    quantised = reading.value("method") == "qlora"
    value = reading.config.get("quant_type") if quantised else None
    reading.put("quant_type", value, "quant_type" if quantised else None, "lora")


def read_double_quant(reading: Reading) -> None:
    quantised = reading.value("method") == "qlora"
    value = quantised and reading.config.get("double_quant")
    reading.put("double_quant", value, "double_quant" if quantised else None, "lora")


def chat_keys(plan: Planned) -> Keys:
    return {"chat_template": "chat_template.jinja" if plan.conversational else None}


def read_template(reading: Reading) -> None:
    reading.put("chat_template", reading.config.get("chat_template") or "none", "chat_template")


def read_eval_fraction(reading: Reading) -> None:
    reading.evaluation_file("eval_file" if reading.config.has("eval_file") else None)


def read_evals(reading: Reading) -> None:
    share = reading.config.get("eval_interval", 0.25) * reading.epochs
    reading.put("evals_per_epoch", times_per_epoch(share), "eval_interval")


def read_attention(reading: Reading) -> None:
    reading.put("attn_implementation", "sdpa", None, "Unsloth chooses its own attention")


def read_kernels(reading: Reading) -> None:
    reading.put("kernels", (), None, "Unsloth's own kernels are always on")


def plain(setting: str, section: str, **more: Any) -> Entry:
    return Entry(setting, setting, section, **more)


CODEC = Codec(
    name="unsloth",
    config="an Unsloth config",
    default="train.py's default",
    entries=(
        Entry(
            "method", "load_in_4bit", "model",
            encode=lambda method: {"load_in_4bit": method == "qlora"}, decode=read_method,
        ),
        plain("quant_type", "model", when=is_quantised, decode=read_quant_type),
        plain("double_quant", "model", when=is_quantised, decode=read_double_quant),
        plain("compute_dtype", "model"),
        plain("lora_r", "adapter"),
        plain("lora_alpha", "adapter"),
        plain("lora_dropout", "adapter"),
        plain("lora_target_modules", "adapter", convert=tuple),
        Entry("eval_fraction", None, "data", decode=read_eval_fraction, named=True),
        plain("chat_template", "data", encode_plan=chat_keys, decode=read_template, named=True),
        plain("sequence_len", "length"),
        plain("excess_length", "length"),
        plain("packing", "length"),
        plain("micro_batch_size", "batch"),
        plain("gradient_accumulation_steps", "batch"),
        plain("eval_batch_size", "batch"),
        plain("num_epochs", "epochs"),
        plain("max_steps", "epochs"),
        plain("learning_rate", "schedule"),
        plain("lr_scheduler", "schedule"),
        plain("warmup_ratio", "schedule"),
        plain("optimizer", "schedule"),
        plain("weight_decay", "schedule"),
        plain("max_grad_norm", "schedule"),
        plain("seed", "schedule"),
        Entry(
            "evals_per_epoch", "eval_interval", "evaluation",
            encode_plan=lambda plan: {"eval_interval": plan.eval_interval}, decode=read_evals,
        ),
        plain("keep", "evaluation", encode_plan=lambda plan: {"keep": "best" if plan.keeps_best else "last"}),
        plain("logging_steps", "evaluation"),
        plain("gradient_checkpointing", "hardware"),
        plain("activation_offload", "hardware"),
        Entry("attn_implementation", None, "hardware", decode=read_attention),
        Entry("kernels", None, "hardware", decode=read_kernels),
    ),
)  # fmt: skip
