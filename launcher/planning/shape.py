"""How a job is cut to its card: the solver's choices put to the memory and speed models, and their reasons in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.errors import Problem
from launcher.planning.estimate import (
    estimate_values_memory,
    evaluates,
    known_lengths,
    rows_per_pack,
    values_speed,
)
from launcher.planning.length import LengthChoice
from launcher.planning.request import Request
from launcher.planning.settings import Layers
from launcher.sizing import (
    BatchSolution,
    MemoryEstimate,
    RowLengths,
    Shape,
    TriedShape,
    divisors,
    solve_batch,
)
from launcher.trainers import Trainer

# Packing must train this much faster to be chosen unasked: it changes how rows are grouped, and two rows share a step.
PACKING_GAIN = 1.10
# Fewer packed sequences than this in an epoch and a few of them decide a step: then rows stay on their own.
LEAST_PACKS = 40
# A step takes whole packed sequences. From this many on, rounding changes its rows by no more than a third.
LEAST_PACKS_PER_STEP = 0.75


@dataclass(frozen=True)
class Freedom:
    """What the solver may choose between: the values that nobody has fixed."""

    batches: dict[bool, list[int]]  # by packing: micro-batches that accumulation can bring to the effective batch
    effective: dict[bool, int]  # by packing: sequences per optimizer step
    recompute: list[tuple[bool, bool]]  # gradient checkpointing, activation offload
    kernels: list[tuple[str, ...]]

    def shapes(self, sequence_len: int) -> Iterator[Shape]:
        for packing, sizes in self.batches.items():
            for kernels in self.kernels:
                for checkpointing, offload in self.recompute:
                    for size in sizes:
                        yield Shape(size, checkpointing, offload, packing, kernels, sequence_len)


def decide_shape(
    request: Request, layers: Layers, trainer: Trainer, to_try: Sequence[LengthChoice], problems: list[Problem]
) -> None:
    """Decide sequence length, micro-batch, accumulation, checkpointing, offload, packing and the evaluation's batch.

    Of the lengths ``to_try`` the first that fits is taken; where none does, the first.
    """
    lengths = known_lengths(request, layers["excess_length"])
    effective_rows = _effective(layers, problems)
    if effective_rows is None:
        layers.decide("sequence_len", to_try[0].tokens, to_try[0].reason)
        return
    found: dict[LengthChoice, tuple[Freedom, BatchSolution]] = {}
    for length in to_try:
        freedom = _freedom(request, layers, trainer, lengths, effective_rows, length.tokens)
        solution = solve_batch(freedom.shapes(length.tokens), lambda shape: _measure(shape, request, layers))
        solution = _rows_alone_unless_packing_pays(solution)
        found[length] = freedom, solution
        if solution.best.memory.fits:  # evaluation too, of as few rows at a time as it can be cut to
            break
    taken = length if solution.best.memory.fits else to_try[0]
    freedom, solution = found[taken]
    layers.decide("sequence_len", taken.tokens, taken.reason)
    best = solution.best.shape
    effective = freedom.effective[best.packing]
    _decide_packing(layers, solution, lengths, trainer, request)
    if best.packing and effective != layers["effective_batch_size"]:
        wanted = layers["effective_batch_size"]
        rows = effective * rows_per_pack(lengths, taken.tokens) if lengths else wanted
        told = f"packed sequences per optimizer step: about {rows:.0f} rows, where {wanted} are asked for"
        layers.force("effective_batch_size", effective, told)
    unit = "packed sequences" if best.packing else "rows"
    layers.decide("micro_batch_size", best.micro_batch_size, _size_reason(solution, effective, layers))
    size = layers["micro_batch_size"]
    count = effective // size
    layers.decide("gradient_accumulation_steps", count, f"{count} x {size} {unit}: the effective batch")
    layers.decide("gradient_checkpointing", best.gradient_checkpointing, _recompute_reason(solution))
    layers.decide("activation_offload", best.activation_offload, _offload_reason(solution))
    _decide_evaluation(request, layers, solution)


def _freedom(
    request: Request,
    layers: Layers,
    trainer: Trainer,
    lengths: RowLengths | None,
    effective: int,
    sequence_len: int,
) -> Freedom:
    sizes = [layers["micro_batch_size"]] if layers.fixed("micro_batch_size") else divisors(effective)
    batches, counts = {}, {}
    packings = [layers["packing"]] if layers.fixed("packing") else [False]
    if not layers.fixed("packing") and _may_pack(request, layers, trainer, lengths, sequence_len, effective):
        packings.append(True)
    for packing in packings:
        batches[packing], counts[packing] = sizes, effective
        if packing and lengths and not layers.set_by_person("effective_batch_size") and len(sizes) > 1:
            counts[True] = packs_per_step(effective, lengths, sequence_len)
            batches[True] = divisors(counts[True])
    checkpointing, offload = layers.values.get("gradient_checkpointing"), layers.values.get("activation_offload")
    modes = [(False, False), (True, False), (True, True)]
    recompute = [
        (on, out)
        for on, out in modes
        if (checkpointing is None or on == checkpointing) and (offload is None or out == offload)
    ]
    if not recompute:  # offload without checkpointing: the trainer refuses it, in words
        recompute = [(bool(checkpointing), bool(offload))]
    if request.gpu.kind == "cpu":
        recompute = recompute[:1]
    return Freedom(batches, counts, recompute, [layers["kernels"]])


def _effective(layers: Layers, problems: list[Problem]) -> int | None:
    """Sequences per optimizer step from what is fixed; None, and a problem, where that cannot be."""
    effective: int = layers["effective_batch_size"]
    micro, steps = layers.values.get("micro_batch_size"), layers.values.get("gradient_accumulation_steps")
    if micro and steps and micro * steps != effective:
        if layers.set_by_person("effective_batch_size"):
            said = f"micro_batch_size {micro} times gradient_accumulation_steps {steps} is {micro * steps}"
            problems.append(Problem(f"{said}, not the effective_batch_size {effective}", hint="set two of the three"))
        effective = micro * steps
        layers.force("effective_batch_size", effective, "micro_batch_size times gradient_accumulation_steps")
    elif micro or steps:
        name = "micro_batch_size" if micro else "gradient_accumulation_steps"
        given: int = layers[name]
        if effective % given:
            possible = ", ".join(str(n) for n in divisors(effective, effective))
            said = f"{name} {given} does not divide the effective batch of {effective}"
            problems.append(Problem(said, hint=f"divisors: {possible}"))
            return None
        if not micro:
            layers.force("micro_batch_size", effective // given, "the effective batch over the accumulation")
            layers.fixed_by["micro_batch_size"] = layers.fixed_by[name]
    return effective


def packs_per_step(rows: int, lengths: RowLengths, sequence_len: int) -> int:
    """Packed sequences that hold about ``rows`` rows."""
    return max(1, round(rows / rows_per_pack(lengths, sequence_len)))


def _may_pack(
    request: Request, layers: Layers, trainer: Trainer, lengths: RowLengths | None, sequence_len: int, effective: int
) -> bool:
    """Whether the solver may pack unasked: soundly, with lengths known, and enough rows for enough packed sequences.

    Not where a single packed sequence would hold many more rows than an optimizer step should take.
    """
    if lengths is None or request.data is None or not request.data.exact:
        return False
    if layers.set_by_person("effective_batch_size") or layers.set_by_person("micro_batch_size"):
        return False  # they count rows
    if effective < LEAST_PACKS_PER_STEP * rows_per_pack(lengths, sequence_len):
        return False
    possible, _ = trainer.packing(request.gpu, layers["compute_dtype"])
    trained = (request.data.rows - request.data.eval_rows) * lengths.sequences(sequence_len)
    packs = trained * lengths.mean(sequence_len) / sequence_len
    return possible and packs >= LEAST_PACKS


def _measure(shape: Shape, request: Request, layers: Layers) -> TriedShape:
    values: dict[str, Any] = {
        "micro_batch_size": shape.micro_batch_size,
        "eval_batch_size": layers.values.get("eval_batch_size", 1),
        "gradient_checkpointing": shape.gradient_checkpointing,
        "activation_offload": shape.activation_offload,
        "packing": shape.packing,
        "kernels": shape.kernels,
        "sequence_len": shape.sequence_len,
    }
    wanted = layers.values | values
    return TriedShape(shape, estimate_values_memory(wanted, request), values_speed(wanted, request))


def _rows_alone_unless_packing_pays(solution: BatchSolution) -> BatchSolution:
    alone, best = solution.rival(packing=False), solution.best
    if not best.shape.packing or alone is None or not alone.fits or alone.speed is None or best.speed is None:
        return solution
    return solution if best.speed >= alone.speed * PACKING_GAIN else BatchSolution(alone, solution.trials)


def _decide_packing(
    layers: Layers, solution: BatchSolution, lengths: RowLengths | None, trainer: Trainer, request: Request
) -> None:
    best = solution.best
    possible, why = trainer.packing(request.gpu, layers["compute_dtype"])
    other = solution.rival(packing=not best.shape.packing)
    if not possible:
        reason = why
    elif lengths is None:
        reason = "one row per sequence: without data nothing says whether packing pays"
    elif other is None and layers["effective_batch_size"] < LEAST_PACKS_PER_STEP * (
        held := rows_per_pack(lengths, best.shape.sequence_len)
    ):
        step = layers["effective_batch_size"]
        reason = f"one row per sequence: a packed one would hold {held:.0f} rows, and a step takes {step}"
    elif other is None or best.speed is None or other.speed is None:
        reason = "one row per sequence: the data is too small, or its lengths are not exact, for packing to be chosen"
    else:
        limit = best.shape.sequence_len
        rows = (other if best.shape.packing else best).shape.micro_batch_size
        waste = 1 - lengths.mean(limit) / lengths.padded(rows, limit)
        gain = best.speed / other.speed if best.shape.packing else other.speed / best.speed
        alone = "one row at a time is" if rows == 1 else f"{rows} rows at a time are"
        told = f"alone, {alone} {waste:.0%} padding; packed they train {gain:.2f} times as fast"
        reason = told if best.shape.packing else f"{told}: not worth sharing a step between rows"
    layers.decide("packing", best.shape.packing, reason)


def _decide_evaluation(request: Request, layers: Layers, solution: BatchSolution) -> None:
    """The largest evaluation batch, up to the training rows that are computed at once, that fits too."""
    size, memory = layers["micro_batch_size"], solution.best.memory
    if not evaluates(layers.values, request):
        layers.decide("eval_batch_size", size, "no rows are held out: there is no evaluation")
        return
    evaluated, evaluation, fits = 1, memory, False
    for evaluated in reversed(divisors(layers["effective_batch_size"], size)) if size > 1 else [1]:
        evaluation = estimate_values_memory(layers.values | {"eval_batch_size": evaluated}, request)
        fits = evaluation.budget_gib is None or evaluation.evaluation_gib <= evaluation.budget_gib
        if fits:
            break
    needs = f"evaluation needs {evaluation.evaluation_gib:.1f} GiB"
    if not fits:
        reason = f"does not fit: {needs} of {evaluation.budget_gib:.1f} GiB"
    elif evaluated == size:
        reason = f"training's micro-batch: {needs}"
    else:
        reason = f"the largest that fits, logits included: {needs}"
    layers.decide("eval_batch_size", evaluated, reason)


def _size_reason(solution: BatchSolution, effective: int, layers: Layers) -> str:
    best = solution.best
    size, memory = best.shape.micro_batch_size, _against(best.memory)
    if not best.fits:
        return f"does not fit: {size} {'row needs' if size == 1 else 'rows need'} {memory}"
    if size == effective:
        return f"the whole effective batch fits: {memory}"
    larger = [
        trial
        for trial in solution.trials
        if trial.shape.micro_batch_size > size
        and trial.shape.packing == best.shape.packing
        and trial.shape.gradient_checkpointing == best.shape.gradient_checkpointing
        and trial.shape.activation_offload == best.shape.activation_offload
    ]
    nearest = min(larger, key=lambda trial: trial.shape.micro_batch_size, default=None)
    if nearest is None:
        return f"fits: {memory}"
    more = nearest.shape.micro_batch_size
    if not nearest.fits:
        return f"the largest that fits and divides the effective batch: {memory}; {more} would need {_peak(nearest)}"
    return f"{more} would be no faster: {_speed(nearest)}, this {_speed(best)}; {memory}"


def _recompute_reason(solution: BatchSolution) -> str:
    best = solution.best
    other = solution.rival(gradient_checkpointing=not best.shape.gradient_checkpointing, packing=best.shape.packing)
    if not best.fits:
        return "recomputing activations needs least memory"
    if other is None:
        return "the only way that is left to choose"
    rows = f"{other.shape.micro_batch_size} x {other.shape.sequence_len} tokens"
    if best.shape.gradient_checkpointing:
        if not other.fits:
            return f"without it {rows} need {_peak(other)}"
        if best.speed is None:
            return "no speed is known for this card: recomputing leaves the most memory free"
        return f"with it {_speed(best)}; without, {rows} at a time would make {_speed(other)}"
    return f"activations fit as they are: {_speed(best)}, against {_speed(other)} when recomputed"


def _offload_reason(solution: BatchSolution) -> str:
    best = solution.best
    if not best.shape.gradient_checkpointing:
        return "nothing is checkpointed, so there is nothing to move"
    other = solution.rival(
        activation_offload=not best.shape.activation_offload, gradient_checkpointing=True, packing=best.shape.packing
    )
    if other is None:
        return "the only way that is left to choose"
    if not best.fits:
        return "it would not fit either way"
    if best.shape.activation_offload:
        if not other.fits:
            return f"without it not one row fits: {_peak(other)}"
        return f"room for larger batches: {_speed(best)}, {_speed(other)} without"
    if best.speed is None:
        return "not needed: it fits without the transfers"
    return f"not needed: {_speed(best)} without the transfers" + (f", {_speed(other)} with them" if other.fits else "")


def _against(memory: MemoryEstimate) -> str:
    needed = f"{max(memory.peak_gib, memory.load_gib):.1f} GiB"
    return needed if memory.budget_gib is None else f"{needed} of {memory.budget_gib:.1f} GiB"


def _peak(trial: TriedShape) -> str:
    return f"{trial.memory.peak_gib:.1f} GiB"


def _speed(trial: TriedShape) -> str:
    return "unknown speed" if trial.speed is None else f"{trial.speed:,.0f} tokens/s"
