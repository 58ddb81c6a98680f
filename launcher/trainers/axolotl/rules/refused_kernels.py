"""What Axolotl refuses of fused losses, attention and compilation."""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import AxolotlConfig, rule

MPT = re.compile(r"(?<![a-z])mpt(?![a-z])", re.IGNORECASE)  # the model's name, and not a part of "prompt"


@rule("QL327", "error", upstream="OptimizationValidationMixin.check_cross_entropy_conflicts")
def two_cross_entropies(c: AxolotlConfig) -> Iterator[Hit]:
    """More than one fused cross entropy.

    Each replaces the loss; Axolotl refuses two.
    """
    losses = c.any_of(
        "cut_cross_entropy", "chunked_cross_entropy", "liger_cross_entropy", "liger_fused_linear_cross_entropy"
    )
    for key in losses[1:]:
        yield c.key(key, f"{key} beside {losses[0]}", "keep one of the two")


@rule("QL328", "error", upstream=("CutCrossEntropyArgs.check_dtype_is_half",))
def cut_cross_entropy_in_fp32(c: AxolotlConfig) -> Iterator[Hit]:
    """`cut_cross_entropy` without `bf16` or `fp16`.

    Its backward pass exists in 16 bit only; with its plugin listed Axolotl refuses it.
    """
    listed = any("cut_cross_entropy" in str(plugin) for plugin in c.get("plugins") or ())
    if listed and c.get("cut_cross_entropy") and not c.any_of("bf16", "fp16"):
        yield c.key("cut_cross_entropy", "cut_cross_entropy needs bf16 or fp16", "add bf16: true, or fp16: true")


@rule("QL329", "error", upstream=("CutCrossEntropyArgs.check_chunked_cross_entropy_not_set",))
def chunked_with_cce_plugin(c: AxolotlConfig) -> Iterator[Hit]:
    """`chunked_cross_entropy` with the cut-cross-entropy plugin listed.

    The plugin switches its loss on by default, and Axolotl refuses the second.
    """
    listed = any("cut_cross_entropy" in str(plugin) for plugin in c.get("plugins") or ())
    if listed and c.get("chunked_cross_entropy") and not c.get("cut_cross_entropy"):
        yield c.key("chunked_cross_entropy", "chunked_cross_entropy beside the CutCrossEntropy plugin", "remove one")


@rule("QL330", "error", upstream="LigerArgs.check_deprecated_swiglu")
def swiglu_twice(c: AxolotlConfig) -> Iterator[Hit]:
    """`liger_swiglu` beside `liger_glu_activation`.

    The first is the old name of the second; Axolotl refuses both at once.
    """
    if _liger(c) and c.has("liger_swiglu") and c.has("liger_glu_activation"):
        yield c.key("liger_swiglu", "liger_swiglu beside liger_glu_activation", "remove liger_swiglu")


@rule("QL331", "error", upstream="LigerArgs.check_liger_use_token_scaling_flce")
def token_scaling_without_loss(c: AxolotlConfig) -> Iterator[Hit]:
    """`liger_use_token_scaling` without `liger_fused_linear_cross_entropy`.

    It scales that loss; Axolotl refuses it alone.
    """
    if _liger(c) and c.get("liger_use_token_scaling") and not c.get("liger_fused_linear_cross_entropy"):
        message = "liger_use_token_scaling needs liger_fused_linear_cross_entropy"
        yield c.key("liger_use_token_scaling", message, "add liger_fused_linear_cross_entropy: true")


@rule("QL332", "error", upstream="LigerArgs.check_tiled_mlp_conflict")
def tiled_mlp_with_liger(c: AxolotlConfig) -> Iterator[Hit]:
    """`tiled_mlp` with Liger's GLU.

    Both replace the MLP; Axolotl refuses it unless `tiled_mlp_use_original_mlp` is true.
    """
    both = c.get("liger_glu_activation") is True and c.get("tiled_mlp") is True
    if _liger(c) and both and not c.get("tiled_mlp_use_original_mlp"):
        yield c.key("tiled_mlp", "tiled_mlp with liger_glu_activation", "add tiled_mlp_use_original_mlp: true")


def _liger(c: AxolotlConfig) -> bool:
    return any("integrations.liger" in str(plugin) for plugin in c.get("plugins") or ())


@rule("QL333", "error", upstream="AttentionValidationMixin.check_scaling_softmax_requires_flex")
def scaling_softmax_without_flex(c: AxolotlConfig) -> Iterator[Hit]:
    """`scaling_softmax` without flex attention.

    Only that kernel can scale the softmax; Axolotl refuses others.
    """
    if c.get("scaling_softmax") and c.attention != "flex_attention":
        yield c.key("scaling_softmax", "scaling_softmax needs attn_implementation: flex_attention")


@rule("QL334", "error", upstream="AxolotlInputConfig.normalize_attn_implementation")
def gemma4_hybrid_without_flash(c: AxolotlConfig) -> Iterator[Hit]:
    """`gemma4_hybrid_attn_impl` with another kernel than FlashAttention 2.

    Its sliding-window layers run under FlashAttention 2; Axolotl refuses others.
    """
    chosen = c.get("attn_implementation")
    if c.get("gemma4_hybrid_attn_impl") and chosen and chosen != "flash_attention_2":
        yield c.at("attn_implementation", f"gemma4_hybrid_attn_impl with {chosen}", "flash_attention_2")


@rule("QL335", "error", upstream="OptimizationValidationMixin.check_batch_flattening_fa")
def flattening_without_varlen(c: AxolotlConfig) -> Iterator[Hit]:
    """`batch_flattening: true` without an attention for rows of different lengths, or with packing.

    Axolotl refuses both; `auto` switches itself off instead.
    """
    if c.get("batch_flattening") is not True:
        return
    if not c.attention_packs and c.attention != "varlen":
        yield c.key("batch_flattening", "batch_flattening needs a varlen attention", "flash_attention_2, or auto")
    elif c.get("sample_packing"):
        yield c.key("batch_flattening", "batch_flattening with sample_packing", "keep one of the two")


@rule("QL336", "error", upstream="ModelCompatibilityValidationMixin.check_better_transformers")
def better_transformer_in_16bit(c: AxolotlConfig) -> Iterator[Hit]:
    """`flash_optimum` with `bf16` or `fp16`.

    BetterTransformer has no mixed precision; Axolotl refuses it.
    """
    if c.get("flash_optimum") is True and c.any_of("fp16", "bf16"):
        yield c.key("flash_optimum", "flash_optimum cannot be used with bf16 or fp16", "remove it")


@rule("QL337", "error", upstream="ModelCompatibilityValidationMixin.check_mpt_checkpointing")
def mpt_checkpointing(c: AxolotlConfig) -> Iterator[Hit]:
    """`gradient_checkpointing` with an MPT model.

    Axolotl refuses it for every base_model with "mpt" anywhere in it: for a folder such as `prompts/my-base` too.
    """
    if "mpt" not in c.base_model.lower() or not c.get("gradient_checkpointing"):
        return
    if MPT.search(c.base_model):
        yield c.key("gradient_checkpointing", "gradient_checkpointing is not supported for MPT models", "false")
    else:
        yield c.key(
            "base_model",
            f'Axolotl takes every base_model with "mpt" in it for MPT, which it gives no checkpointing: {c.base_model}',
            'a path without "mpt" (a link will do), Unsloth as trainer, or gradient_checkpointing: false',
        )


@rule("QL338", "error", upstream="AxolotlInputConfig.check_torch_compile_options_requires_compile", since=(0, 18))
def compile_options_without_compile(c: AxolotlConfig) -> Iterator[Hit]:
    """`torch_compile_options` without `torch_compile`.

    Axolotl refuses options of something that is off.
    """
    if c.has("torch_compile_options") and not c.get("torch_compile"):
        yield c.key("torch_compile_options", "torch_compile_options needs torch_compile", "add torch_compile: true")
