"""`selective_checkpointing`: what it may save, and what the LoRA kernels leave of that."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from launcher.rules.base import Hit, KeyPath
from launcher.trainers.axolotl.config import AxolotlConfig, rule
from launcher.trainers.axolotl.rules.kernels import KERNELS

PRODUCTS = ("aten::mm", "aten::addmm", "aten::matmul", "aten::bmm")
SECTION = "selective_checkpointing"
# Modules whose forward a kernel replaces, by the last part of their name (utils/schemas/validation.py of 0.20).
_MLP = ("gate_proj", "up_proj", "down_proj", "mlp")
REPLACED = {
    "lora_mlp_kernel": (
        *_MLP, "mixer", "shared_experts", "shared_expert", "feedforward", "experts", "gate_projs", "up_projs",
        "down_projs",
    ),
    "lora_qkv_kernel": (
        "q_proj", "k_proj", "v_proj", "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "self_attn", "linear_attn",
        "mixer",
    ),
    "lora_o_kernel": ("o_proj", "out_proj", "self_attn", "linear_attn", "mixer"),
    "flash_attn_fuse_mlp": _MLP,
}  # fmt: skip
# What holds whole layers, and with them every projection; a number is a layer too.
CONTAINERS = (
    "model", "language_model", "text_model", "decoder", "transformer", "backbone", "layers", "layer", "h", "blocks",
    "block",
)  # fmt: skip


@rule("QL326", "error", upstream="ModelCompatibilityValidationMixin.check_selective_checkpointing", since=(0, 18))
def selective_checkpointing(c: AxolotlConfig) -> Iterator[Hit]:
    """`selective_checkpointing` where it cannot work.

    It needs `gradient_checkpointing` that is not reentrant, no other activation offloading than `hidden_states`,
    and no saved matrix products that an adapter is added to in place: before 0.20 those of any adapter, since then
    those of the LoRA kernels. A module whose forward a kernel replaces cannot be named in `save_modules`.
    """
    chosen = c.get(SECTION)
    if not chosen:
        return
    if not c.get("gradient_checkpointing"):
        yield c.key(SECTION, f"{SECTION} needs gradient_checkpointing", "add gradient_checkpointing: true")
        return
    if c.mapping("gradient_checkpointing_kwargs").get("use_reentrant"):
        path = ("gradient_checkpointing_kwargs", "use_reentrant")
        yield c.at(path, f"{SECTION} needs use_reentrant: false", "use_reentrant: false")
    elif c.get("activation_offloading") and c.get("activation_offloading") != "hidden_states":
        yield c.at("activation_offloading", f"not together with {SECTION}", "hidden_states, or false")
    elif isinstance(chosen, dict):
        yield from _saved(c, chosen)


def _saved(c: AxolotlConfig, chosen: dict[str, object]) -> Iterator[Hit]:
    by_kernels = c.version >= (0, 20)
    running = [key for key in KERNELS if c.runs_kernel(key)]
    off = ", ".join(f"{key}: false" for key in running)
    if running if by_kernels else c.adapter:
        who, hint = ("while a LoRA kernel runs", f"save: [attention], or {off}") if by_kernels else (
            "under an adapter", "save: [attention]",
        )  # fmt: skip
        for path, saved in _items(chosen, "save"):
            if saved != "attention" and any(saved in name for name in PRODUCTS):
                yield c.at(path, f"{saved} cannot be saved {who}", hint)
        if chosen.get("save_matmul_min_k"):
            yield c.at((SECTION, "save_matmul_min_k"), f"products cannot be saved {who}", off)
    for path, module in _items(chosen, "save_modules"):
        if not module.strip():
            yield c.at(path, "a module without a name", "the last part of its name, such as router")
        kernel = next((key for key in REPLACED if _is_on(c, key) and _is_run_by(module, key)), None)
        if kernel:
            yield c.at(path, f"{module} is run by {kernel}: what it saves is never asked for", f"{kernel}: false")


def _items(chosen: dict[str, object], key: str) -> Iterator[tuple[KeyPath, str]]:
    value = chosen.get(key)
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, str):
            yield (SECTION, key, index), item


def _is_on(c: AxolotlConfig, key: str) -> bool:
    return c.runs_kernel(key) if key in KERNELS else bool(c.get(key))


def _is_run_by(module: str, key: str) -> bool:
    """Whether the kernel replaces that module, or one inside of it; the name may end in a pattern."""
    last = module.strip().rpartition(".")[2]
    containers = (*CONTAINERS, *map(str, range(100))) if key in KERNELS else ()
    if not any(letter in last for letter in "*?["):
        return last in REPLACED[key] or last in containers or (bool(containers) and last.isdigit())
    return any(fnmatchcase(name, last) for name in (*REPLACED[key], *containers))
