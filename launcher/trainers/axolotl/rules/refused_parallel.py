"""What Axolotl refuses of several GPUs since it has FSDP 2 alone: what is not launched here is checked too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import AxolotlConfig, rule

IN_8_BIT = ("adamw_8bit", "adamw_bnb_8bit")
SWANLAB = "axolotl.integrations.swanlab.SwanLabPlugin"
KERNELS = "axolotl.integrations.kernels.KernelsPlugin"
# Of the kernels' plugin: text by its type, one of these by its validators (integrations/kernels/args.py).
CHOICES = {
    "dsv4_fp8_nonexpert_mode": ("bf16", "float8tensor"),
    "expert_backend": ("builtin", "eager", "scattermoe", "sonicmoe"),
    "moe_grouped_backend": ("auto", "cutlass", "deepgemm", "marlin"),
    "nonexpert_quantization": ("bf16", "fp8", "fp8_blockwise", "nf4", "none", "nvfp4"),
}


def _of(section: Any, key: str) -> Any:
    """A key of ``fsdp_config`` under its name, or the old one."""
    return section.get(key, section.get(f"fsdp_{key}"))


@rule(
    "QL382", "error", since=(0, 20),
    upstream=(
        "OptimizationValidationMixin.check_fsdp2_w_8bit_optimizer",
        "OptimizationValidationMixin.check_fsdp2_cpu_offload_pin_memory",
        "OptimizationValidationMixin.check_fsdp2_base_model_quant_rl",
        "FSDPConfig.validate_size_based_wrap",
        "DistributedValidationMixin.check_tensor_parallel_optimizer",
        "DistributedValidationMixin.check_tensor_parallel_expert_parallel",
    ),
)  # fmt: skip
def sharded(c: AxolotlConfig) -> Iterator[Hit]:
    """FSDP, or tensors in parts, with what cannot be sharded.

    Axolotl refuses bitsandbytes' AdamW in 8 bit, a quantised base in preference training, and settings of FSDP that
    need another one. It is for several GPUs: on one, remove `fsdp_config`.
    """
    section, shards = c.mapping("fsdp_config"), c.has("fsdp_config")
    parts = (c.get("tensor_parallel_size") or 1) > 1
    refused = (*IN_8_BIT, "paged_adamw_8bit") if parts else IN_8_BIT
    if (shards or parts) and c.get("optimizer") in refused:
        what = "fsdp_config" if shards else "tensor_parallel_size"
        yield c.at("optimizer", f"{c.get('optimizer')} with {what}", "adamw_torch_8bit, or adamw_torch_fused")
    if parts and (c.get("expert_parallel_size") or 1) > 1:
        yield c.key("expert_parallel_size", "expert_parallel_size with tensor_parallel_size", "dp_shard_size")
    if shards and c.get("rl") in ("dpo", "kto", "orpo", "ipo"):
        for key in c.any_of("load_in_8bit", "load_in_4bit"):
            yield c.key(key, f"{key} with rl: {c.get('rl')} and fsdp_config", "deepspeed, or a base in 16 bit")
    if _of(section, "cpu_offload_pin_memory") is False and not _of(section, "offload_params"):
        message = "cpu_offload_pin_memory: false needs offload_params"
        yield c.key("fsdp_config", message, "add offload_params: true")
    if _of(section, "auto_wrap_policy") == "SIZE_BASED_WRAP" and not _of(section, "min_num_params"):
        yield c.key("fsdp_config", "auto_wrap_policy: SIZE_BASED_WRAP needs min_num_params", "add min_num_params")


@rule("QL383", "error", since=(0, 20), upstream="ExpertParallelArgs._validate_topology")
def experts_in_parts(c: AxolotlConfig) -> Iterator[Hit]:
    """`expert_parallel_size` above 1 without `fsdp_config`.

    The experts are kept alike over the GPUs by FSDP 2; Axolotl refuses it without.
    """
    listed = c.schema.get("properties", {}).get("expert_parallel_size", {}).get("x-plugin", "")
    on = listed in c.release.always_on or (listed and c.lists_plugin(listed))
    if on and (c.get("expert_parallel_size") or 1) > 1 and not c.get("fsdp_config"):
        yield c.key("expert_parallel_size", "expert_parallel_size needs fsdp_config", "on one GPU remove it")


@rule("QL384", "error", since=(0, 20))
def choice_of_kernels(c: AxolotlConfig) -> Iterator[Hit]:
    """A choice of the kernels' plugin that it does not have.

    With the plugin listed Axolotl refuses it.
    """
    for key, choices in CHOICES.items() if c.lists_plugin(KERNELS) else ():
        if c.get(key) and c.get(key) not in choices:
            yield c.at(key, f"{key} cannot be {c.get(key)!r}", f"expected {', '.join(choices[:-1])} or {choices[-1]}")


@rule("QL385", "error", since=(0, 19))
def swanlab_without_project(c: AxolotlConfig) -> Iterator[Hit]:
    """SwanLab's plugin without `swanlab_project`.

    It is on when it is listed; Axolotl refuses it without a project.
    """
    if c.lists_plugin(SWANLAB) and c.get("use_swanlab") is not False and not c.get("swanlab_project"):
        yield c.key(
            "plugins", "SwanLab needs swanlab_project", "add swanlab_project: my-project, or use_swanlab: false"
        )
