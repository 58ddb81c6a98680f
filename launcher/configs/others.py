"""Configs of other tools, known by their keys: named as what they are, not as thirty misspelled keys of a trainer."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.configs.mismatch import words_of
from launcher.errors import ELSEWHERE
from launcher.rules.base import Kind
from launcher.trainers import all_trainers, get_trainer
from launcher.trainers.base import OtherFile

FEWEST = 3  # keys that must be the tool's, where none is its own alone


_Of = OtherFile  # short: the table stands on one line each

# From the tools' documentation of their config files and arguments. Of two that fit, the one with most keys wins.
TOOLS: tuple[OtherFile, ...] = (
    _Of(
        "LLaMA-Factory",
        frozenset({"finetuning_type", "cutoff_len", "dataset_dir", "lora_target", "quantization_bit", "template_dir"}),
        frozenset({"model_name_or_path", "stage", "template", "dataset", "lora_rank", "overwrite_cache", "do_train"}),
    ),
    _Of(
        "TRL",
        frozenset({"dataset_mixture", "dataset_train_split", "use_peft", "assistant_only_loss", "dataset_text_field"}),
        frozenset({"model_name_or_path", "dataset_name", "torch_dtype"}),
    ),
    _Of("the alignment handbook", frozenset({"dataset_mixer", "dataset_splits"}), frozenset({"model_name_or_path"})),
    _Of("LitGPT", frozenset({"checkpoint_dir", "lora_query", "lora_key", "lora_value", "lora_projection"})),
    _Of("mlx-lm", frozenset({"iters", "lora_parameters", "steps_per_report", "steps_per_eval", "mask_prompt"})),
    _Of("DeepSpeed", frozenset({"zero_optimization", "train_micro_batch_size_per_gpu"})),
    _Of("Accelerate", frozenset({"compute_environment", "distributed_type", "mixed_precision", "fsdp_config"})),
    _Of("a PEFT adapter (its config)", frozenset({"peft_type", "inference_mode", "base_model_name_or_path"})),
    _Of("a model (transformers' config.json)", frozenset({"architectures", "transformers_version"})),
)  # fmt: skip
# Arguments of transformers' trainer, which several of the tools take beside their own.
ARGUMENTS = _Of(
    "transformers' TrainingArguments",
    frozenset(),
    frozenset(
        {
            "per_device_train_batch_size", "per_device_eval_batch_size", "num_train_epochs", "lr_scheduler_type",
            "optim", "max_steps", "save_steps", "logging_steps", "learning_rate", "output_dir", "weight_decay",
            "gradient_accumulation_steps", "do_train", "do_eval", "eval_strategy", "report_to", "warmup_steps",
            "warmup_ratio", "seed", "bf16", "fp16",
        }
    ),
)  # fmt: skip


def other_tool(data: Mapping[object, object]) -> OtherFile | None:
    """The tool whose file this is, or None. torchtune is known by how it writes components, whatever their names."""
    keys = {key for key in data if isinstance(key, str)}
    if any(isinstance(value, Mapping) and "_component_" in value for value in data.values()):
        return _Of("torchtune", frozenset(keys))
    arguments = len(ARGUMENTS.shared & keys)
    tools = [*TOOLS, *(tool for trainer in all_trainers() for tool in trainer.others)]
    shared = {tool.title: len(tool.shared & keys) for tool in tools}
    fitting = [
        tool for tool in tools if tool.own & keys or (shared[tool.title] and shared[tool.title] + arguments >= FEWEST)
    ]
    if not fitting and arguments >= FEWEST:
        return ARGUMENTS
    return max(fitting, key=lambda tool: 2 * len(tool.own & keys) + shared[tool.title], default=None)


def described(tool: OtherFile, data: Mapping[object, object], kind: Kind) -> tuple[str, str]:
    """What is said of such a file, and what its keys are called in a config of the trainer ``kind``."""
    trainer = get_trainer(kind)
    words = words_of(kind)
    keys = {entry.setting: entry.key for entry in trainer.codec.entries if entry.key}
    named = {key: words.get(key) or keys.get(ELSEWHERE.get(key, "")) for key in data if isinstance(key, str)}
    renamed = [f"{theirs} is {ours}" for theirs, ours in named.items() if ours and ours != theirs]
    called = f"in it {', '.join(renamed)}; " if renamed else ""
    message = f"this is a file of {tool.title}, not a config of {trainer.title}"
    return message, f"{called}`ql init` writes a job, `ql export` a config"
