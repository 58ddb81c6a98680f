"""Keys that Axolotl has removed, renamed or still reads under an old name."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import ATTENTION_FLAGS, AxolotlConfig, rule

REMOVED = {
    "max_packed_sequence_len": "sequence_len, with sample_packing: true",
    "rope_scaling": "model_config: {rope_scaling: …}",
    "s2_attention": "attn_implementation",
    "flash_attn_rms_norm": "liger_rms_norm, with the Liger plugin",
    "unsloth_cross_entropy_loss": "liger_fused_linear_cross_entropy, with the Liger plugin",
    "unsloth_lora_mlp": "lora_mlp_kernel",
    "unsloth_lora_qkv": "lora_qkv_kernel",
    "unsloth_lora_o": "lora_o_kernel",
    "unsloth_rms_norm": "liger_rms_norm, with the Liger plugin",
    "unsloth_rope": "liger_rope, with the Liger plugin",
    "dpo_use_logits_to_keep": "",
    "dpo_generate_during_eval": "",
    "dpo_norm_loss": "",
    "rpo_alpha": "",
}
REMOVED_WHEN_SET = ("dpo_use_logits_to_keep", "dpo_generate_during_eval", "dpo_norm_loss", "rpo_alpha")
# The successor takes the same value: a safe rename.
RENAMED = {
    "evaluation_strategy": "eval_strategy",
    "noisy_embedding_alpha": "neftune_noise_alpha",
    "dataset_processes": "dataset_num_proc",
    "pretrain_multipack_buffer_size": "streaming_multipack_buffer_size",
    "sequence_parallel_degree": "context_parallel_size",
    "liger_swiglu": "liger_glu_activation",
    "dpo_beta": "rl_beta",
}
# The successor takes another value, or there are two.
SUPERSEDED = {
    "eval_table_size": "generate_samples and num_generation_samples",
    "eval_max_new_tokens": "generation_max_new_tokens",
    "gc_steps": "torch_empty_cache_steps and gc_collect_steps",
    "flash_attn_d512": "large_head_attention: auto",
    "batch_size": "gradient_accumulation_steps",
}


def _deprecated(name: str) -> str:
    return f"DeprecatedParameters.validate_{name}"


@rule(
    "QL107",
    "error",
    upstream=(
        "DatasetValidationMixin.check_deprecated_unsloth_fields",
        *(_deprecated(name) for name in ("max_packed_sequence_len", "rope_scaling", "s2_attention")),
        *(_deprecated(name) for name in ("flash_attn_rms_norm", *REMOVED_WHEN_SET)),
    ),
)
def removed_key(c: AxolotlConfig) -> Iterator[Hit]:
    """A key that Axolotl has removed.

    Axolotl refuses the file (the `unsloth_*` keys among them: its own kernels took their place).
    """
    for key, successor in REMOVED.items():
        value = c.data.get(key)
        if value or (value is not None and key in REMOVED_WHEN_SET):
            yield c.key(key, f"{key} has been removed from Axolotl", f"use {successor}" if successor else "remove it")


@rule(
    "QL108",
    "warning",
    upstream=(
        *(_deprecated(name) for name in ("noisy_embedding_alpha", "dpo_beta", "evaluation_strategy")),
        *(_deprecated(name) for name in ("eval_table_size", "eval_max_new_tokens")),
        "TrainingValidationMixin.check_eval_strategy",
        "TrainingValidationMixin.check_multipack_buffer_size",
        "ComplexValidationMixin.check_rl_beta",
        "ComplexValidationMixin.check_context_parallel_size",
        "AxolotlConfigWCapabilities.default_dataset_num_proc",
        "AxolotlConfigWCapabilities.migrate_gc_steps",
        "HyperparametersConfig.hint_batch_size_set",
        "LigerArgs.check_deprecated_swiglu",
    ),
)
def deprecated_key(c: AxolotlConfig) -> Iterator[Hit]:
    """A key with an old name that this Axolotl still reads.

    It goes away in a later version, and then it is dropped in silence.
    """
    known = c.schema.get("properties", {})
    for old, new in RENAMED.items():
        if c.data.get(old) is not None and old in known and new in known and c.data.get(new) is None:
            yield c.key(old, f"{old} is the old name of {new}", f"{new}", rename=None if new in c.data else new)
    for old, new in SUPERSEDED.items():
        if c.data.get(old) is not None and old in known:
            yield c.key(old, f"{old} is superseded", f"use {new}")


@rule(
    "QL109",
    "error",
    upstream=("TrainingValidationMixin.check_neftune", "TrainingValidationMixin.check_multipack_buffer_size"),
)
def old_and_new_name(c: AxolotlConfig) -> Iterator[Hit]:
    """A key is given under its old and its new name.

    Axolotl refuses some of these pairs and drops the old one of the others in silence.
    """
    known = c.schema.get("properties", {})
    for old, new in RENAMED.items():
        if c.data.get(old) is not None and c.data.get(new) is not None and old in known:
            yield c.key(old, f"{old} is the old name of {new}, which is set too", f"remove {old}")


@rule("QL110", "warning", upstream="AxolotlInputConfig.normalize_attn_implementation")
def attention_flag(c: AxolotlConfig) -> Iterator[Hit]:
    """One of the old attention flags, such as `flash_attention: true`.

    Axolotl maps it to `attn_implementation` and warns; it will be removed.
    """
    flags = [flag for flag in ATTENTION_FLAGS if c.data.get(flag)]
    for flag in flags if not c.has("attn_implementation") else ():
        new = f"attn_implementation: {ATTENTION_FLAGS[flag]}"
        yield Hit((flag,), f"{flag}: true is the old form", new, "key", ("pair", new) if len(flags) == 1 else None)


@rule("QL111", "error", upstream="AxolotlInputConfig.normalize_attn_implementation")
def attention_flag_and_implementation(c: AxolotlConfig) -> Iterator[Hit]:
    """An old attention flag beside `attn_implementation`.

    Axolotl refuses to choose between the two.
    """
    for flag, name in ATTENTION_FLAGS.items():
        if c.data.get(flag) and c.get("attn_implementation"):
            yield c.key(
                flag, f"{flag} ({name}) beside attn_implementation: {c.get('attn_implementation')}", "remove it"
            )


@rule("QL112", "warning", upstream="ModelCompatibilityValidationMixin.check_gradient_checkpointing_w_offload")
def offload_as_checkpointing(c: AxolotlConfig) -> Iterator[Hit]:
    """`gradient_checkpointing: offload` or `offload_disk`.

    The old form of `gradient_checkpointing: true` with `activation_offloading`.
    """
    value = c.get("gradient_checkpointing")
    if value in ("offload", "offload_disk"):
        new = "true" if value == "offload" else "disk"
        hint = f"gradient_checkpointing: true and activation_offloading: {new}"
        yield c.at("gradient_checkpointing", f"gradient_checkpointing: {value} is the old form", hint)


@rule("QL113", "warning")
def old_message_field(c: AxolotlConfig) -> Iterator[Hit]:
    """`message_field_role` or `message_field_content` on a data set.

    The old form of `message_property_mappings`.
    """
    for index, data_set in c.datasets():
        for key, name in (("message_field_role", "role"), ("message_field_content", "content")):
            if data_set.get(key):
                hint = f"message_property_mappings: {{{name}: {data_set[key]}}}"
                yield c.key(("datasets", index, key), f"{key} is the old form", hint)


@rule("QL114", "error", upstream="SFTDataset.handle_legacy_message_fields")
def message_fields_contradict(c: AxolotlConfig) -> Iterator[Hit]:
    """`message_field_role` and `message_property_mappings` name different columns.

    Axolotl refuses the data set.
    """
    for index, data_set in c.datasets():
        mappings = data_set.get("message_property_mappings")
        for key, name in (("message_field_role", "role"), ("message_field_content", "content")):
            if key in data_set and isinstance(mappings, dict) and mappings.get(name, data_set[key]) != data_set[key]:
                message = f"{key}: {data_set[key]} contradicts message_property_mappings.{name}: {mappings[name]}"
                yield c.key(("datasets", index, key), message, f"remove {key}")
