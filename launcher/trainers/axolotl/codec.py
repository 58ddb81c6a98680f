"""Axolotl's config, setting by setting.

Defaults are those of Axolotl (utils/schemas) or, behind it, of transformers' TrainingArguments, as far as no release
has another one (releases.py).
"""

from __future__ import annotations

import re
from typing import Any

from launcher.trainers.axolotl.config import ATTENTION_FLAGS, AxolotlConfig
from launcher.trainers.axolotl.rules.kernels import ALL_KERNELS, KERNELS, compute_dtype
from launcher.trainers.codec import Codec, Entry, Keys, Planned
from launcher.trainers.readback import Reading, times_per_epoch

LIGER = "axolotl.integrations.liger.LigerPlugin"
LORA_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")
DEFAULT = "Axolotl's default"
IN_16_BIT = "lora keeps the base in 16 bit"


# --- settings that are more than one key ---


def config_of(reading: Reading) -> AxolotlConfig:
    assert isinstance(reading.config, AxolotlConfig)
    return reading.config


def method_keys(method: str) -> Keys:
    return {"adapter": method, "load_in_4bit": method == "qlora"}


def is_quantised(plan: Any) -> bool:
    return bool(plan.method == "qlora")


def read_quant_type(reading: Reading) -> None:
    _read_quantisation(reading, "quant_type", "bnb_config_kwargs.bnb_4bit_quant_type", "nf4", None)


def read_double_quant(reading: Reading) -> None:
    _read_quantisation(reading, "double_quant", "bnb_config_kwargs.bnb_4bit_use_double_quant", True, False)


def _read_quantisation(reading: Reading, setting: str, key: str, default: Any, in_16_bit: Any) -> None:
    """Of the 4-bit base: bnb_config_kwargs over Axolotl's own choice, NF4 with double quantisation."""
    if config_of(reading).adapter != "qlora":
        reading.put(setting, in_16_bit, None, IN_16_BIT)
        return
    reading.take(setting, key, default, DEFAULT)


def read_targets(reading: Reading) -> None:
    """The linear layers that get an adapter, by the last part of their name."""
    c, model = config_of(reading), reading.model
    targets = c.get("lora_target_modules")
    if c.get("lora_target_linear") or targets == "all-linear":
        switch = "lora_target_linear" if c.get("lora_target_linear") else "lora_target_modules"
        reading.put("lora_target_modules", model.linear_modules, switch)
    elif isinstance(targets, str):  # peft takes a string for a pattern of whole module names
        try:
            named = re.compile(targets)
        except re.error:
            named = re.compile(r".*")
        where = [f"model.layers.{layer}.{part}." for layer in range(model.num_layers) for part in ("self_attn", "mlp")]
        hit = tuple(name for name in model.linear_modules if any(named.fullmatch(start + name) for start in where))
        reading.put("lora_target_modules", hit or (targets,), "lora_target_modules")
    else:
        key = "lora_target_modules" if targets else None
        reading.put("lora_target_modules", tuple(targets or model.linear_modules), key, "every linear layer")


def chat_keys(plan: Planned) -> Keys:
    if not plan.conversational:
        return {}
    return {"chat_template": "jinja", "chat_template_jinja": "chat_template.jinja"}


def length_amended(length: int) -> Keys:
    """Rows that were tokenised for another length are not to be used again."""
    return {"sequence_len": length, "dataset_prepared_path": f"trainer/prepared-{length}"}


def packing_keys(packs: bool) -> Keys:
    return {"sample_packing": packs, **({"pad_to_sequence_len": True} if packs else {"pad_to_multiple_of": 8})}


def read_eval_batch(reading: Reading) -> None:
    reading.take("eval_batch_size", "eval_batch_size", reading.value("micro_batch_size"), "the micro_batch_size")


def read_warmup(reading: Reading) -> None:
    """Axolotl derives it from the number of steps where the file does not say."""
    c, steps = config_of(reading), reading.total_steps
    if not c.has("warmup_steps"):
        reading.take("warmup_ratio", "warmup_ratio", 0.03, f"{DEFAULT}: 3 % of the steps, 100 at most")
        return
    known = f" of {steps}" if steps else " of a number that is not known"
    share = min(c.get("warmup_steps") / steps, 1.0) if steps else 0.0
    reading.put("warmup_ratio", round(share, 6), "warmup_steps")
    reading.back.add("warmup_ratio", f"{c.get('warmup_steps')} steps{known}")


def read_logging(reading: Reading) -> None:
    steps = reading.total_steps
    logging = max(min(int(0.005 * steps), 10), 1) if steps else 1
    reading.take("logging_steps", "logging_steps", logging, f"{DEFAULT}: 0.5 % of the steps, 10 at most")


def read_eval_fraction(reading: Reading) -> None:
    c, rows = config_of(reading), reading.rows
    held_out = c.get("val_set_size", 0.0)
    if not held_out:
        reading.evaluation_file("test_datasets" if c.get("test_datasets") else None)
        return
    share = held_out if held_out <= 1 else held_out / rows.train if rows.train else 0.0
    reading.put("eval_fraction", min(float(share), 1.0), "val_set_size")


def evaluation_keys(plan: Planned) -> Keys:
    """As a share of all steps."""
    return {**({"eval_steps": plan.eval_interval} if plan.evaluates else {}), "save_steps": plan.eval_interval}


def read_evals(reading: Reading) -> None:
    """How often per epoch it evaluates; without an evaluation set, how often it saves."""
    c, per_epoch = config_of(reading), reading.steps_per_epoch
    times, steps = ("evals_per_epoch", "eval_steps") if c.has_eval_set else ("saves_per_epoch", "save_steps")
    interval = c.get(steps)
    if c.has(times):
        reading.put("evals_per_epoch", c.get(times), times)
    elif interval and interval < 1:
        reading.put("evals_per_epoch", times_per_epoch(interval * reading.epochs), steps)
    elif interval and per_epoch:
        reading.put("evals_per_epoch", max(1, round(per_epoch / interval)), steps)
    else:
        reading.put("evals_per_epoch", 1, steps if interval else None, DEFAULT)


def keep_keys(plan: Planned) -> Keys:
    by_loss = {"metric_for_best_model": "eval_loss", "greater_is_better": False} if plan.keeps_best else {}
    return {"load_best_model_at_end": plan.keeps_best, **by_loss}


def read_keep(reading: Reading) -> None:
    c = config_of(reading)
    best = next((key for key in ("load_best_model_at_end", "early_stopping_patience") if c.get(key)), None)
    key = best or ("load_best_model_at_end" if c.has("load_best_model_at_end") else None)
    reading.put("keep", "best" if best and c.has_eval_set else "last", key, DEFAULT)


def dtype_keys(dtype: str) -> Keys:
    return {"bf16": dtype == "bfloat16", "fp16": dtype == "float16"}


def read_dtype(reading: Reading) -> None:
    """Where it is said, and what Axolotl makes of it."""
    c, gpu = config_of(reading), reading.gpu
    key = next((key for key in ("bf16", "fp16", "bfloat16", "float16") if c.get(key)), None)
    key = key or next((key for key in ("bf16", "fp16") if c.has(key)), None)
    dtype = compute_dtype(c, gpu.kind == "cuda" and gpu.supports_bf16)
    reading.put("compute_dtype", dtype, key, f"{DEFAULT} on {gpu.title}")


def read_attention(reading: Reading) -> None:
    c = config_of(reading)
    flags = [flag for flag in ATTENTION_FLAGS if c.get(flag)]
    key = next((key for key in ("attn_implementation", *flags) if c.has(key)), None)
    reading.put("attn_implementation", c.attention or "sdpa", key, DEFAULT)


def checkpointing_keys(on: bool) -> Keys:
    return {"gradient_checkpointing": on, **({"gradient_checkpointing_kwargs": {"use_reentrant": False}} if on else {})}


def checkpointing_amended(on: bool) -> Keys:
    return {"gradient_checkpointing": on, "gradient_checkpointing_kwargs": {"use_reentrant": False} if on else None}


def offload_keys(on: bool) -> Keys:
    return {"activation_offloading": "hidden_states" if on else False}


def read_offload(reading: Reading) -> None:
    c = config_of(reading)
    on = c.get("activation_offloading") or c.get("gradient_checkpointing", False) in ("offload", "offload_disk")
    key = "activation_offloading" if c.has("activation_offloading") else "gradient_checkpointing"
    reading.put("activation_offload", bool(on), key if c.has(key) else None, DEFAULT)


def lora_kernel_keys(kernels: Any) -> Keys:
    """Of a repair: Liger stays as it is, for its keys depend on more than this."""
    return dict.fromkeys(LORA_KERNELS, "lora" in kernels)


def kernel_keys(kernels: Any) -> Keys:
    keys = {**lora_kernel_keys(kernels), "lora_embedding_kernel": False}
    if "liger" in kernels:
        keys |= {
            "plugins": [LIGER],
            "liger_rope": True,
            "liger_rms_norm": True,
            "liger_glu_activation": "lora" not in kernels,
            "liger_fused_linear_cross_entropy": True,
        }
    return keys


def read_kernels(reading: Reading) -> None:
    """The fused kernels that count in the memory: LoRA's, on unless told otherwise, and Liger's cross entropy."""
    c = config_of(reading)
    on = next((key for key in KERNELS if c.get(key)), None)
    said = next((key for key in ALL_KERNELS if c.get(key) is not None), None)
    by_default = said is None and not c.any_of("trust_remote_code", "nvfp4_merge_aware")
    liger = LIGER in c.get("plugins", ()) and bool(c.get("liger_fused_linear_cross_entropy"))
    kernels = (("lora",) if on or by_default else ()) + (("liger",) if liger else ())
    reading.put("kernels", kernels, on or said, DEFAULT)


# --- the table ---

CODEC = Codec(
    name="axolotl",
    config="an Axolotl config",
    default=DEFAULT,
    entries=(
        Entry("method", "adapter", "model", default=None, encode=method_keys),
        Entry(
            "quant_type", "bnb_config_kwargs.bnb_4bit_quant_type", "model", when=is_quantised, decode=read_quant_type
        ),
        Entry(
            "double_quant", "bnb_config_kwargs.bnb_4bit_use_double_quant", "model",
            when=is_quantised, decode=read_double_quant,
        ),
        Entry("lora_r", "lora_r", "adapter", default=8),
        Entry("lora_alpha", "lora_alpha", "adapter", default=8),
        Entry("lora_dropout", "lora_dropout", "adapter", default=0.0),
        Entry("lora_target_modules", "lora_target_modules", "adapter", decode=read_targets),
        Entry(
            "chat_template", "chat_template", "template",
            default="tokenizer", otherwise="the tokenizer's own", encode_plan=chat_keys, named=True,
        ),
        Entry("eval_fraction", None, "template", decode=read_eval_fraction, named=True),
        Entry("sequence_len", "sequence_len", "length", default=512, amend=length_amended),
        Entry("excess_length", "excess_length_strategy", "length", default="drop"),
        Entry("packing", "sample_packing", "packing", default=False, encode=packing_keys),
        Entry("micro_batch_size", "micro_batch_size", "batch", default=1),
        Entry("gradient_accumulation_steps", "gradient_accumulation_steps", "batch", default=1),
        Entry("eval_batch_size", "eval_batch_size", "batch", when=lambda plan: plan.evaluates, decode=read_eval_batch),
        Entry("num_epochs", "num_epochs", "schedule", default=1.0),
        Entry("max_steps", "max_steps", "schedule", default=None, when=lambda plan: bool(plan.max_steps)),
        Entry("learning_rate", "learning_rate", "schedule", default=5e-5, convert=float),
        Entry("lr_scheduler", "lr_scheduler", "schedule", default="cosine"),
        Entry("warmup_ratio", "warmup_ratio", "schedule", decode=read_warmup),
        Entry("optimizer", "optimizer", "schedule", default="adamw_torch_fused"),
        Entry("weight_decay", "weight_decay", "schedule", default=0.0),
        Entry("max_grad_norm", "max_grad_norm", "schedule", default=1.0),
        Entry("seed", "seed", "schedule", default=42),
        Entry("evals_per_epoch", "eval_steps", "evaluation", encode_plan=evaluation_keys, decode=read_evals),
        Entry("keep", "load_best_model_at_end", "evaluation", encode_plan=keep_keys, decode=read_keep),
        Entry("logging_steps", "logging_steps", "evaluation", decode=read_logging),
        Entry("compute_dtype", "bf16", "hardware", encode=dtype_keys, decode=read_dtype),
        Entry("attn_implementation", "attn_implementation", "kernels", decode=read_attention),
        Entry(
            "gradient_checkpointing", "gradient_checkpointing", "kernels",
            default=False, convert=bool, encode=checkpointing_keys, amend=checkpointing_amended,
        ),
        Entry("activation_offload", "activation_offloading", "kernels", decode=read_offload, until=(0, 17)),
        Entry(
            "activation_offload", "activation_offloading", "kernels",
            encode=offload_keys, decode=read_offload, since=(0, 18),
        ),
        Entry(
            "kernels", "lora_qkv_kernel", "kernels",
            encode=kernel_keys, amend=lora_kernel_keys, decode=read_kernels,
        ),
    ),
)  # fmt: skip
