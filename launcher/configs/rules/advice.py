"""What no trainer says of a setting that all of them have."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.rules.base import TRAINING, Config, Hit, rule

# Learning rates of published LoRA and QLoRA recipes, with a factor of 10 to both sides: QLoRA's paper has 1e-4 and
# 2e-4 (table 9), litgpt's and torchtune's recipes 2e-4 and 3e-4.
LEARNING_RATES = (1e-5, 3e-3)


@rule("QL706", "warning", kinds=(TRAINING,))
def learning_rate_far_off(c: Config) -> Iterator[Hit]:
    """A learning rate far from any LoRA recipe.

    Published recipes have 1e-4 to 3e-4; a factor of ten beyond that trains nothing or diverges.
    """
    rate = c.get("learning_rate")
    low, high = LEARNING_RATES
    if c.trains_adapter and isinstance(rate, int | float) and rate > 0 and not low <= rate <= high:
        yield c.at("learning_rate", f"learning_rate: {rate:g} is far from LoRA recipes", "2e-4 is a common start")


@rule("QL707", "warning", kinds=(TRAINING,))
def sequence_over_context(c: Config) -> Iterator[Hit]:
    """`sequence_len` over the model's context.

    The model has never seen positions so far out; what comes after its context is trained badly.
    """
    limit, length = c.architecture.max_position_embeddings, c.get("sequence_len")
    if limit and isinstance(length, int) and length > limit and not c.mapping("model_config").get("rope_scaling"):
        message = f"sequence_len: {length} is over the model's {limit} ({c.architecture.source})"
        yield c.at("sequence_len", message, f"at most {limit}")


@rule("QL708", "error", kinds=(TRAINING,))
def target_not_in_model(c: Config) -> Iterator[Hit]:
    """A LoRA target that the architecture does not have.

    PEFT skips names that match nothing as long as one matches: that layer is not trained, and nobody says so. If none
    matches, the run stops.
    """
    modules = c.architecture.linear_modules
    targets = c.get("lora_target_modules")
    if not modules or not isinstance(targets, list):
        return
    known = {*modules, "lm_head", "embed_tokens"}
    for index, target in enumerate(targets):
        if isinstance(target, str) and target.isidentifier() and target not in known:
            message = f"{target} is not in {c.architecture.model_type} ({c.architecture.source})"
            yield c.at(("lora_target_modules", index), message, "it has " + ", ".join(modules))
