"""What Axolotl refuses of keys that came with 0.20 and 0.21."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import AxolotlConfig, rule

PLAIN_INIT = (None, True, False, "gaussian")  # first weights of an adapter that do not depend on the base's values
CCE = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
DIFFUSION = "axolotl.integrations.diffusion.DiffusionPlugin"
# The types of llama.cpp that Axolotl asks for (utils/schemas/export.py).
GGUF = frozenset(
    {
        *("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_0", "Q5_K_S", "Q5_K_M", "Q4_0", "Q4_1", "Q4_K_S", "Q4_K_M"),
        *("Q3_K_S", "Q3_K_M", "Q3_K_L", "Q2_K", "Q2_K_S", "TQ1_0", "TQ2_0", "MXFP4_MOE"),
        *("IQ4_XS", "IQ4_NL", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M"),
        *("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ1_S", "IQ1_M"),
    }
)


def _depends_on_base(c: AxolotlConfig) -> bool:
    """Whether the adapter's first weights are made from the base's."""
    return c.get("peft_init_lora_weights") not in PLAIN_INIT or bool(c.mapping("peft").get("loftq_config"))


@rule("QL124", "error", since=(0, 20), upstream=("ExportConfig.validate_quant_types", "ExportConfig.validate_quantize"))
def export_of_gguf(c: AxolotlConfig) -> Iterator[Hit]:
    """An `export` that llama.cpp cannot make.

    Axolotl refuses a type that is none, a second quantisation of what is quantised, and several files of one name.
    """
    export = c.mapping("export")
    types = export.get("quantize")
    names = types.split(",") if isinstance(types, str) else types if isinstance(types, list) else []
    for name in names:
        if str(name).strip().upper() not in GGUF:
            yield c.at(("export", "quantize"), f"no such GGUF type: {name}", "Q4_K_M, Q5_K_M, Q8_0 …")
    if names and export.get("outtype") in ("q8_0", "tq1_0", "tq2_0"):
        message = f"export.quantize cannot start from outtype: {export['outtype']}"
        yield c.at(("export", "outtype"), message, "outtype: bf16")
    if names and export.get("outfile") and "{ftype}" not in str(export["outfile"]):
        yield c.at(("export", "outfile"), "export.outfile names one file for every type", "model-{ftype}.gguf")


@rule("QL355", "error", since=(0, 20), upstream="OptimizationValidationMixin.check_fsdp_version")
def fsdp_1(c: AxolotlConfig) -> Iterator[Hit]:
    """An `fsdp_version` other than 2.

    FSDP 1 is gone; Axolotl refuses its number.
    """
    section = c.mapping("fsdp_config")
    places = (("fsdp_version",), ("fsdp_config", "fsdp_version"), ("fsdp_config", "version"))
    for path in places:
        value = c.get(path[0]) if len(path) == 1 else section.get(path[1])
        if value is not None and str(value) != "2":
            yield c.at(path, f"{path[-1]}: {value} is gone", f"{path[-1]}: 2; on one GPU remove it")


@rule("QL356", "error", since=(0, 20), upstream="OptimizationValidationMixin.check_custom_loss_conflicts")
def loss_functions(c: AxolotlConfig) -> Iterator[Hit]:
    """`use_dft` or `use_eaft` beside another loss.

    Each replaces the loss of training on right answers; Axolotl refuses a second one, and preferences.
    """
    chosen = c.any_of("use_dft", "use_eaft")
    if not chosen:
        return
    others = ("rl", "reward_model", "process_reward_model", "cut_cross_entropy")
    fused = ("liger_fused_linear_cross_entropy", "chunked_cross_entropy")
    for key in [*chosen[1:], *c.any_of(*others, *fused)]:
        yield c.key(key, f"{key} beside {chosen[0]}", "keep one of the two")
    for key in ("context_parallel_size", "sequence_parallel_degree"):
        if (c.get(key) or 1) > 1:
            yield c.key(key, f"{key} with {chosen[0]}", "remove it on one GPU")


@rule("QL357", "error", since=(0, 20), upstream="OptimizationValidationMixin.check_bnb_blocksize")
def block_size(c: AxolotlConfig) -> Iterator[Hit]:
    """`bnb_config_kwargs.blocksize` other than 64.

    bitsandbytes quantises a loaded base in blocks of 64 whatever is asked for; Axolotl refuses another size.
    """
    size = c.mapping("bnb_config_kwargs").get("blocksize", 64)
    if c.get("load_in_4bit") and c.get("nf4_backend") != "torchao" and size != 64:
        yield c.at(("bnb_config_kwargs", "blocksize"), f"blocksize: {size} is never used", "remove it")


@rule("QL358", "error", since=(0, 20), upstream="OptimizationValidationMixin.check_staged_nf4")
def staged_nf4(c: AxolotlConfig) -> Iterator[Hit]:
    """`nf4_backend: torchao` with what it cannot do.

    It quantises the base in pieces while it loads: NF4 in blocks of 64 and quantised twice, for QLoRA alone, without
    DoRA or whole modules, and the adapter's first weights must not depend on the base's. Axolotl refuses the rest.
    """
    if c.get("nf4_backend") != "torchao":
        return
    if not c.get("load_in_4bit") or c.adapter != "qlora" or c.get("load_in_8bit"):
        yield c.at("nf4_backend", "nf4_backend: torchao needs adapter: qlora and load_in_4bit: true")
        return
    kwargs = c.mapping("bnb_config_kwargs")
    wanted = {"bnb_4bit_quant_type": "nf4", "blocksize": 64, "bnb_4bit_use_double_quant": True}
    for key, value in wanted.items():
        if kwargs.get(key, value) != value:
            shown = str(value).lower() if value is True else value
            yield c.at(("bnb_config_kwargs", key), f"nf4_backend: torchao needs {key}: {shown}", f"{key}: {shown}")
    for key in c.any_of("peft_use_dora", "lora_modules_to_save", "deepspeed"):
        yield c.key(key, f"{key} with nf4_backend: torchao", "nf4_backend: bitsandbytes")
    for key in ("tensor_parallel_size", "context_parallel_size", "dp_replicate_size"):
        if (c.get(key) or 1) > 1:
            yield c.key(key, f"{key} with nf4_backend: torchao", "remove it on one GPU")
    if _depends_on_base(c):
        key = "peft_init_lora_weights" if c.has("peft_init_lora_weights") else "peft"
        yield c.key(key, f"{key} with nf4_backend: torchao", "nf4_backend: bitsandbytes")
    fsdp = c.mapping("fsdp_config")
    if fsdp and not (fsdp.get("cpu_ram_efficient_loading") and c.get("qlora_sharded_model_loading") is not False):
        yield c.key("fsdp_config", "nf4_backend: torchao under FSDP needs cpu_ram_efficient_loading: true")


@rule("QL359", "error", since=(0, 20), upstream="AxolotlConfigWCapabilities.check_lora_fp32_gradients")
def fp32_gradients_without_adapter(c: AxolotlConfig) -> Iterator[Hit]:
    """`lora_fp32_gradients` without a LoRA adapter.

    Axolotl refuses it: there are no LoRA gradients.
    """
    if c.get("lora_fp32_gradients") and c.adapter not in ("lora", "qlora", "multilora"):
        yield c.key("lora_fp32_gradients", "lora_fp32_gradients needs a LoRA adapter", "add adapter: qlora")


@rule("QL373", "error", since=(0, 20), upstream="LoraConfig.validate_lora_target_parameters_init")
def first_weights_of_parameters(c: AxolotlConfig) -> Iterator[Hit]:
    """`peft_init_lora_weights` from the base's values, with `lora_target_parameters`.

    PiSSA, OLoRA, LoftQ and their like read the weight of a linear layer, which a parameter is not; Axolotl refuses it.
    """
    if c.get("lora_target_parameters") and _depends_on_base(c):
        key = "peft_init_lora_weights" if c.has("peft_init_lora_weights") else "peft"
        yield c.key(key, f"{key} with lora_target_parameters", "peft_init_lora_weights: gaussian, or remove it")


@rule(
    "QL374", "error", since=(0, 20),
    upstream=(
        "LoraConfig.validate_mixlora",
        "MixLoraConfig.validate_mixlora_top_k",
        "LoRAValidationMixin.check_fused_lora",
    ),
)  # fmt: skip
def mixlora(c: AxolotlConfig) -> Iterator[Hit]:
    """`adapter: mixlora` without what it needs, or a `mixlora_top_k` above `mixlora_num_experts`.

    It needs `lora_r` and `lora_alpha`, and takes no preference training. Of the experts, 8 by default, no more can be
    asked than there are, whatever the adapter.
    """
    asked, experts = c.get("mixlora_top_k", 2), c.get("mixlora_num_experts", 8)
    if asked > experts:
        message = f"mixlora_top_k: {asked} of {experts} experts"
        yield c.at("mixlora_top_k" if c.has("mixlora_top_k") else "mixlora_num_experts", message)
    if c.adapter == "mixlora":
        for key in ("lora_r", "lora_alpha"):
            if not c.get(key):
                yield c.at("adapter", f"adapter: mixlora needs {key}", f"add {key}: 16")
        if c.has("rl"):
            yield c.key("rl", f"rl: {c.get('rl')} with adapter: mixlora", "adapter: lora")


@rule("QL375", "error", since=(0, 20), upstream="CutCrossEntropyArgs.check_c_grad_chunk_size")
def gradient_chunks(c: AxolotlConfig) -> Iterator[Hit]:
    """`cut_cross_entropy_c_grad_chunk_size` that is no multiple of 128, or without `cut_cross_entropy_accum_c_fp32`.

    With the plugin listed Axolotl refuses it.
    """
    size = c.get("cut_cross_entropy_c_grad_chunk_size")
    if not size or not c.lists_plugin(CCE):
        return
    if isinstance(size, int) and (size < 0 or size % 128):
        hint = "a multiple of 128, or auto"
        yield c.at("cut_cross_entropy_c_grad_chunk_size", f"{size} is no multiple of 128", hint)
    elif not c.get("cut_cross_entropy_accum_c_fp32"):
        message = "cut_cross_entropy_c_grad_chunk_size needs cut_cross_entropy_accum_c_fp32: true"
        yield c.key("cut_cross_entropy_c_grad_chunk_size", message, "add cut_cross_entropy_accum_c_fp32: true")


@rule(
    "QL376", "error", since=(0, 20),
    upstream=(
        "ContextParallelArgs.sync_context_parallel_size",
        "ContextParallelConfig._validate",
        "ComplexValidationMixin.check_context_parallel_size",
    ),
)  # fmt: skip
def context_parallel(c: AxolotlConfig) -> Iterator[Hit]:
    """A context-parallel size that is given twice, does not divide, or with an attention that cannot be split.

    Axolotl refuses it. It is for several GPUs: on one, remove it.
    """
    section = c.mapping("context_parallel")
    flat = c.get("context_parallel_size") or c.get("sequence_parallel_degree")
    size = section.get("size") or flat or 1
    if section.get("size") and flat and section["size"] != flat:
        yield c.at(("context_parallel", "size"), f"context_parallel.size: {size} beside {flat}", "keep one of the two")
    for key in ("ulysses_size", "ring_size"):
        part = section.get(key)
        if isinstance(part, int) and isinstance(size, int) and part and size % part:
            yield c.at(("context_parallel", key), f"{key}: {part} does not divide {size}", f"{key}: {size}")
    if isinstance(size, int) and size > 1 and c.attention == "eager" and not c.get("use_glm_dsa_kernels"):
        path = ("attn_implementation",) if c.has("attn_implementation") else ()
        yield c.at(path, "eager attention cannot be split over GPUs", "attn_implementation: sdpa")


@rule("QL377", "error", since=(0, 21), upstream="AxolotlInputConfig.check_label_balanced_packing")
def balanced_labels(c: AxolotlConfig) -> Iterator[Hit]:
    """`balance_labels` where rows cannot be put in another order, or its window without it.

    It sorts rows so that each step has about as many trained tokens; Axolotl refuses what sets the order already.
    """
    if not c.get("balance_labels"):
        if (c.get("label_balance_window_optim_steps") or 1) > 1:
            message = "label_balance_window_optim_steps needs balance_labels: true"
            yield c.key("label_balance_window_optim_steps", message, "add balance_labels: true")
        return
    ordered = ("sample_packing_sequentially", "curriculum_sampling", "diffusion_lm", "rl", "reward_model")
    streams = ("streaming", "pretraining_dataset")
    unpacked = ("group_by_length", *streams) if not c.get("sample_packing") else ()
    windowed = streams if (c.get("label_balance_window_optim_steps") or 1) > 1 else ()
    for key in dict.fromkeys(c.any_of(*ordered, "process_reward_model", *unpacked, *windowed)):
        yield c.key(key, f"{key} with balance_labels", "keep one of the two")
    if c.mapping("accelerator_config").get("split_batches"):
        yield c.at(("accelerator_config", "split_batches"), "split_batches with balance_labels", "split_batches: false")


@rule(
    "QL378", "error", since=(0, 21),
    upstream="ModelCompatibilityValidationMixin.check_torch_compile_regional_with_gradient_checkpointing",
)  # fmt: skip
def regions_checkpointed(c: AxolotlConfig) -> Iterator[Hit]:
    """`torch_compile_regional` with `gradient_checkpointing`.

    What is computed again may run another compiled piece than the first time; Axolotl refuses it.
    """
    if c.get("torch_compile") and c.get("torch_compile_regional") and c.get("gradient_checkpointing"):
        message = "torch_compile_regional with gradient_checkpointing"
        yield c.key("torch_compile_regional", message, "torch_compile_regional: false, or no gradient_checkpointing")


@rule("QL379", "error", since=(0, 21))
def varlen_attention(c: AxolotlConfig) -> Iterator[Hit]:
    """`attn_implementation: varlen` without `diffusion_lm`.

    It is for diffusion models that say so; for any other the run stops when the model's config is read.
    """
    if c.get("attn_implementation") == "varlen" and not c.has("diffusion_lm"):
        yield c.at("attn_implementation", "varlen is for diffusion models only", "attn_implementation: sdpa")


@rule("QL380", "error", since=(0, 21), upstream="DiffusionUnrollConfig._eval_steps_within_k_max")
def diffusion(c: AxolotlConfig) -> Iterator[Hit]:
    """A diffusion model without what it needs.

    `diffusion_lm.from_causal_lm` needs its plugin and `diffusion_decision` a `diffusion_lm`; evaluation unrolls no more
    steps than training. Axolotl stops, some of it not before the model's config is read.
    """
    section = c.mapping("diffusion_lm")
    if section.get("from_causal_lm") and not c.lists_plugin(DIFFUSION):
        yield c.key("diffusion_lm", "diffusion_lm.from_causal_lm needs its plugin", f"add to plugins: {DIFFUSION}")
    if c.has("diffusion_decision") and (not c.has("diffusion_lm") or section.get("from_causal_lm")):
        yield c.key(
            "diffusion_decision", "diffusion_decision needs a diffusion model's diffusion_lm", "add diffusion_lm"
        )
    unroll = section.get("unroll")
    steps, most = (unroll.get("eval_steps"), unroll.get("k_max", 1)) if isinstance(unroll, dict) else (None, 1)
    if isinstance(steps, int) and isinstance(most, int) and steps > most:
        message = f"unroll.eval_steps: {steps} of k_max: {most}"
        yield c.at(("diffusion_lm", "unroll", "eval_steps"), message, f"eval_steps: {most}")
