"""Combinations that Axolotl refuses: adapter and base, memory, kernels of the loss, and what does not go together."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.configs.rules.base import Config, Hit, rule

BUILT_IN_ADAPTERS = ("lora", "qlora", "llama-adapter")


@rule("QL301", "error", axolotl="LoraConfig.validate_qlora")
def qlora_without_4bit(c: Config) -> Iterator[Hit]:
    """`adapter: qlora` without `load_in_4bit: true`.

    QLoRA is LoRA on a 4-bit base; Axolotl refuses anything else under that name.
    """
    if c.adapter == "qlora" and not c.get("load_in_4bit") and not c.get("merge_lora"):
        yield c.at("adapter", "adapter: qlora needs a 4-bit base", "add load_in_4bit: true")


@rule("QL302", "error", axolotl="LoraConfig.validate_qlora")
def qlora_in_8bit(c: Config) -> Iterator[Hit]:
    """`adapter: qlora` with `load_in_8bit: true` or `gptq: true`.

    A base is quantised one way; Axolotl refuses the second.
    """
    for key in c.any_of("load_in_8bit", "gptq") if c.adapter == "qlora" else ():
        yield c.at(key, f"{key} contradicts adapter: qlora", f"remove {key}; QLoRA has load_in_4bit: true")


@rule("QL303", "error", axolotl="LoraConfig.validate_qlora")
def merge_of_quantised_base(c: Config) -> Iterator[Hit]:
    """`merge_lora` with `load_in_4bit`.

    Axolotl cannot merge into a quantised base.
    """
    if c.adapter == "qlora" and c.get("merge_lora") and c.get("load_in_4bit"):
        yield c.at("load_in_4bit", "a merge needs a base that is not quantised", "load_in_4bit: false for the merge")


@rule("QL304", "error", axolotl="LoraConfig.validate_adapter")
def quantised_without_adapter(c: Config) -> Iterator[Hit]:
    """`load_in_4bit` or `load_in_8bit` without an adapter.

    A quantised base cannot be trained itself; Axolotl refuses it.
    """
    for key in c.any_of("load_in_4bit", "load_in_8bit") if not c.adapter and not c.get("inference") else ():
        yield c.at(key, f"{key} without an adapter", "add adapter: qlora" if key == "load_in_4bit" else "adapter: lora")


@rule("QL305", "error", axolotl="LoraConfig.validate_adapter")
def unknown_adapter(c: Config) -> Iterator[Hit]:
    """An adapter that neither Axolotl nor a listed plugin knows.

    Axolotl refuses the name. (Before it did, an unknown one trained all weights.)
    """
    if c.adapter and c.adapter not in BUILT_IN_ADAPTERS and not c.get("plugins"):
        yield c.at("adapter", f"no such adapter: {c.adapter}", "qlora or lora; or list its plugin")


@rule("QL306", "error", axolotl="LoraConfig.validate_lora_target_parameters_dropout")
def dropout_on_parameters(c: Config) -> Iterator[Hit]:
    """`lora_dropout` with `lora_target_parameters`.

    PEFT has no dropout on parameters; Axolotl refuses it.
    """
    if c.get("lora_target_parameters") and c.get("lora_dropout"):
        yield c.at("lora_dropout", "lora_dropout must be 0 with lora_target_parameters", "lora_dropout: 0")


@rule("QL307", "error", axolotl="SystemValidationMixin.check_model_quantization_config_vs_bnb")
def two_quantisations(c: Config) -> Iterator[Hit]:
    """`model_quantization_config` beside `load_in_4bit` or `load_in_8bit`.

    A base is quantised one way; Axolotl refuses two.
    """
    for key in c.any_of("load_in_8bit", "load_in_4bit") if c.get("model_quantization_config") else ():
        yield c.at(key, f"{key} beside model_quantization_config", "keep one of the two")


@rule("QL308", "error", axolotl="SystemValidationMixin.check_mem_mismatch")
def two_memory_limits(c: Config) -> Iterator[Hit]:
    """`max_memory` beside `gpu_memory_limit`.

    Both say how much of the card may be used; Axolotl refuses two answers.
    """
    if c.has("max_memory") and c.has("gpu_memory_limit"):
        yield c.key("gpu_memory_limit", "gpu_memory_limit beside max_memory", "keep one of the two")


@rule("QL309", "error", axolotl="ModelCompatibilityValidationMixin.check_gptq_w_revision")
def gptq_with_revision(c: Config) -> Iterator[Hit]:
    """`gptq` with a model revision.

    Axolotl cannot choose a revision of a GPTQ model.
    """
    for key in c.any_of("revision_of_model", "model_revision") if c.get("gptq") else ():
        yield c.key(key, f"{key} with gptq: true", "download that revision and give its folder as base_model")


@rule("QL310", "error", axolotl="LoRAValidationMixin.check_fused_lora")
def fused_mlp_with_lora(c: Config) -> Iterator[Hit]:
    """`flash_attn_fuse_mlp` with LoRA.

    The fused module has no linear layers for an adapter; Axolotl refuses it.
    """
    if c.is_lora and c.get("flash_attn_fuse_mlp"):
        yield c.key("flash_attn_fuse_mlp", "flash_attn_fuse_mlp cannot be used with LoRA", "remove it")


@rule("QL311", "error", axolotl="LoRAValidationMixin.check_onebitllms_lora")
def onebit_with_lora(c: Config) -> Iterator[Hit]:
    """`use_onebitllms` with LoRA.

    Axolotl refuses the pair.
    """
    if c.is_lora and c.get("use_onebitllms"):
        yield c.key("use_onebitllms", "use_onebitllms cannot be used with LoRA", "remove it")


@rule("QL320", "error", axolotl="LoRAValidationMixin.check_lr_groups")
def lr_groups_with_loraplus(c: Config) -> Iterator[Hit]:
    """`lr_groups` beside `loraplus_lr_ratio`.

    Both set learning rates per group of parameters; Axolotl refuses two.
    """
    if c.get("lr_groups") and c.get("loraplus_lr_ratio"):
        yield c.key("lr_groups", "lr_groups beside loraplus_lr_ratio", "keep one of the two")


@rule("QL321", "error", axolotl="LoRAValidationMixin.check_frozen")
def unfrozen_with_layers(c: Config) -> Iterator[Hit]:
    """`unfrozen_parameters` with `peft_layers_to_transform`.

    Axolotl refuses the pair: which layers train would be undefined.
    """
    if c.adapter and c.get("peft_layers_to_transform") and c.get("unfrozen_parameters"):
        yield c.key("unfrozen_parameters", "unfrozen_parameters with peft_layers_to_transform", "keep one of the two")


@rule("QL322", "error", axolotl="LoRAValidationMixin.check_peft_layers_pattern")
def pattern_without_layers(c: Config) -> Iterator[Hit]:
    """`peft_layers_pattern` without `peft_layers_to_transform`.

    The pattern names the list that the indices count in; Axolotl refuses it alone.
    """
    if c.get("peft_layers_pattern") and not c.get("peft_layers_to_transform"):
        message = "peft_layers_pattern needs peft_layers_to_transform"
        yield c.key("peft_layers_pattern", message, "add peft_layers_to_transform: [0, 1, …]")


@rule("QL323", "error", axolotl="TrainingValidationMixin.check_use_reentrant_mismatch")
def reentrant_with_frozen(c: Config) -> Iterator[Hit]:
    """Reentrant checkpointing of a partly frozen model.

    No gradient would flow through the frozen part; Axolotl refuses it.
    """
    if c.get("unfrozen_parameters") and c.mapping("gradient_checkpointing_kwargs").get("use_reentrant") is True:
        path = ("gradient_checkpointing_kwargs", "use_reentrant")
        yield c.at(path, "use_reentrant: true with unfrozen_parameters", "use_reentrant: false")


@rule("QL324", "error", axolotl="ModelCompatibilityValidationMixin.check_activation_offloading_wo_gc")
def offloading_without_checkpointing(c: Config) -> Iterator[Hit]:
    """`activation_offloading` without `gradient_checkpointing`.

    It moves the checkpoints to host memory; without checkpoints Axolotl refuses it.
    """
    if c.get("activation_offloading") and not c.get("gradient_checkpointing"):
        message = "activation_offloading needs gradient_checkpointing"
        yield c.key("activation_offloading", message, "add gradient_checkpointing: true")


@rule("QL325", "error", axolotl="ModelCompatibilityValidationMixin.check_hidden_states_offloading", since=(0, 18))
def offloaded_hidden_states_frozen(c: Config) -> Iterator[Hit]:
    """`activation_offloading: hidden_states`, reentrant, on a partly frozen model.

    Axolotl refuses the three together.
    """
    reentrant = c.mapping("gradient_checkpointing_kwargs").get("use_reentrant")
    if c.get("activation_offloading") == "hidden_states" and reentrant and c.get("unfrozen_parameters"):
        yield c.at("activation_offloading", "hidden_states with unfrozen_parameters", "use_reentrant: false")


@rule("QL326", "error", axolotl="ModelCompatibilityValidationMixin.check_selective_checkpointing", since=(0, 18))
def selective_checkpointing(c: Config) -> Iterator[Hit]:
    """`selective_checkpointing` where it cannot work.

    It needs `gradient_checkpointing` that is not reentrant, no other activation offloading than `hidden_states`,
    and under LoRA no saved matrix products: PEFT adds its delta to them in place.
    """
    chosen = c.get("selective_checkpointing")
    if not chosen:
        return
    if not c.get("gradient_checkpointing"):
        message = "selective_checkpointing needs gradient_checkpointing"
        yield c.key("selective_checkpointing", message, "add gradient_checkpointing: true")
        return
    if c.mapping("gradient_checkpointing_kwargs").get("use_reentrant"):
        path = ("gradient_checkpointing_kwargs", "use_reentrant")
        yield c.at(path, "selective_checkpointing needs use_reentrant: false", "use_reentrant: false")
    elif c.get("activation_offloading") and c.get("activation_offloading") != "hidden_states":
        yield c.at("activation_offloading", "not together with selective_checkpointing", "hidden_states, or false")
    elif c.adapter and isinstance(chosen, dict):
        products = ("aten::mm", "aten::addmm", "aten::matmul", "aten::bmm")
        for index, saved in enumerate(chosen.get("save") or ()):
            if saved != "attention" and isinstance(saved, str) and any(saved in name for name in products):
                path = ("selective_checkpointing", "save", index)
                yield c.at(path, f"{saved} cannot be saved under an adapter", "save: [attention]")


@rule("QL327", "error", axolotl="OptimizationValidationMixin.check_cross_entropy_conflicts")
def two_cross_entropies(c: Config) -> Iterator[Hit]:
    """More than one fused cross entropy.

    Each replaces the loss; Axolotl refuses two.
    """
    losses = c.any_of(
        "cut_cross_entropy", "chunked_cross_entropy", "liger_cross_entropy", "liger_fused_linear_cross_entropy"
    )
    for key in losses[1:]:
        yield c.key(key, f"{key} beside {losses[0]}", "keep one of the two")


@rule("QL328", "error", axolotl=("CutCrossEntropyArgs.check_dtype_is_half",))
def cut_cross_entropy_in_fp32(c: Config) -> Iterator[Hit]:
    """`cut_cross_entropy` without `bf16` or `fp16`.

    Its backward pass exists in 16 bit only; with its plugin listed Axolotl refuses it.
    """
    listed = any("cut_cross_entropy" in str(plugin) for plugin in c.get("plugins") or ())
    if listed and c.get("cut_cross_entropy") and not c.any_of("bf16", "fp16"):
        yield c.key("cut_cross_entropy", "cut_cross_entropy needs bf16 or fp16", "add bf16: true, or fp16: true")


@rule("QL329", "error", axolotl=("CutCrossEntropyArgs.check_chunked_cross_entropy_not_set",))
def chunked_with_cce_plugin(c: Config) -> Iterator[Hit]:
    """`chunked_cross_entropy` with the cut-cross-entropy plugin listed.

    The plugin switches its loss on by default, and Axolotl refuses the second.
    """
    listed = any("cut_cross_entropy" in str(plugin) for plugin in c.get("plugins") or ())
    if listed and c.get("chunked_cross_entropy") and not c.get("cut_cross_entropy"):
        yield c.key("chunked_cross_entropy", "chunked_cross_entropy beside the CutCrossEntropy plugin", "remove one")


@rule("QL330", "error", axolotl="LigerArgs.check_deprecated_swiglu")
def swiglu_twice(c: Config) -> Iterator[Hit]:
    """`liger_swiglu` beside `liger_glu_activation`.

    The first is the old name of the second; Axolotl refuses both at once.
    """
    if _liger(c) and c.has("liger_swiglu") and c.has("liger_glu_activation"):
        yield c.key("liger_swiglu", "liger_swiglu beside liger_glu_activation", "remove liger_swiglu")


@rule("QL331", "error", axolotl="LigerArgs.check_liger_use_token_scaling_flce")
def token_scaling_without_loss(c: Config) -> Iterator[Hit]:
    """`liger_use_token_scaling` without `liger_fused_linear_cross_entropy`.

    It scales that loss; Axolotl refuses it alone.
    """
    if _liger(c) and c.get("liger_use_token_scaling") and not c.get("liger_fused_linear_cross_entropy"):
        message = "liger_use_token_scaling needs liger_fused_linear_cross_entropy"
        yield c.key("liger_use_token_scaling", message, "add liger_fused_linear_cross_entropy: true")


@rule("QL332", "error", axolotl="LigerArgs.check_tiled_mlp_conflict")
def tiled_mlp_with_liger(c: Config) -> Iterator[Hit]:
    """`tiled_mlp` with Liger's GLU.

    Both replace the MLP; Axolotl refuses it unless `tiled_mlp_use_original_mlp` is true.
    """
    both = c.get("liger_glu_activation") is True and c.get("tiled_mlp") is True
    if _liger(c) and both and not c.get("tiled_mlp_use_original_mlp"):
        yield c.key("tiled_mlp", "tiled_mlp with liger_glu_activation", "add tiled_mlp_use_original_mlp: true")


def _liger(c: Config) -> bool:
    return any("integrations.liger" in str(plugin) for plugin in c.get("plugins") or ())


@rule("QL333", "error", axolotl="AttentionValidationMixin.check_scaling_softmax_requires_flex")
def scaling_softmax_without_flex(c: Config) -> Iterator[Hit]:
    """`scaling_softmax` without flex attention.

    Only that kernel can scale the softmax; Axolotl refuses others.
    """
    if c.get("scaling_softmax") and c.attention != "flex_attention":
        yield c.key("scaling_softmax", "scaling_softmax needs attn_implementation: flex_attention")


@rule("QL334", "error", axolotl="AxolotlInputConfig.normalize_attn_implementation")
def gemma4_hybrid_without_flash(c: Config) -> Iterator[Hit]:
    """`gemma4_hybrid_attn_impl` with another kernel than FlashAttention 2.

    Its sliding-window layers run under FlashAttention 2; Axolotl refuses others.
    """
    chosen = c.get("attn_implementation")
    if c.get("gemma4_hybrid_attn_impl") and chosen and chosen != "flash_attention_2":
        yield c.at("attn_implementation", f"gemma4_hybrid_attn_impl with {chosen}", "flash_attention_2")


@rule("QL335", "error", axolotl="OptimizationValidationMixin.check_batch_flattening_fa")
def flattening_without_varlen(c: Config) -> Iterator[Hit]:
    """`batch_flattening: true` without an attention for rows of different lengths, or with packing.

    Axolotl refuses both; `auto` switches itself off instead.
    """
    if c.get("batch_flattening") is not True:
        return
    if not c.attention_packs:
        yield c.key("batch_flattening", "batch_flattening needs a varlen attention", "flash_attention_2, or auto")
    elif c.get("sample_packing"):
        yield c.key("batch_flattening", "batch_flattening with sample_packing", "keep one of the two")


@rule("QL336", "error", axolotl="ModelCompatibilityValidationMixin.check_better_transformers")
def better_transformer_in_16bit(c: Config) -> Iterator[Hit]:
    """`flash_optimum` with `bf16` or `fp16`.

    BetterTransformer has no mixed precision; Axolotl refuses it.
    """
    if c.get("flash_optimum") is True and c.any_of("fp16", "bf16"):
        yield c.key("flash_optimum", "flash_optimum cannot be used with bf16 or fp16", "remove it")


@rule("QL337", "error", axolotl="ModelCompatibilityValidationMixin.check_mpt_checkpointing")
def mpt_checkpointing(c: Config) -> Iterator[Hit]:
    """`gradient_checkpointing` with an MPT model.

    Axolotl refuses it for every base_model that has "mpt" in its name.
    """
    if "mpt" in c.base_model.lower() and c.get("gradient_checkpointing"):
        yield c.key("gradient_checkpointing", "gradient_checkpointing is not supported for MPT models", "false")


@rule("QL338", "error", axolotl="AxolotlInputConfig.check_torch_compile_options_requires_compile", since=(0, 18))
def compile_options_without_compile(c: Config) -> Iterator[Hit]:
    """`torch_compile_options` without `torch_compile`.

    Axolotl refuses options of something that is off.
    """
    if c.has("torch_compile_options") and not c.get("torch_compile"):
        yield c.key("torch_compile_options", "torch_compile_options needs torch_compile", "add torch_compile: true")


@rule("QL339", "error", axolotl="ComplexValidationMixin.check_relora")
def relora(c: Config) -> Iterator[Hit]:
    """`relora: true` without what it needs.

    ReLoRA restarts LoRA: it needs `jagged_restart_steps` and a LoRA adapter, and no one_cycle schedule.
    """
    if not c.get("relora"):
        return
    if not c.get("jagged_restart_steps"):
        yield c.key("relora", "relora needs jagged_restart_steps", "add jagged_restart_steps: 150")
    elif not c.adapter:
        yield c.key("relora", "relora needs an adapter", "add adapter: lora, or adapter: qlora")
    elif c.get("lr_scheduler") == "one_cycle":
        yield c.at("lr_scheduler", "relora cannot be used with one_cycle", "lr_scheduler: cosine")


@rule("QL340", "error", axolotl="OptimizationValidationMixin.check_polora", since=(0, 19))
def polora(c: Config) -> Iterator[Hit]:
    """`optimizer: polora` with something that it would not train.

    It updates LoRA's factors and nothing else; Axolotl refuses keys that add other parameters or learning rates.
    """
    if c.get("optimizer") != "polora":
        return
    if not c.is_lora:
        yield c.at("optimizer", "polora needs adapter: lora or adapter: qlora", "add adapter: qlora")
        return
    untrained = ("lora_modules_to_save", "unfrozen_parameters", "peft_use_dora", "peft_trainable_token_indices")
    others = ("lisa_step_interval", "reward_model", "process_reward_model")
    ignored = ("loraplus_lr_ratio", "lr_groups", "embedding_lr", "embedding_lr_scale", "relora_steps")
    for key in c.any_of(*untrained, *others, *ignored):
        yield c.key(key, f"{key} cannot be used with optimizer: polora", "remove it, or choose another optimizer")


@rule("QL341", "error", axolotl="OptimizationValidationMixin.check_qgalore")
def qgalore_with_adapter(c: Config) -> Iterator[Hit]:
    """`optimizer: q_galore_adamw8bit` with an adapter.

    It projects the gradients of full weights; Axolotl refuses it for LoRA.
    """
    if c.get("optimizer") == "q_galore_adamw8bit" and c.adapter:
        yield c.at("optimizer", f"q_galore_adamw8bit cannot train adapter: {c.adapter}", "paged_adamw_8bit")


@rule("QL342", "error", axolotl="AxolotlInputConfig.check_ple_cpu_offload", since=(0, 19))
def offloaded_embedding(c: Config) -> Iterator[Hit]:
    """`ple_cpu_offload` without a base that bitsandbytes has quantised.

    Axolotl takes it only for qlora in 4 bits or lora in 8 bits.
    """
    quantised = (c.adapter == "qlora" and c.get("load_in_4bit")) or (c.adapter == "lora" and c.get("load_in_8bit"))
    if c.get("ple_cpu_offload") and not quantised:
        yield c.key("ple_cpu_offload", "ple_cpu_offload needs a quantised base", "adapter: qlora and load_in_4bit")


@rule("QL343", "error", axolotl="AxolotlConfigWCapabilities.check_quantize_moe_experts")
def quantised_experts(c: Config) -> Iterator[Hit]:
    """`quantize_moe_experts` without a quantised base, or with `lora_target_linear`.

    Axolotl refuses it: the experts are parameters, which `lora_target_parameters` reaches.
    """
    if not c.get("quantize_moe_experts"):
        return
    if c.get("lora_target_linear"):
        yield c.key("lora_target_linear", "not with quantize_moe_experts", "lora_target_parameters: […]")
    elif not c.is_lora or not c.any_of("load_in_4bit", "load_in_8bit"):
        yield c.key("quantize_moe_experts", "quantize_moe_experts needs a quantised base", "adapter: qlora")


@rule("QL344", "error", axolotl="AxolotlConfigWCapabilities.check_qat_config")
def qat_with_quantised_base(c: Config) -> Iterator[Hit]:
    """`qat` with a quantised base or PEFT settings.

    Quantisation-aware training needs weights that can change; Axolotl refuses it.
    """
    for key in c.any_of("peft", "load_in_8bit", "load_in_4bit") if c.get("qat") else ():
        yield c.key(key, f"{key} cannot be used with qat", "remove one of the two")


@rule("QL345", "error", axolotl="AxolotlInputConfig.check_fp32_norms")
def fp32_norms_without_fsdp(c: Config) -> Iterator[Hit]:
    """`fp32_norms` on one GPU.

    Axolotl takes it only with FSDP 2; on one card norms are in fp32 under autocast anyway.
    """
    if c.get("fp32_norms") and not (c.get("fsdp_config") and str(c.get("fsdp_version")) == "2"):
        yield c.key("fp32_norms", "fp32_norms needs FSDP 2", "remove it")


@rule("QL346", "error", axolotl="TrainingValidationMixin.check_fp8_config")
def fp8_config_without_fp8(c: Config) -> Iterator[Hit]:
    """`fp8_config` without `fp8: true`, or FP8 all-gather without FSDP 2.

    Axolotl refuses settings of something that is off.
    """
    if c.has("fp8_config") and not c.get("fp8"):
        yield c.key("fp8_config", "fp8_config needs fp8: true", "add fp8: true")
    if c.get("fp8_enable_fsdp_float8_all_gather") and str(c.get("fsdp_version")) != "2":
        yield c.key("fp8_enable_fsdp_float8_all_gather", "needs FSDP 2", "remove it on one GPU")


@rule("QL347", "error", axolotl="SystemValidationMixin.check_fsdp_deepspeed")
def fsdp_with_deepspeed(c: Config) -> Iterator[Hit]:
    """`fsdp` beside `deepspeed`.

    Both shard the model; Axolotl refuses two.
    """
    if c.get("deepspeed") and c.get("fsdp"):
        yield c.key("fsdp", "fsdp beside deepspeed", "on one GPU remove both")


@rule("QL348", "error", axolotl="OptimizationValidationMixin.check_deepcompile")
def deepcompile_without_deepspeed(c: Config) -> Iterator[Hit]:
    """`deepcompile` without `deepspeed`.

    It is a part of DeepSpeed; Axolotl refuses it alone.
    """
    if c.get("deepcompile") and not c.get("deepspeed"):
        yield c.key("deepcompile", "deepcompile needs deepspeed", "on one GPU: torch_compile")


@rule("QL349", "error", axolotl="RLValidationMixin.check_dpo")
def dpo_key_without_dpo(c: Config) -> Iterator[Hit]:
    """`dpo_loss_type` or `dpo_loss_weights` without `rl: dpo`.

    Axolotl refuses settings of a training that is not done.
    """
    for key in ("dpo_loss_type", "dpo_loss_weights") if c.get("rl") != "dpo" else ():
        if c.has(key):
            yield c.key(key, f"{key} needs rl: dpo", "remove it")


@rule("QL350", "error", axolotl="TrainingValidationMixin.check_mistral_common_incompatible_options")
def mistral_common_tokenizer(c: Config) -> Iterator[Hit]:
    """A change to the tokenizer with `tokenizer_use_mistral_common`.

    That tokenizer cannot be changed; Axolotl refuses templates, tokens and overrides. It is chosen by itself for a
    base_model that has "magistral" in its name.
    """
    names = (c.base_model, str(c.get("base_model_config", "")), str(c.get("tokenizer_config", "")))
    inferred = c.get("tokenizer_use_mistral_common") is None and any("magistral" in name.lower() for name in names)
    if not (c.get("tokenizer_use_mistral_common") or inferred):
        return
    for key in c.any_of("added_tokens_overrides", "special_tokens", "tokens", "chat_template", "processor_kwargs"):
        yield c.key(key, f"{key} cannot be used with mistral-common", "tokenizer_use_mistral_common: false")


@rule("QL351", "error", axolotl="RLValidationMixin.check_sample_packing_w_rl")
def packing_with_rl(c: Config) -> Iterator[Hit]:
    """`sample_packing` with `rl`.

    Pairs of answers cannot be packed; Axolotl refuses it.
    """
    if c.get("sample_packing") and c.get("rl"):
        yield c.key("sample_packing", f"sample_packing with rl: {c.get('rl')}", "sample_packing: false")


@rule("QL352", "error", axolotl="RLValidationMixin.check_kto_config")
def kto_columns(c: Config) -> Iterator[Hit]:
    """`rl: kto` without `remove_unused_columns: false`.

    KTO reads columns that the model does not; Axolotl refuses to let them go.
    """
    if c.get("rl") == "kto" and c.get("remove_unused_columns") is not False:
        yield c.at("rl", "rl: kto needs remove_unused_columns: false", "add remove_unused_columns: false")


@rule("QL353", "error", axolotl="ComplexValidationMixin.check_simpo_warmup")
def simpo_warmup(c: Config) -> Iterator[Hit]:
    """`warmup_ratio` with `rl: simpo`.

    Its trainer knows steps only; Axolotl refuses the ratio.
    """
    if c.get("rl") == "simpo" and c.get("warmup_ratio"):
        yield c.key("warmup_ratio", "warmup_ratio with rl: simpo", "warmup_steps")


@rule("QL354", "error", axolotl="EBFTValidationMixin.check_ebft_config_required")
def ebft_without_section(c: Config) -> Iterator[Hit]:
    """`rl: ebft` without an `ebft:` section.

    Axolotl refuses it.
    """
    if c.get("rl") == "ebft" and not c.get("ebft"):
        yield c.at("rl", "rl: ebft needs an ebft section", "ebft: {mode: structured}")
