"""Batches, steps, evaluations and checkpoints: what contradicts itself, and what never happens."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import AxolotlConfig, rule


def eval_strategy(c: AxolotlConfig) -> str | None:
    """``eval_strategy``, or its old name: Axolotl copies one to the other before it looks."""
    strategy: str | None = c.get("eval_strategy") or c.get("evaluation_strategy")
    return strategy


@rule("QL312", "error", upstream="TrainingValidationMixin.check_evals")
def evaluation_of_no_rows(c: AxolotlConfig) -> Iterator[Hit]:
    """`eval_steps` or `eval_strategy` with `val_set_size: 0`.

    Axolotl refuses to evaluate on no rows.
    """
    asked = c.get("eval_steps") or eval_strategy(c)
    if c.get("val_set_size") == 0 and asked and not c.get("test_datasets") and eval_strategy(c) != "no":
        yield c.at("val_set_size", "val_set_size: 0 with an evaluation", "val_set_size: 0.05, or eval_strategy: 'no'")


@rule("QL313", "error", upstream="TrainingValidationMixin.check_evals")
def eval_strategy_contradicts(c: AxolotlConfig) -> Iterator[Hit]:
    """`eval_strategy` other than steps beside `eval_steps` or `evals_per_epoch`.

    Both count in steps; Axolotl refuses the contradiction.
    """
    strategy = eval_strategy(c)
    for key in c.any_of("eval_steps", "evals_per_epoch") if strategy and strategy != "steps" else ():
        yield c.key(key, f"{key} with eval_strategy: {strategy}", "eval_strategy: steps, or remove it")


@rule("QL314", "error", upstream="TrainingValidationMixin.check_evals")
def two_eval_cadences(c: AxolotlConfig) -> Iterator[Hit]:
    """`eval_steps` beside `evals_per_epoch`.

    Axolotl refuses two cadences.
    """
    if c.get("evals_per_epoch") and c.get("eval_steps"):
        yield c.key("eval_steps", "eval_steps beside evals_per_epoch", "keep one of the two")


@rule("QL315", "error", upstream="TrainingValidationMixin.check_evals")
def bench_without_cadence(c: AxolotlConfig) -> Iterator[Hit]:
    """`do_bench_eval` without a cadence.

    Axolotl refuses it: it would never run.
    """
    if c.get("do_bench_eval") and not c.any_of("evals_per_epoch", "eval_steps"):
        yield c.key("do_bench_eval", "do_bench_eval needs evals_per_epoch or eval_steps", "add evals_per_epoch: 4")


@rule("QL316", "error", upstream="TrainingValidationMixin.check_saves")
def save_strategy_contradicts(c: AxolotlConfig) -> Iterator[Hit]:
    """`save_strategy` other than steps beside `save_steps`.

    Axolotl refuses the contradiction.
    """
    if c.get("save_steps") and c.get("save_strategy", "steps") != "steps":
        yield c.key("save_steps", f"save_steps with save_strategy: {c.get('save_strategy')}", "save_strategy: steps")


@rule("QL317", "error", upstream="TrainingValidationMixin.check_saves")
def two_save_cadences(c: AxolotlConfig) -> Iterator[Hit]:
    """`save_steps` beside `saves_per_epoch`.

    Axolotl refuses two cadences.
    """
    if c.get("saves_per_epoch") and c.get("save_steps"):
        yield c.key("save_steps", "save_steps beside saves_per_epoch", "keep one of the two")


@rule("QL318", "error", upstream="AxolotlInputConfig.check_save_strategy_best_requires_metric")
def best_without_metric(c: AxolotlConfig) -> Iterator[Hit]:
    """`save_strategy: best` without `metric_for_best_model`.

    Axolotl refuses it: best by what?
    """
    if c.get("save_strategy") == "best" and not c.get("metric_for_best_model"):
        message = "save_strategy: best needs metric_for_best_model"
        yield c.at("save_strategy", message, "add metric_for_best_model: eval_loss")


@rule("QL319", "error", upstream="ComplexValidationMixin.check_early_stopping")
def early_stopping(c: AxolotlConfig) -> Iterator[Hit]:
    """`early_stopping_patience` without `eval_steps` that divide `save_steps`.

    Early stopping goes back to a checkpoint of the best evaluation, so each checkpoint needs one. Axolotl refuses the
    per-epoch forms here: write both as the same share, such as 0.05.
    """
    if not c.get("early_stopping_patience"):
        return
    save, evaluate = c.get("save_steps"), c.get("eval_steps")
    if not save or not evaluate:
        hint = "add eval_steps: 0.05 and save_steps: 0.05"
        yield c.key("early_stopping_patience", "early_stopping_patience needs eval_steps and save_steps", hint)
    elif save % evaluate != 0:  # the trainer computes it so, in floating point
        yield c.at("save_steps", f"save_steps: {save:g} is no multiple of eval_steps: {evaluate:g}", "make them equal")


@rule("QL360", "error", upstream="TrainingValidationMixin.check_gas_bsz")
def two_batch_sizes(c: AxolotlConfig) -> Iterator[Hit]:
    """`batch_size` beside `gradient_accumulation_steps`.

    Each follows from the other and `micro_batch_size`; Axolotl refuses both.
    """
    if c.get("batch_size") and c.get("gradient_accumulation_steps"):
        yield c.key("batch_size", "batch_size beside gradient_accumulation_steps", "remove batch_size")


@rule("QL361", "error", upstream="TrainingValidationMixin.check_batch_size_fields", since=(0, 19))
def batch_size_alone(c: AxolotlConfig) -> Iterator[Hit]:
    """`batch_size` without `micro_batch_size`.

    Axolotl refuses it: rows per step do not say how many fit at once.
    """
    if c.get("batch_size") and not c.any_of("micro_batch_size", "gradient_accumulation_steps"):
        yield c.key("batch_size", "batch_size needs micro_batch_size", "add micro_batch_size: 1")


@rule("QL362", "error", until=(0, 18))
def fewer_than_two_batch_sizes(c: AxolotlConfig) -> Iterator[Hit]:
    """Fewer than two of `micro_batch_size`, `gradient_accumulation_steps` and `batch_size`.

    Axolotl before 0.19 refuses the file; 0.19 has defaults of 1.
    """
    sizes = c.any_of("micro_batch_size", "gradient_accumulation_steps", "batch_size")
    if len(sizes) < 2:
        hint = "add micro_batch_size: 1 and gradient_accumulation_steps: 16"
        yield c.key(tuple(sizes[:1]), "micro_batch_size and gradient_accumulation_steps must both be set", hint)


@rule("QL363", "error")
def batch_not_a_multiple(c: AxolotlConfig) -> Iterator[Hit]:
    """`batch_size` that `micro_batch_size` does not divide.

    Axolotl divides and drops the rest: the step has fewer rows than the file says.
    """
    batch, micro = c.get("batch_size"), c.get("micro_batch_size")
    if batch and micro and micro > 0 and batch % micro and not c.get("gradient_accumulation_steps"):
        message = f"batch_size: {batch} is no multiple of micro_batch_size: {micro}; {batch // micro * micro} are used"
        yield c.at("batch_size", message, f"gradient_accumulation_steps: {max(1, batch // micro)}")


@rule("QL364", "error", upstream="TrainingValidationMixin.check_warmup")
def two_warmups(c: AxolotlConfig) -> Iterator[Hit]:
    """`warmup_steps` beside `warmup_ratio`.

    Axolotl refuses two.
    """
    if c.get("warmup_steps") and c.get("warmup_ratio"):
        yield c.key("warmup_ratio", "warmup_ratio beside warmup_steps", "keep one of the two")


@rule("QL365", "error")
def never_evaluates(c: AxolotlConfig) -> Iterator[Hit]:
    """`evals_per_epoch` × `num_epochs` of 1 or less.

    Axolotl turns the pair into a share of all steps and uses it only below 1. With one evaluation in one epoch the
    share is 1: nothing is set, and the run never evaluates. Nothing is said for exactly 1.
    """
    evals, epochs = c.get("evals_per_epoch"), c.get("num_epochs", 1)
    if evals and epochs and c.has_eval_set and 0 < evals * epochs <= 1:
        message = f"evals_per_epoch: {evals} in num_epochs: {epochs:g} never evaluates"
        yield c.at("evals_per_epoch", message, "evals_per_epoch: 4, or eval_strategy: epoch")


@rule("QL366", "error")
def checkpoints_ignored(c: AxolotlConfig) -> Iterator[Hit]:
    """`saves_per_epoch` × `num_epochs` of less than 1.

    Axolotl cannot save less than once in a run and falls back to one checkpoint per epoch.
    """
    saves, epochs = c.get("saves_per_epoch"), c.get("num_epochs", 1)
    if saves and epochs and 0 < saves * epochs < 1:
        message = f"saves_per_epoch: {saves} in num_epochs: {epochs:g} is ignored"
        yield c.at("saves_per_epoch", message, "save_strategy: epoch")


@rule("QL367", "error")
def best_model_not_loaded(c: AxolotlConfig) -> Iterator[Hit]:
    """`load_best_model_at_end: true` without matching `eval_steps` and `save_steps`.

    Axolotl loads the best checkpoint only when both are set (or follow from the per-epoch forms) and the first
    divides the second. Otherwise it ships the last one without a word.
    """
    if not c.get("load_best_model_at_end") or not c.has_eval_set:
        return
    epochs = c.get("num_epochs", 1) or 1
    steps = []
    for key, per_epoch in (("save_steps", "saves_per_epoch"), ("eval_steps", "evals_per_epoch")):
        count = c.get(per_epoch)
        share = 1.0 / (count * epochs) if count and epochs > 0 else None
        steps.append(c.get(key) or (share if share and share < 1 else None))
    save, evaluate = steps
    if not save or not evaluate or save % evaluate != 0:
        hint = "eval_steps: 0.05 and save_steps: 0.05"
        yield c.at("load_best_model_at_end", "the best checkpoint will not be loaded", hint)


@rule("QL368", "warning")
def warmup_longer_than_run(c: AxolotlConfig) -> Iterator[Hit]:
    """`warmup_steps` that reach the end of the run.

    The learning rate never gets to its peak.
    """
    warmup, steps = c.get("warmup_steps"), c.get("max_steps")
    if warmup and steps and steps > 0 and warmup >= steps:
        message = f"warmup_steps: {warmup:g} of max_steps: {steps}: the run ends in its warm-up"
        yield c.at("warmup_steps", message, f"warmup_steps: {max(1, steps // 20)}")


@rule("QL369", "warning")
def held_out_and_not_evaluated(c: AxolotlConfig) -> Iterator[Hit]:
    """An evaluation set without a cadence.

    Axolotl holds the rows out of training and never looks at them: `eval_strategy` is no by default.
    """
    cadence = c.any_of("evals_per_epoch", "eval_steps", "eval_strategy", "evaluation_strategy")
    if c.has_eval_set and not cadence and not c.get("rl"):
        key = "val_set_size" if c.get("val_set_size") else "test_datasets"
        yield c.key(key, f"{key} without a cadence is never evaluated", "add evals_per_epoch: 4")


@rule("QL370", "warning")
def small_effective_batch(c: AxolotlConfig) -> Iterator[Hit]:
    """`micro_batch_size` × `gradient_accumulation_steps` below 4 without packing.

    Single rows make noisy gradients; the recipes here use 16 rows per step. Accumulation costs no memory.
    """
    micro, accumulation = c.get("micro_batch_size", 1), c.get("gradient_accumulation_steps", 1)
    if c.is_lora and not c.get("batch_size") and not c.get("sample_packing") and 0 < micro * accumulation < 4:
        key = "gradient_accumulation_steps" if c.has("gradient_accumulation_steps") else "micro_batch_size"
        rows = micro * accumulation
        message = f"{rows} {'row' if rows == 1 else 'rows'} per optimizer step"
        hint = f"gradient_accumulation_steps: {max(1, 16 // micro)}"
        yield c.at(key, message, hint)


@rule("QL371", "note")
def eval_batch_left_to_default(c: AxolotlConfig) -> Iterator[Hit]:
    """`eval_batch_size` is not set.

    Axolotl evaluates with `micro_batch_size` rows. Evaluation keeps whole logits, and can run out of memory where
    training fits: pin it.
    """
    if c.has_eval_set and not c.has("eval_batch_size"):
        key = "val_set_size" if c.get("val_set_size") else "test_datasets"
        yield c.key(key, "eval_batch_size is left to its default", f"eval_batch_size: {c.get('micro_batch_size', 1)}")


@rule("QL372", "note", upstream="TrainingValidationMixin.hint_eval_train_mbsz")
def eval_batch_differs(c: AxolotlConfig) -> Iterator[Hit]:
    """`eval_batch_size` differs from `micro_batch_size`.

    Axolotl warns that memory use becomes uneven. A smaller one is safe.
    """
    evaluation, micro = c.get("eval_batch_size"), c.get("micro_batch_size")
    if evaluation and micro and evaluation > micro:
        yield c.at("eval_batch_size", f"eval_batch_size: {evaluation} beside micro_batch_size: {micro}", f"{micro}")
