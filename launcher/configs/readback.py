"""A config as a plan: what a hand-edited file says about each setting, and on which line. Nothing is decided here.

What the file does not say has the trainer's own default, not ql's: the run must be described as it will be trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from launcher.catalog import Gpu, Model
from launcher.configs.rules.kernels import ALL_KERNELS, KERNELS, compute_dtype
from launcher.rules.base import Config, KeyPath
from launcher.yaml_source import Positions

LIGER = "axolotl.integrations.liger.LigerPlugin"


@dataclass(frozen=True)
class Rows:
    """How many rows the config trains on and evaluates with; None where nobody counted them."""

    train: int | None = None
    evaluation: int | None = None


@dataclass
class ReadBack:
    """The settings of a plan as a config has them: ``values`` by setting, and where each stands in the file.

    ``places`` leaves out what the file does not say. ``reasons`` has a few words for each value.
    """

    file: str
    positions: Positions
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, KeyPath] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def put(self, setting: str, value: Any, path: KeyPath | None, otherwise: str) -> None:
        """Take ``value``, which stands at ``path``; or, where that is None, holds because of ``otherwise``."""
        self.values[setting] = value
        if path is None:
            self.reasons[setting] = otherwise
        else:
            self.places[setting] = path
            self.reasons[setting] = f"{self.file}:{self.positions.key(path).line}"

    def line(self, setting: str) -> int | None:
        path = self.places.get(setting)
        return None if path is None else self.positions.key(path).line

    def take(self, config: Config, setting: str, key: str, default: Any, otherwise: str) -> Any:
        """The setting is the value of one key."""
        given = config.data.get(key) is not None
        value = config.get(key, default)
        self.put(setting, value, (key,) if given else None, otherwise)
        return value


def read_back(config: Config, file: str, positions: Positions, gpu: Gpu, model: Model, rows: Rows) -> ReadBack:
    """Every setting of the plan that ``config``, which has no errors, is for that card and model."""
    found = ReadBack(file, positions)
    _READERS[config.kind](found, config, gpu, model, rows)
    micro, steps = found.values["micro_batch_size"], found.values["gradient_accumulation_steps"]
    place = found.places.get("gradient_accumulation_steps", found.places.get("micro_batch_size"))
    found.put("effective_batch_size", micro * steps, place, f"{steps} x {micro} rows")
    return found


# setting -> the key and the default of Axolotl 0.19 (utils/schemas) or, behind it, of transformers' TrainingArguments
_AXOLOTL: Mapping[str, tuple[str, Any]] = {
    "lora_r": ("lora_r", 8),
    "lora_alpha": ("lora_alpha", 8),
    "lora_dropout": ("lora_dropout", 0.0),
    "sequence_len": ("sequence_len", 512),
    "excess_length": ("excess_length_strategy", "drop"),
    "packing": ("sample_packing", False),
    "micro_batch_size": ("micro_batch_size", 1),
    "gradient_accumulation_steps": ("gradient_accumulation_steps", 1),
    "num_epochs": ("num_epochs", 1.0),
    "max_steps": ("max_steps", None),
    "learning_rate": ("learning_rate", 5e-5),
    "lr_scheduler": ("lr_scheduler", "cosine"),
    "weight_decay": ("weight_decay", 0.0),
    "max_grad_norm": ("max_grad_norm", 1.0),
    "optimizer": ("optimizer", "adamw_torch_fused"),
    "seed": ("seed", 42),
}
_DEFAULT = "Axolotl's default"


def _axolotl(found: ReadBack, c: Config, gpu: Gpu, model: Model, rows: Rows) -> None:
    found.put("backend", "axolotl", None, "an Axolotl config")
    found.take(c, "method", "adapter", None, _DEFAULT)
    for setting, (key, default) in _AXOLOTL.items():
        found.take(c, setting, key, default, _DEFAULT)
    found.values["learning_rate"] = float(found.values["learning_rate"])
    found.take(c, "eval_batch_size", "eval_batch_size", found.values["micro_batch_size"], "the micro_batch_size")
    _axolotl_dtype(found, c, gpu)
    _axolotl_quantisation(found, c)
    _axolotl_targets(found, c, model)
    _axolotl_steps(found, c, rows)
    _axolotl_evaluation(found, c, rows)
    attention = next((key for key in ("attn_implementation", *_attention_flags(c)) if c.has(key)), None)
    found.put("attn_implementation", c.attention or "sdpa", (attention,) if attention else None, _DEFAULT)
    checkpointing = c.get("gradient_checkpointing", False)
    found.take(c, "gradient_checkpointing", "gradient_checkpointing", False, _DEFAULT)
    found.values["gradient_checkpointing"] = bool(checkpointing)
    offload = c.get("activation_offloading") or checkpointing in ("offload", "offload_disk")
    key = "activation_offloading" if c.has("activation_offloading") else "gradient_checkpointing"
    found.put("activation_offload", bool(offload), (key,) if c.has(key) else None, _DEFAULT)
    _axolotl_kernels(found, c)
    found.take(c, "chat_template", "chat_template", "tokenizer", "the tokenizer's own")


def _attention_flags(c: Config) -> list[str]:
    from launcher.rules.base import ATTENTION_FLAGS

    return [flag for flag in ATTENTION_FLAGS if c.get(flag)]


def _axolotl_dtype(found: ReadBack, c: Config, gpu: Gpu) -> None:
    """Where it is said, and what Axolotl makes of it."""
    path = next(((key,) for key in ("bf16", "fp16", "bfloat16", "float16") if c.get(key)), None)
    path = path or next(((key,) for key in ("bf16", "fp16") if c.has(key)), None)
    found.put(
        "compute_dtype", compute_dtype(c, gpu.kind == "cuda" and gpu.supports_bf16), path, f"{_DEFAULT} on {gpu.title}"
    )


def _axolotl_quantisation(found: ReadBack, c: Config) -> None:
    """Of the 4-bit base: bnb_config_kwargs over Axolotl's own choice, NF4 with double quantisation."""
    options = c.mapping("bnb_config_kwargs")
    if c.adapter != "qlora":
        found.put("quant_type", None, None, "lora keeps the base in 16 bit")
        found.put("double_quant", False, None, "lora keeps the base in 16 bit")
        return
    for setting, key, default in (
        ("quant_type", "bnb_4bit_quant_type", "nf4"),
        ("double_quant", "bnb_4bit_use_double_quant", True),
    ):
        path = ("bnb_config_kwargs", key) if key in options else None
        found.put(setting, options.get(key, default), path, _DEFAULT)


def _axolotl_targets(found: ReadBack, c: Config, model: Model) -> None:
    """The linear layers that get an adapter, by the last part of their name."""
    import re

    targets = c.get("lora_target_modules")
    if c.get("lora_target_linear") or targets == "all-linear":
        key = "lora_target_linear" if c.get("lora_target_linear") else "lora_target_modules"
        found.put("lora_target_modules", model.linear_modules, (key,), _DEFAULT)
    elif isinstance(targets, str):  # peft takes a string for a pattern of whole module names
        try:
            named = re.compile(targets)
        except re.error:
            named = re.compile(r".*")
        where = [f"model.layers.{layer}.{part}." for layer in range(model.num_layers) for part in ("self_attn", "mlp")]
        hit = tuple(name for name in model.linear_modules if any(named.fullmatch(start + name) for start in where))
        found.put("lora_target_modules", hit or (targets,), ("lora_target_modules",), _DEFAULT)
    else:
        path = ("lora_target_modules",) if targets else None
        found.put("lora_target_modules", tuple(targets or model.linear_modules), path, "every linear layer")


def _axolotl_steps(found: ReadBack, c: Config, rows: Rows) -> None:
    """Warm-up and logging, which Axolotl derives from the number of steps where the file does not say."""
    steps = _total_steps(found, rows)
    if c.has("warmup_steps"):
        known = f" of {steps}" if steps else " of a number that is not known"
        share = min(c.get("warmup_steps") / steps, 1.0) if steps else 0.0
        found.put("warmup_ratio", round(share, 6), ("warmup_steps",), "")
        found.reasons["warmup_ratio"] += f": {c.get('warmup_steps')} steps{known}"
    else:
        found.take(c, "warmup_ratio", "warmup_ratio", 0.03, f"{_DEFAULT}: 3 % of the steps, 100 at most")
    logging = max(min(int(0.005 * steps), 10), 1) if steps else 1
    found.take(c, "logging_steps", "logging_steps", logging, f"{_DEFAULT}: 0.5 % of the steps, 10 at most")


def _steps_per_epoch(found: ReadBack, rows: Rows) -> int | None:
    if not rows.train:
        return None
    batch: int = found.values["micro_batch_size"] * found.values["gradient_accumulation_steps"]
    return math.ceil(rows.train / batch) if batch > 0 else None


def _total_steps(found: ReadBack, rows: Rows) -> int | None:
    per_epoch = _steps_per_epoch(found, rows)
    if found.values["max_steps"]:
        return int(found.values["max_steps"])
    if per_epoch is None:
        return None
    steps = per_epoch * float(found.values["num_epochs"])
    return math.ceil(steps) if 0 < steps < math.inf else None


def _axolotl_evaluation(found: ReadBack, c: Config, rows: Rows) -> None:
    held_out = c.get("val_set_size", 0.0)
    if held_out:
        share = held_out if held_out <= 1 else held_out / rows.train if rows.train else 0.0
        found.put("eval_fraction", min(float(share), 1.0), ("val_set_size",), "")
    else:
        _evaluation_file(found, ("test_datasets",) if c.get("test_datasets") else None, rows)
    _axolotl_cadence(found, c, rows)
    best = next((key for key in ("load_best_model_at_end", "early_stopping_patience") if c.get(key)), None)
    path = best or ("load_best_model_at_end" if c.has("load_best_model_at_end") else None)
    found.put("keep", "best" if best and c.has_eval_set else "last", (path,) if path else None, _DEFAULT)


def _axolotl_cadence(found: ReadBack, c: Config, rows: Rows) -> None:
    """How often per epoch it evaluates; without an evaluation set, how often it saves."""
    epochs = 1.0 if found.values["max_steps"] else float(found.values["num_epochs"])
    per_epoch = _steps_per_epoch(found, rows)
    times, steps = ("evals_per_epoch", "eval_steps") if c.has_eval_set else ("saves_per_epoch", "save_steps")
    interval = c.get(steps)
    if c.has(times):
        found.put("evals_per_epoch", c.get(times), (times,), "")
    elif interval and interval < 1:
        found.put("evals_per_epoch", _times(interval * epochs), (steps,), "")
    elif interval and per_epoch:
        found.put("evals_per_epoch", max(1, round(per_epoch / interval)), (steps,), "")
    else:
        found.put("evals_per_epoch", 1, (steps,) if interval else None, _DEFAULT)


def _times(share: float) -> int:
    """How often an epoch has an interval that is ``share`` of it; once for what is no interval, such as NaN."""
    return max(1, round(1 / share)) if 1e-9 < share < math.inf else 1


def _evaluation_file(found: ReadBack, path: KeyPath | None, rows: Rows) -> None:
    """The share of all rows that the evaluation file has."""
    if path is None:
        found.put("eval_fraction", 0.0, None, "no evaluation set")
        return
    share = rows.evaluation / (rows.evaluation + rows.train) if rows.evaluation and rows.train else 0.0
    found.put("eval_fraction", round(share, 6), path, "")
    if rows.evaluation is not None:
        found.reasons["eval_fraction"] += f": {rows.evaluation} rows"


def _axolotl_kernels(found: ReadBack, c: Config) -> None:
    """The fused kernels that count in the memory: LoRA's, on unless told otherwise, and Liger's cross entropy."""
    on = next((key for key in KERNELS if c.get(key)), None)
    said = next((key for key in ALL_KERNELS if c.get(key) is not None), None)
    by_default = said is None and not c.any_of("trust_remote_code", "nvfp4_merge_aware")
    liger = LIGER in c.get("plugins", ()) and bool(c.get("liger_fused_linear_cross_entropy"))
    kernels = (("lora",) if on or by_default else ()) + (("liger",) if liger else ())
    found.put("kernels", kernels, next(((key,) for key in (on, said) if key), None), _DEFAULT)


def _unsloth(found: ReadBack, c: Config, gpu: Gpu, model: Model, rows: Rows) -> None:
    """train.py has no defaults: every key is in the file."""
    found.put("backend", "unsloth", None, "an Unsloth config")
    quantised = bool(c.get("load_in_4bit"))
    found.put("method", "qlora" if quantised else "lora", ("load_in_4bit",), "")
    found.put("quant_type", c.get("quant_type") if quantised else None, ("quant_type",) if quantised else None, "lora")
    found.put("double_quant", quantised and c.get("double_quant"), ("double_quant",) if quantised else None, "lora")
    for setting in (
        "compute_dtype", "lora_r", "lora_alpha", "lora_dropout", "sequence_len", "excess_length", "packing",
        "micro_batch_size", "gradient_accumulation_steps", "eval_batch_size", "num_epochs", "max_steps",
        "learning_rate", "lr_scheduler", "warmup_ratio", "weight_decay", "max_grad_norm", "optimizer", "keep",
        "logging_steps", "gradient_checkpointing", "activation_offload", "seed",
    ):  # fmt: skip
        found.put(setting, c.get(setting), (setting,), "")
    found.put("lora_target_modules", tuple(c.get("lora_target_modules")), ("lora_target_modules",), "")
    _evaluation_file(found, ("eval_file",) if c.has("eval_file") else None, rows)
    epochs = 1.0 if found.values["max_steps"] else float(found.values["num_epochs"])
    found.put("evals_per_epoch", _times(c.get("eval_interval") * epochs), ("eval_interval",), "")
    found.put("attn_implementation", "sdpa", None, "Unsloth chooses its own attention")
    found.put("kernels", (), None, "Unsloth's own kernels are always on")
    found.put("chat_template", c.get("chat_template") or "none", ("chat_template",), "")


_READERS: dict[str, Callable[[ReadBack, Config, Gpu, Model, Rows], None]] = {"axolotl": _axolotl, "unsloth": _unsloth}
