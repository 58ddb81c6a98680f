"""What Axolotl refuses around special optimizers, quantisation-aware and preference training, and several GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import AxolotlConfig, rule


@rule("QL339", "error", upstream="ComplexValidationMixin.check_relora")
def relora(c: AxolotlConfig) -> Iterator[Hit]:
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


@rule("QL340", "error", upstream="OptimizationValidationMixin.check_polora", since=(0, 19))
def polora(c: AxolotlConfig) -> Iterator[Hit]:
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


@rule("QL341", "error", upstream="OptimizationValidationMixin.check_qgalore")
def qgalore_with_adapter(c: AxolotlConfig) -> Iterator[Hit]:
    """`optimizer: q_galore_adamw8bit` with an adapter.

    It projects the gradients of full weights; Axolotl refuses it for LoRA.
    """
    if c.get("optimizer") == "q_galore_adamw8bit" and c.adapter:
        yield c.at("optimizer", f"q_galore_adamw8bit cannot train adapter: {c.adapter}", "paged_adamw_8bit")


@rule("QL342", "error", upstream="AxolotlInputConfig.check_ple_cpu_offload", since=(0, 19))
def offloaded_embedding(c: AxolotlConfig) -> Iterator[Hit]:
    """`ple_cpu_offload` without a base that bitsandbytes has quantised.

    Axolotl takes it only for qlora in 4 bits or lora in 8 bits.
    """
    quantised = (c.adapter == "qlora" and c.get("load_in_4bit")) or (c.adapter == "lora" and c.get("load_in_8bit"))
    if c.get("ple_cpu_offload") and not quantised:
        yield c.key("ple_cpu_offload", "ple_cpu_offload needs a quantised base", "adapter: qlora and load_in_4bit")


@rule("QL343", "error", upstream="AxolotlConfigWCapabilities.check_quantize_moe_experts")
def quantised_experts(c: AxolotlConfig) -> Iterator[Hit]:
    """`quantize_moe_experts` without a quantised base, or with `lora_target_linear`.

    Axolotl refuses it: the experts are parameters, which `lora_target_parameters` reaches.
    """
    if not c.get("quantize_moe_experts"):
        return
    if c.get("lora_target_linear"):
        yield c.key("lora_target_linear", "not with quantize_moe_experts", "lora_target_parameters: […]")
    elif not c.is_lora or not c.any_of("load_in_4bit", "load_in_8bit"):
        yield c.key("quantize_moe_experts", "quantize_moe_experts needs a quantised base", "adapter: qlora")


@rule("QL344", "error", upstream="AxolotlConfigWCapabilities.check_qat_config")
def qat_with_quantised_base(c: AxolotlConfig) -> Iterator[Hit]:
    """`qat` with a quantised base or PEFT settings.

    Quantisation-aware training needs weights that can change; Axolotl refuses it.
    """
    for key in c.any_of("peft", "load_in_8bit", "load_in_4bit") if c.get("qat") else ():
        yield c.key(key, f"{key} cannot be used with qat", "remove one of the two")


@rule("QL345", "error", upstream="AxolotlInputConfig.check_fp32_norms")
def fp32_norms_without_fsdp(c: AxolotlConfig) -> Iterator[Hit]:
    """`fp32_norms` on one GPU.

    Axolotl takes it only with FSDP 2; on one card norms are in fp32 under autocast anyway.
    """
    if c.get("fp32_norms") and not (c.get("fsdp_config") and str(c.or_default("fsdp_version")) == "2"):
        yield c.key("fp32_norms", "fp32_norms needs FSDP 2", "remove it")


@rule("QL346", "error", upstream="TrainingValidationMixin.check_fp8_config")
def fp8_config_without_fp8(c: AxolotlConfig) -> Iterator[Hit]:
    """`fp8_config` without `fp8: true`, or FP8 all-gather without FSDP 2.

    Axolotl refuses settings of something that is off.
    """
    if c.has("fp8_config") and not c.get("fp8"):
        yield c.key("fp8_config", "fp8_config needs fp8: true", "add fp8: true")
    if c.get("fp8_enable_fsdp_float8_all_gather") and not _is_fsdp_2(c):
        yield c.key("fp8_enable_fsdp_float8_all_gather", "needs FSDP 2", "remove it on one GPU")


def _is_fsdp_2(c: AxolotlConfig) -> bool:
    """Where it is the only one, Axolotl looks for its section and no longer for its number."""
    return c.has("fsdp_config") if c.has_fsdp_2_alone else str(c.get("fsdp_version")) == "2"


@rule("QL347", "error", upstream="SystemValidationMixin.check_fsdp_deepspeed")
def fsdp_with_deepspeed(c: AxolotlConfig) -> Iterator[Hit]:
    """FSDP beside `deepspeed`.

    Both shard the model; Axolotl refuses two.
    """
    key = "fsdp_config" if c.has_fsdp_2_alone else "fsdp"
    if c.get("deepspeed") and c.get(key):
        yield c.key(key, f"{key} beside deepspeed", "on one GPU remove both")


@rule("QL381", "error", upstream="ModelCompatibilityValidationMixin.check_falcon_fsdp")
def falcon_with_fsdp(c: AxolotlConfig) -> Iterator[Hit]:
    """FSDP with a Falcon model.

    Axolotl refuses it for every base_model with "falcon" anywhere in it.
    """
    key = "fsdp_config" if c.has_fsdp_2_alone else "fsdp"
    if "falcon" in c.base_model.lower() and c.has(key):
        yield c.key(key, f"{key} with a Falcon model", "on one GPU remove it")


@rule("QL348", "error", upstream="OptimizationValidationMixin.check_deepcompile")
def deepcompile_without_deepspeed(c: AxolotlConfig) -> Iterator[Hit]:
    """`deepcompile` without `deepspeed`.

    It is a part of DeepSpeed; Axolotl refuses it alone.
    """
    if c.get("deepcompile") and not c.get("deepspeed"):
        yield c.key("deepcompile", "deepcompile needs deepspeed", "on one GPU: torch_compile")


@rule("QL349", "error", upstream="RLValidationMixin.check_dpo")
def dpo_key_without_dpo(c: AxolotlConfig) -> Iterator[Hit]:
    """`dpo_loss_type` or `dpo_loss_weights` without `rl: dpo`.

    Axolotl refuses settings of a training that is not done.
    """
    for key in ("dpo_loss_type", "dpo_loss_weights") if c.get("rl") != "dpo" else ():
        if c.has(key):
            yield c.key(key, f"{key} needs rl: dpo", "remove it")


@rule("QL350", "error", upstream="TrainingValidationMixin.check_mistral_common_incompatible_options")
def mistral_common_tokenizer(c: AxolotlConfig) -> Iterator[Hit]:
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


@rule("QL351", "error", upstream="RLValidationMixin.check_sample_packing_w_rl")
def packing_with_rl(c: AxolotlConfig) -> Iterator[Hit]:
    """`sample_packing` with `rl`.

    Pairs of answers cannot be packed; Axolotl refuses it.
    """
    if c.get("sample_packing") and c.get("rl"):
        yield c.key("sample_packing", f"sample_packing with rl: {c.get('rl')}", "sample_packing: false")


@rule("QL352", "error", upstream="RLValidationMixin.check_kto_config")
def kto_columns(c: AxolotlConfig) -> Iterator[Hit]:
    """`rl: kto` without `remove_unused_columns: false`.

    KTO reads columns that the model does not; Axolotl refuses to let them go.
    """
    if c.get("rl") == "kto" and c.get("remove_unused_columns") is not False:
        yield c.at("rl", "rl: kto needs remove_unused_columns: false", "add remove_unused_columns: false")


@rule("QL353", "error", upstream="ComplexValidationMixin.check_simpo_warmup")
def simpo_warmup(c: AxolotlConfig) -> Iterator[Hit]:
    """`warmup_ratio` with `rl: simpo`.

    Its trainer knows steps only; Axolotl refuses the ratio.
    """
    if c.get("rl") == "simpo" and c.get("warmup_ratio"):
        yield c.key("warmup_ratio", "warmup_ratio with rl: simpo", "warmup_steps")


@rule("QL354", "error", upstream="EBFTValidationMixin.check_ebft_config_required")
def ebft_without_section(c: AxolotlConfig) -> Iterator[Hit]:
    """`rl: ebft` without an `ebft:` section.

    Axolotl refuses it.
    """
    if c.get("rl") == "ebft" and not c.get("ebft"):
        yield c.at("rl", "rl: ebft needs an ebft section", "ebft: {mode: structured}")
