"""Combinations that Axolotl refuses of adapter, base and memory."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import AxolotlConfig, rule


@rule("QL301", "error", upstream="LoraConfig.validate_qlora")
def qlora_without_4bit(c: AxolotlConfig) -> Iterator[Hit]:
    """`adapter: qlora` without `load_in_4bit: true`.

    QLoRA is LoRA on a 4-bit base; Axolotl refuses anything else under that name.
    """
    if c.adapter == "qlora" and not c.get("load_in_4bit") and not c.get("merge_lora"):
        yield c.at("adapter", "adapter: qlora needs a 4-bit base", "add load_in_4bit: true")


@rule("QL302", "error", upstream="LoraConfig.validate_qlora")
def qlora_in_8bit(c: AxolotlConfig) -> Iterator[Hit]:
    """`adapter: qlora` with `load_in_8bit: true` or `gptq: true`.

    A base is quantised one way; Axolotl refuses the second.
    """
    for key in c.any_of("load_in_8bit", "gptq") if c.adapter == "qlora" else ():
        yield c.at(key, f"{key} contradicts adapter: qlora", f"remove {key}; QLoRA has load_in_4bit: true")


@rule("QL303", "error", upstream="LoraConfig.validate_qlora")
def merge_of_quantised_base(c: AxolotlConfig) -> Iterator[Hit]:
    """`merge_lora` with `load_in_4bit`.

    Axolotl cannot merge into a quantised base.
    """
    if c.adapter == "qlora" and c.get("merge_lora") and c.get("load_in_4bit"):
        yield c.at("load_in_4bit", "a merge needs a base that is not quantised", "load_in_4bit: false for the merge")


@rule("QL304", "error", upstream="LoraConfig.validate_adapter")
def quantised_without_adapter(c: AxolotlConfig) -> Iterator[Hit]:
    """`load_in_4bit` or `load_in_8bit` without an adapter.

    A quantised base cannot be trained itself; Axolotl refuses it.
    """
    for key in c.any_of("load_in_4bit", "load_in_8bit") if not c.adapter and not c.get("inference") else ():
        yield c.at(key, f"{key} without an adapter", "add adapter: qlora" if key == "load_in_4bit" else "adapter: lora")


@rule("QL305", "error", upstream="LoraConfig.validate_adapter")
def unknown_adapter(c: AxolotlConfig) -> Iterator[Hit]:
    """An adapter that neither Axolotl nor a listed plugin knows.

    Axolotl refuses the name. (Before it did, an unknown one trained all weights.)
    """
    plugins = c.get("plugins") or ()
    if not c.adapter or any(not str(plugin).startswith(c.release.plugins) for plugin in plugins):
        return  # a plugin from elsewhere may bring any
    plugin = c.release.adapters.get(c.adapter)
    if plugin is None:
        yield c.at("adapter", f"no such adapter: {c.adapter}", "qlora or lora; or list its plugin")
    elif plugin and not c.lists_plugin(plugin):
        yield c.at("adapter", f"adapter: {c.adapter} is a plugin's", f"add to plugins: {plugin}")


@rule("QL306", "error", upstream="LoraConfig.validate_lora_target_parameters_dropout")
def dropout_on_parameters(c: AxolotlConfig) -> Iterator[Hit]:
    """`lora_dropout` with `lora_target_parameters`.

    PEFT has no dropout on parameters; Axolotl refuses it.
    """
    if c.get("lora_target_parameters") and c.get("lora_dropout"):
        yield c.at("lora_dropout", "lora_dropout must be 0 with lora_target_parameters", "lora_dropout: 0")


@rule("QL307", "error", upstream="SystemValidationMixin.check_model_quantization_config_vs_bnb")
def two_quantisations(c: AxolotlConfig) -> Iterator[Hit]:
    """`model_quantization_config` beside `load_in_4bit` or `load_in_8bit`.

    A base is quantised one way; Axolotl refuses two.
    """
    for key in c.any_of("load_in_8bit", "load_in_4bit") if c.get("model_quantization_config") else ():
        yield c.at(key, f"{key} beside model_quantization_config", "keep one of the two")


@rule("QL308", "error", upstream="SystemValidationMixin.check_mem_mismatch")
def two_memory_limits(c: AxolotlConfig) -> Iterator[Hit]:
    """`max_memory` beside `gpu_memory_limit`.

    Both say how much of the card may be used; Axolotl refuses two answers.
    """
    if c.has("max_memory") and c.has("gpu_memory_limit"):
        yield c.key("gpu_memory_limit", "gpu_memory_limit beside max_memory", "keep one of the two")


@rule("QL309", "error", upstream="ModelCompatibilityValidationMixin.check_gptq_w_revision")
def gptq_with_revision(c: AxolotlConfig) -> Iterator[Hit]:
    """`gptq` with a model revision.

    Axolotl cannot choose a revision of a GPTQ model.
    """
    for key in c.any_of("revision_of_model", "model_revision") if c.get("gptq") else ():
        yield c.key(key, f"{key} with gptq: true", "download that revision and give its folder as base_model")


@rule("QL310", "error", upstream="LoRAValidationMixin.check_fused_lora")
def fused_mlp_with_lora(c: AxolotlConfig) -> Iterator[Hit]:
    """`flash_attn_fuse_mlp` with LoRA.

    The fused module has no linear layers for an adapter; Axolotl refuses it.
    """
    if (c.is_lora or c.adapter == "mixlora") and c.get("flash_attn_fuse_mlp"):
        yield c.key("flash_attn_fuse_mlp", "flash_attn_fuse_mlp cannot be used with LoRA", "remove it")


@rule("QL311", "error", upstream="LoRAValidationMixin.check_onebitllms_lora")
def onebit_with_lora(c: AxolotlConfig) -> Iterator[Hit]:
    """`use_onebitllms` with LoRA.

    Axolotl refuses the pair.
    """
    if c.is_lora and c.get("use_onebitllms"):
        yield c.key("use_onebitllms", "use_onebitllms cannot be used with LoRA", "remove it")


@rule("QL320", "error", upstream="LoRAValidationMixin.check_lr_groups")
def lr_groups_with_loraplus(c: AxolotlConfig) -> Iterator[Hit]:
    """`lr_groups` beside `loraplus_lr_ratio`.

    Both set learning rates per group of parameters; Axolotl refuses two.
    """
    if c.get("lr_groups") and c.get("loraplus_lr_ratio"):
        yield c.key("lr_groups", "lr_groups beside loraplus_lr_ratio", "keep one of the two")


@rule("QL321", "error", upstream="LoRAValidationMixin.check_frozen")
def unfrozen_with_layers(c: AxolotlConfig) -> Iterator[Hit]:
    """`unfrozen_parameters` with `peft_layers_to_transform`.

    Axolotl refuses the pair: which layers train would be undefined.
    """
    if c.adapter and c.get("peft_layers_to_transform") and c.get("unfrozen_parameters"):
        yield c.key("unfrozen_parameters", "unfrozen_parameters with peft_layers_to_transform", "keep one of the two")


@rule("QL322", "error", upstream="LoRAValidationMixin.check_peft_layers_pattern")
def pattern_without_layers(c: AxolotlConfig) -> Iterator[Hit]:
    """`peft_layers_pattern` without `peft_layers_to_transform`.

    The pattern names the list that the indices count in; Axolotl refuses it alone.
    """
    if c.get("peft_layers_pattern") and not c.get("peft_layers_to_transform"):
        message = "peft_layers_pattern needs peft_layers_to_transform"
        yield c.key("peft_layers_pattern", message, "add peft_layers_to_transform: [0, 1, …]")


@rule("QL323", "error", upstream="TrainingValidationMixin.check_use_reentrant_mismatch")
def reentrant_with_frozen(c: AxolotlConfig) -> Iterator[Hit]:
    """Reentrant checkpointing of a partly frozen model.

    No gradient would flow through the frozen part; Axolotl refuses it.
    """
    if c.get("unfrozen_parameters") and c.mapping("gradient_checkpointing_kwargs").get("use_reentrant") is True:
        path = ("gradient_checkpointing_kwargs", "use_reentrant")
        yield c.at(path, "use_reentrant: true with unfrozen_parameters", "use_reentrant: false")


@rule("QL324", "error", upstream="ModelCompatibilityValidationMixin.check_activation_offloading_wo_gc")
def offloading_without_checkpointing(c: AxolotlConfig) -> Iterator[Hit]:
    """`activation_offloading` without `gradient_checkpointing`.

    It moves the checkpoints to host memory; without checkpoints Axolotl refuses it.
    """
    if c.get("activation_offloading") and not c.get("gradient_checkpointing"):
        message = "activation_offloading needs gradient_checkpointing"
        yield c.key("activation_offloading", message, "add gradient_checkpointing: true")


@rule("QL325", "error", upstream="ModelCompatibilityValidationMixin.check_hidden_states_offloading", since=(0, 18))
def offloaded_hidden_states_frozen(c: AxolotlConfig) -> Iterator[Hit]:
    """`activation_offloading: hidden_states`, reentrant, on a partly frozen model.

    Axolotl refuses the three together.
    """
    reentrant = c.mapping("gradient_checkpointing_kwargs").get("use_reentrant")
    if c.get("activation_offloading") == "hidden_states" and reentrant and c.get("unfrozen_parameters"):
        yield c.at("activation_offloading", "hidden_states with unfrozen_parameters", "use_reentrant: false")
