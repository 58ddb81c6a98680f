"""Values that have the right type and cannot work."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import AxolotlConfig, rule

# key: (lowest, whether it may be that, highest, whether it may be that); None is unbounded
Bounds = tuple[float | None, bool, float | None, bool]
BOUNDS: dict[str, Bounds] = {
    "lora_r": (0, False, None, True),
    "lora_alpha": (0, False, None, True),
    "lora_dropout": (0, True, 1, False),
    "micro_batch_size": (0, False, None, True),
    "eval_batch_size": (0, False, None, True),
    "gradient_accumulation_steps": (0, False, None, True),
    "batch_size": (0, False, None, True),
    "sequence_len": (0, False, None, True),
    "learning_rate": (0, False, None, True),
    "warmup_ratio": (0, True, 1, False),
    "warmup_steps": (0, True, None, True),
    "weight_decay": (0, True, None, True),
    "max_grad_norm": (0, True, None, True),
    "val_set_size": (0, True, None, True),
    "early_stopping_patience": (0, False, None, True),
    "save_total_limit": (0, False, None, True),
    "logging_steps": (0, False, None, True),
    "evals_per_epoch": (0, True, None, True),
    "saves_per_epoch": (0, True, None, True),
    "eval_steps": (0, True, None, True),
    "save_steps": (0, True, None, True),
    "cosine_min_lr_ratio": (0, True, 1, True),
}


@rule("QL115", "error")
def value_out_of_bounds(c: AxolotlConfig) -> Iterator[Hit]:
    """A number outside of what the key can mean.

    Axolotl's types let it pass: a rank of 0, a dropout of 1 or a negative step count. It fails after the model is
    loaded, or trains nothing.
    """
    for key, (low, low_ok, high, high_ok) in BOUNDS.items():
        value = c.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        too_low = low is not None and (value < low or (value == low and not low_ok))
        too_high = high is not None and (value > high or (value == high and not high_ok))
        if too_low or too_high:
            lower = "" if low is None else f"at least {low}" if low_ok else f"above {low}"
            upper = "" if high is None else f"at most {high}" if high_ok else f"below {high}"
            yield c.at(key, f"{key} cannot be {value}", " and ".join(part for part in (lower, upper) if part))


@rule("QL116", "error")
def no_epochs(c: AxolotlConfig) -> Iterator[Hit]:
    """`num_epochs` of 0 or less without `max_steps`.

    Axolotl takes it; the run loads the model and trains nothing, or divides by zero for `saves_per_epoch`.
    """
    epochs = c.get("num_epochs", 1)
    if epochs <= 0 and (c.any_of("saves_per_epoch", "evals_per_epoch") or not c.get("max_steps")):
        yield c.at("num_epochs", f"num_epochs: {epochs:g} trains nothing", "at least one epoch, or max_steps")


@rule("QL117", "error")
def whole_data_set_held_out(c: AxolotlConfig) -> Iterator[Hit]:
    """`val_set_size: 1`.

    Above 1 Axolotl takes it as a number of rows, up to 1 as a share: exactly 1 holds out everything and leaves
    nothing to train on.
    """
    if c.get("val_set_size") == 1:
        yield c.at("val_set_size", "val_set_size: 1 holds out all rows", "a share such as 0.05, or 2 rows and more")


@rule("QL118", "warning")
def share_looks_like_percent(c: AxolotlConfig) -> Iterator[Hit]:
    """`val_set_size` between 1 and 50.

    Above 1 it is a number of rows, not a percentage: `val_set_size: 5` evaluates on five rows.
    """
    size = c.get("val_set_size", 0)
    if 1 < size < 50:
        hint = f"{size / 100:g} is {size:g} %"
        yield c.at("val_set_size", f"val_set_size: {size:g} is {int(size)} rows, not a percentage", hint)


@rule("QL119", "error", upstream="ComplexValidationMixin.validate_neftune_noise_alpha")
def neftune_alpha(c: AxolotlConfig) -> Iterator[Hit]:
    """`neftune_noise_alpha` of 0 or less.

    Axolotl refuses it; without noise, leave the key out.
    """
    alpha = c.get("neftune_noise_alpha")
    if alpha is not None and alpha <= 0:
        yield c.at("neftune_noise_alpha", f"neftune_noise_alpha cannot be {alpha:g}", "above 0, or remove it")


@rule("QL120", "error", upstream="ModelOutputConfig.validate_save_safetensors")
def not_safetensors(c: AxolotlConfig) -> Iterator[Hit]:
    """`save_safetensors: false`.

    Axolotl refuses it: transformers 5 writes safetensors only.
    """
    if c.get("save_safetensors") is False:
        yield c.at("save_safetensors", "save_safetensors: false is no longer possible", "remove it")


@rule("QL121", "error", upstream="AxolotlInputConfig.check_lora_target_modules_regex")
def target_is_no_regex(c: AxolotlConfig) -> Iterator[Hit]:
    """An entry of `lora_target_modules` that is not a regular expression.

    Axolotl compiles each entry and refuses the file.
    """
    import re

    targets = c.get("lora_target_modules")
    for index, pattern in enumerate(targets if isinstance(targets, list) else ()):
        try:
            re.compile(pattern)
        except re.error as error:
            yield c.at(("lora_target_modules", index), f"{pattern!r} is not a regular expression: {error}")


@rule("QL122", "error", upstream="AxolotlInputConfig.validate_torch_compile_options")
def compile_option_not_allowed(c: AxolotlConfig) -> Iterator[Hit]:
    """An entry of `torch_compile_options` that Axolotl does not pass on.

    Axolotl keeps a short list of inductor settings and refuses the others.
    """
    allowed = {
        "coordinate_descent_tuning",
        "coordinate_descent_check_all_directions",
        "shape_padding",
        "epilogue_fusion",
        "max_autotune_gemm",
        "fx_graph_cache",
        "assume_aligned_inputs",
        "comprehensive_padding",
        "decompose_mem_bound_mm",
        "triton.cudagraphs",
    }
    for key in c.mapping("torch_compile_options"):
        if key not in allowed:
            yield c.key(("torch_compile_options", key), f"{key} is refused", "one of " + ", ".join(sorted(allowed)))


@rule("QL123", "error", upstream="ModelInputConfig.reject_reserved_processor_kwargs")
def reserved_processor_key(c: AxolotlConfig) -> Iterator[Hit]:
    """`revision` or `trust_remote_code` in `processor_kwargs`.

    Axolotl refuses them there: they have keys of their own.
    """
    for key, instead in (("revision", "revision_of_model"), ("trust_remote_code", "trust_remote_code")):
        if key in c.mapping("processor_kwargs"):
            yield c.key(("processor_kwargs", key), f"{key} cannot stand here", f"at the top level: {instead}")
