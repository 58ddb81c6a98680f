"""What Axolotl takes with a warning in its log, where nobody sees it before the run."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import AxolotlConfig, rule


@rule("QL601", "warning", upstream="AttentionValidationMixin.check_sample_packing_without_attention", since=(0, 18))
def packing_leaks(c: AxolotlConfig) -> Iterator[Hit]:
    """`sample_packing` with an attention that does not keep the rows apart.

    Tokens of one sample then see those of the sample before it. FlashAttention, flex attention, xformers, sage, sdpa
    and eager keep them apart; no `attn_implementation` at all does not.
    """
    if c.get("sample_packing") and not c.attention_packs and c.attention not in ("sdpa", "eager"):
        chosen = c.attention or "no attn_implementation"
        path = ("attn_implementation",) if c.has("attn_implementation") else ("sample_packing",)
        yield c.at(
            path, f"sample_packing with {chosen} mixes samples", "attn_implementation: flash_attention_2, or sdpa"
        )


@rule("QL602", "warning", until=(0, 17))
def packing_leaks_before_018(c: AxolotlConfig) -> Iterator[Hit]:
    """`sample_packing` with `sdpa` or `eager` in Axolotl before 0.18.

    Only the kernels for rows of different lengths keep packed samples apart there.
    """
    if c.get("sample_packing") and not c.attention_packs:
        path = ("attn_implementation",) if c.has("attn_implementation") else ("sample_packing",)
        chosen = c.attention or "no attn_implementation"
        yield c.at(path, f"sample_packing with {chosen} mixes samples", "attn_implementation: flash_attention_2")


@rule("QL603", "warning", upstream="TrainingValidationMixin.hint_sample_packing_padding")
def packing_without_padding(c: AxolotlConfig) -> Iterator[Hit]:
    """`pad_to_sequence_len: false` with `sample_packing`.

    Batches of changing shapes fragment the memory; Axolotl recommends true.
    """
    if c.get("sample_packing") and c.get("pad_to_sequence_len") is False:
        yield c.at("pad_to_sequence_len", "pad_to_sequence_len: false with sample_packing", "true")


@rule("QL604", "warning", upstream="OptimizationValidationMixin.check_adamw_optimizer_params")
def adam_settings_without_adam(c: AxolotlConfig) -> Iterator[Hit]:
    """`adam_*` settings with an optimizer that is no AdamW.

    They may not reach it.
    """
    optimizer = c.get("optimizer", "adamw_torch_fused")
    for key in c.any_of("adam_beta1", "adam_beta2", "adam_epsilon") if "adamw" not in str(optimizer).lower() else ():
        yield c.key(key, f"{key} with optimizer: {optimizer}", "an AdamW optimizer, or remove it")


@rule("QL605", "warning", upstream="TrainingValidationMixin.check_fft_possible_bad_config")
def full_finetune_in_fp16(c: AxolotlConfig) -> Iterator[Hit]:
    """Full fine-tuning in fp16 with packing and without FlashAttention.

    Axolotl expects "Attempting to unscale FP16 gradients".
    """
    flash = c.attention in ("flash_attention_2", "flash_attention_3")
    fp16_only = c.any_of("fp16", "float16") and not c.any_of("bf16", "bfloat16")
    if fp16_only and not c.adapter and c.get("sample_packing") and not flash:
        yield c.key(c.any_of("fp16", "float16")[0], "full fine-tuning in fp16 is likely to fail", "adapter: lora")


@rule("QL606", "warning", upstream="TrainingValidationMixin.check_fp8_config")
def fp8_without_compile(c: AxolotlConfig) -> Iterator[Hit]:
    """`fp8` without `torch_compile`.

    Only compiled code is faster in FP8.
    """
    if c.get("fp8") and not c.get("torch_compile"):
        yield c.key("fp8", "fp8 without torch_compile is not faster", "torch_compile: true")


@rule("QL607", "warning", upstream="DatasetValidationMixin.check_test_datasets_bench")
def bench_without_eval_set(c: AxolotlConfig) -> Iterator[Hit]:
    """`do_bench_eval` without an evaluation set.

    Axolotl adds an empty one from the hub, which needs the network.
    """
    if c.get("do_bench_eval") and not c.has_eval_set:
        yield c.key("do_bench_eval", "do_bench_eval without an evaluation set", "val_set_size: 0.05")


@rule("QL608", "warning", upstream="DatasetValidationMixin.check_pretraining_streaming_deprecation")
def pretraining_without_streaming(c: AxolotlConfig) -> Iterator[Hit]:
    """`pretraining_dataset` without `streaming: true`.

    Axolotl streams it today and says that it will stop doing so by itself.
    """
    if c.get("pretraining_dataset") and not c.get("streaming"):
        yield c.key("pretraining_dataset", "pretraining_dataset without streaming: true", "add streaming: true")


@rule("QL609", "warning", upstream="PretrainingValidationMixin.check_pretraining_w_group_by_length")
def grouped_stream(c: AxolotlConfig) -> Iterator[Hit]:
    """`group_by_length` with `pretraining_dataset`.

    Sorting a stream downloads all of it first.
    """
    if c.get("pretraining_dataset") and c.get("group_by_length"):
        yield c.key("group_by_length", "group_by_length downloads the whole stream", "group_by_length: false")


@rule("QL610", "warning", upstream="AxolotlInputConfig.check_sageattn_wo_sample_packing")
def sage_without_padding(c: AxolotlConfig) -> Iterator[Hit]:
    """`sage` attention with neither packing nor padding.

    Axolotl has seen the loss explode.
    """
    if c.attention == "sage" and not c.any_of("sample_packing", "pad_to_sequence_len"):
        yield c.at("attn_implementation", "sage without padding", "pad_to_sequence_len: true")


@rule("QL611", "warning", upstream="AxolotlInputConfig.check_sageattn_fft")
def sage_full_finetune(c: AxolotlConfig) -> Iterator[Hit]:
    """`sage` attention in full fine-tuning.

    Axolotl has seen the loss drop to 0.
    """
    if c.attention == "sage" and not c.adapter:
        yield c.at("attn_implementation", "sage without an adapter", "adapter: lora, or another attention")


@rule("QL612", "warning", upstream="AxolotlInputConfig.check_cudagraphs_wo_static_shapes", since=(0, 18))
def cuda_graphs_with_packing(c: AxolotlConfig) -> Iterator[Hit]:
    """CUDA graphs with `sample_packing`.

    Graphs need constant shapes, and packed rows have none.
    """
    if c.mapping("torch_compile_options").get("triton.cudagraphs") and c.get("sample_packing"):
        path = ("torch_compile_options", "triton.cudagraphs")
        yield c.key(path, "triton.cudagraphs with sample_packing", "keep one of the two")


@rule("QL613", "warning", upstream="AxolotlInputConfig.warn_peft_trainable_token_to_fix_untrained")
def fixed_token_not_trained(c: AxolotlConfig) -> Iterator[Hit]:
    """A token in `fix_untrained_tokens` that is not in `peft_trainable_token_indices`.

    Its embedding is set once and then not trained.
    """
    trained, fixed = c.get("peft_trainable_token_indices"), c.get("fix_untrained_tokens")
    if not isinstance(trained, list) or not fixed:
        return
    for token in fixed if isinstance(fixed, list) else [fixed]:
        if token not in trained:
            message = f"token {token} is not in peft_trainable_token_indices"
            yield c.key("fix_untrained_tokens", message, "add it there")


@rule("QL614", "warning", upstream="ModelCompatibilityValidationMixin.check_hidden_states_offloading", since=(0, 18))
def hidden_states_under_adapter(c: AxolotlConfig) -> Iterator[Hit]:
    """`activation_offloading: hidden_states` with an adapter.

    Under LoRA `true` can be faster: it recomputes nothing.
    """
    if c.get("activation_offloading") == "hidden_states" and c.adapter and c.get("gradient_checkpointing"):
        yield c.at("activation_offloading", "hidden_states recomputes; true may be faster under LoRA", "true")


@rule("QL615", "warning", upstream="ModelCompatibilityValidationMixin.check_selective_checkpointing", since=(0, 18))
def selective_checkpointing_compiled(c: AxolotlConfig) -> Iterator[Hit]:
    """`selective_checkpointing` with `torch_compile`.

    Axolotl has not tested the pair.
    """
    if c.get("selective_checkpointing") and c.get("torch_compile"):
        yield c.key("torch_compile", "torch_compile with selective_checkpointing is untested", "keep one of the two")


@rule("QL616", "warning", upstream="ModelInputConfig.hint_trust_remote_code")
def remote_code(c: AxolotlConfig) -> Iterator[Hit]:
    """`trust_remote_code: true`.

    Python code from the model's repository runs with your rights: read it first.
    """
    if c.get("trust_remote_code"):
        yield c.at("trust_remote_code", "the model's own code will be run", "review it, and pin its revision")


@rule("QL617", "warning", upstream="TrainingValidationMixin.check_push_save")
def push_without_saving(c: AxolotlConfig) -> Iterator[Hit]:
    """`hub_model_id` with a `save_strategy` that never saves.

    There is nothing to push.
    """
    if c.get("hub_model_id") and c.get("save_strategy") not in ("steps", "epoch", None):
        yield c.key(
            "hub_model_id", f"hub_model_id with save_strategy: {c.get('save_strategy')}", "save_strategy: epoch"
        )


@rule("QL618", "warning", upstream="WandbConfig.check_wandb_run")
def run_id_as_name(c: AxolotlConfig) -> Iterator[Hit]:
    """`wandb_run_id` without `wandb_name`.

    Axolotl names the run by its id.
    """
    if c.get("wandb_run_id") and not c.get("wandb_name"):
        yield c.key("wandb_run_id", "wandb_run_id is an id, not a name", "add wandb_name")


@rule("QL619", "warning", upstream="TrainingValidationMixin.check_tokenizer_use_mistral_common")
def mistral_common_inferred(c: AxolotlConfig) -> Iterator[Hit]:
    """A Magistral model without `tokenizer_use_mistral_common`.

    Axolotl sets it by itself, and then refuses templates and tokens.
    """
    if c.get("tokenizer_use_mistral_common") is None and "magistral" in c.base_model.lower():
        yield c.at(
            "base_model", "mistral-common will be used as tokenizer", "tokenizer_use_mistral_common: true, or false"
        )


@rule("QL620", "warning", upstream="LoRAValidationMixin.warn_qlora_zero3_w_use_reentrant")
def zero3_not_reentrant(c: AxolotlConfig) -> Iterator[Hit]:
    """QLoRA under DeepSpeed ZeRO 3 with `use_reentrant: false`.

    Checkpointing may fail with tensors that changed between two passes.
    """
    path = ("gradient_checkpointing_kwargs", "use_reentrant")
    zero3 = "zero3" in str(c.get("deepspeed", ""))
    if c.adapter == "qlora" and zero3 and c.mapping(path[0]).get(path[1]) is False:
        yield c.at(path, "use_reentrant: false with ZeRO 3", "true")


@rule("QL621", "warning", upstream="TrainingValidationMixin.hint_reward_model_pad")
def reward_model_without_padding(c: AxolotlConfig) -> Iterator[Hit]:
    """`reward_model` with `pad_to_sequence_len: false`.

    Axolotl recommends padding here.
    """
    if c.get("reward_model") and c.get("pad_to_sequence_len") is False:
        yield c.at("pad_to_sequence_len", "pad_to_sequence_len: false with reward_model", "true")


@rule("QL622", "warning", upstream="ModelCompatibilityValidationMixin.check_better_transformers")
def better_transformer_with_adapter(c: AxolotlConfig) -> Iterator[Hit]:
    """`flash_optimum` with an adapter.

    BetterTransformer probably does not work with PEFT.
    """
    if c.get("flash_optimum") is True and c.adapter:
        yield c.key("flash_optimum", "flash_optimum with an adapter", "remove it")


@rule("QL623", "warning", upstream="OptimizationValidationMixin.check_batch_flattening_fa")
def flattening_of_one_row(c: AxolotlConfig) -> Iterator[Hit]:
    """`batch_flattening: true` with `micro_batch_size: 1`.

    One row is flat already.
    """
    if c.get("batch_flattening") is True and c.get("micro_batch_size", 1) == 1 and c.attention_packs:
        yield c.key("batch_flattening", "batch_flattening has no effect on one row", "remove it")


@rule("QL624", "error", upstream="OptimizationValidationMixin.check_polora", since=(0, 19))
def weight_decay_of_polora(c: AxolotlConfig) -> Iterator[Hit]:
    """`weight_decay` with `optimizer: polora`.

    It has none; the value is ignored.
    """
    if c.get("optimizer") == "polora" and c.get("weight_decay"):
        yield c.key("weight_decay", "polora has no weight decay", "remove it")
