"""How each preset stands: what it took under its card's cap, how fast it was, and what is missing or fell short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.presets.markdown_table import markdown
from benchmarks.presets.records import find_records, measured_gib, shape_text

ENOUGH, TARGET = 0.85, 1.3  # of the budget; times as fast as the example settings
CAP_ROUNDING_GIB = 1e-3
JOB_KEYS = ("model", "method", "compute_dtype", "gradient_checkpointing", "activation_offload")


@dataclass
class Standing:
    """One preset's figures, None where they were not measured; ``why`` says what is missing or not reached."""

    preset: str
    planned: dict[str, Any]  # of presets.json: the plan, what it is predicted to take, what its card gives
    why: list[str] = field(default_factory=list)
    proven: bool = False  # it ran, within what its card gives
    from_own_run: bool = False  # not covered by a case of benchmarks/sizing
    measured_gib: float | None = None  # on the device, rows full
    padded_gib: float | None = None  # on the device, rows of unequal length
    allocated_gib: float | None = None
    tokens_per_second: float | None = None
    example_tokens_per_second: float | None = None  # of the trainer's example settings
    example_fits: bool = True  # the preset's own card

    @property
    def outside_gib(self) -> float:
        """What the preset takes outside of torch's allocator: context and paged optimizer state."""
        outside: float = self.planned["usable_gib"] - self.planned["cap_gib"]
        return outside

    @property
    def predicted_gib(self) -> float:
        """What it was predicted to take on the device, evaluation included."""
        needed: float = max(self.planned["peak_gib"], self.planned["evaluation_gib"])
        return needed

    @property
    def most_gib(self) -> float | None:
        """The most that was measured, with full rows or padded ones."""
        return None if self.measured_gib is None else max(self.measured_gib, self.padded_gib or 0.0)

    @property
    def used(self) -> float | None:
        """Share of the budget."""
        return None if self.most_gib is None else self.most_gib / float(self.planned["budget_gib"])

    @property
    def times_as_fast(self) -> float | None:
        """As the trainer's example settings."""
        if self.tokens_per_second is None or self.example_tokens_per_second is None:
            return None
        return self.tokens_per_second / self.example_tokens_per_second

    @property
    def uses_enough(self) -> bool:
        return self.used is not None and self.used >= ENOUGH

    @property
    def fast_enough(self) -> bool:
        """It is as many times as fast as is wanted, or there is nothing to compare it with."""
        return self.times_as_fast is None or self.times_as_fast >= TARGET or not self.example_fits


def preset_standing(
    name: str, planned: dict[str, Any], records: list[dict[str, Any]], cases: Sequence[dict[str, Any]] = ()
) -> Standing:
    """How the preset stands by its own records, or where it has none by a case of benchmarks/sizing that covers it."""
    plan = planned["plan"]
    one = Standing(name, planned)
    record = _newest(records, name, plan, "full")
    case = next((case for case in cases if _covers(case, planned)), None) if record is None else None
    if case is not None:
        one.measured_gib, one.allocated_gib = measured_gib(case, one.outside_gib), case["training"]["allocated_gib"]
        one.proven = True
        one.why.append(f"covered by {shape_text(case)} in benchmarks/sizing, which takes no less")
    elif record is None or "error" in record or not record.get("training"):
        one.why.append("not run" if record is None else record.get("error", "no figures"))
    elif "out_of_memory" in record:
        one.why.append("ran out of memory under the cap")
    else:
        one.from_own_run, one.proven = True, _under_the_cap(record, planned)
        one.measured_gib, one.allocated_gib = measured_gib(record, one.outside_gib), record["training"]["allocated_gib"]
        one.tokens_per_second = record["tokens_per_second"]
        _compare_with_example(one, records)
        _add_padded(one, _newest(records, name, plan, "ragged"))
    if one.used is not None and not one.uses_enough:
        one.why.append(plan["reasons"]["micro_batch_size"])
    if not one.fast_enough:
        one.why.append(_slow_reason(planned))
    return one


def _newest(records: list[dict[str, Any]], name: str, plan: dict[str, Any], rows: str) -> dict[str, Any] | None:
    """The newest record of the preset as it is planned now; one that failed only where there is no other."""
    job = {"trainer": "backend"} | {key: key for key in JOB_KEYS}
    found = [
        record
        for record in find_records(records, "preset")
        if name in record["shape"].get("presets", ())
        and record["shape"].get("rows") == rows
        and all(record["shape"][key] == plan[key] for key in ("micro_batch_size", "sequence_len"))
        and all(record[key] == plan[of] for key, of in job.items() if key in record and of in plan)
    ]
    return max(found, key=lambda record: ("error" not in record, record.get("at", 0.0)), default=None)


def _covers(case: dict[str, Any], planned: dict[str, Any]) -> bool:
    """Whether ``case`` ran the preset's job with at least as many tokens, trained and evaluated, within its budget."""
    plan = planned["plan"]
    same = ("method", "kernels", "gradient_checkpointing", "activation_offload", "packing", "lora_r", "optimizer")
    if case["trainer"] != plan["backend"] or case["model"] != plan["model"] or "out_of_memory" in case:
        return False
    if any(case["plan"][key] != plan[key] for key in same) or not case.get("evaluation"):
        return False
    shape, length = case["shape"], plan["sequence_len"]
    trained = shape["micro_batch_size"] * shape["sequence_len"] >= plan["micro_batch_size"] * length
    evaluated = case["evaluation"]["rows"] * shape["sequence_len"] >= plan["eval_batch_size"] * length
    reserved: float = max(case["training"]["reserved_gib"], case["evaluation"]["reserved_gib"])
    outside = planned["usable_gib"] - planned["cap_gib"]
    return bool(trained and evaluated and reserved + outside <= planned["budget_gib"])


def _under_the_cap(record: dict[str, Any], planned: dict[str, Any]) -> bool:
    """Whether the record ran with no more than the preset's card gives: presets of one shape share a measurement."""
    allowed: bool = record["shape"]["cap_gib"] <= planned["cap_gib"] + CAP_ROUNDING_GIB
    return allowed


def _compare_with_example(one: Standing, records: list[dict[str, Any]]) -> None:
    """Add the speed of the trainer's example settings: in the preset's dtype where it was measured, the newest."""
    plan = one.planned["plan"]
    examples = [
        record
        for record in find_records(records, "example")
        if record["model"] == plan["model"] and record["trainer"] == plan["backend"] and record.get("tokens_per_second")
    ]
    examples.sort(key=lambda record: -record.get("at", 0.0))
    examples.sort(key=lambda record: record.get("plan", {}).get("compute_dtype") != plan.get("compute_dtype"))
    if not examples:
        return
    one.example_tokens_per_second = examples[0]["tokens_per_second"]
    needed = measured_gib(examples[0], one.outside_gib)
    one.example_fits = needed is not None and needed <= one.planned["usable_gib"]
    if not one.example_fits:
        one.why.append(f"the example needs {needed:.1f} GiB: it does not fit this card")


def _add_padded(one: Standing, padded: dict[str, Any] | None) -> None:
    """Add what rows of unequal length took; running out of memory with them undoes the proof."""
    if padded is not None and "out_of_memory" in padded:
        one.why.append("ran out of memory under the cap with padded rows")
        one.proven = False
    elif padded is not None and "error" not in padded and _under_the_cap(padded, one.planned):
        one.padded_gib = measured_gib(padded, one.outside_gib)
    elif one.planned["plan"]["micro_batch_size"] > 1:
        one.why.append(f"full rows; padded ones are predicted to take {one.predicted_gib:.1f} GiB")


def _slow_reason(planned: dict[str, Any]) -> str:
    """Why a preset is not much faster here than the example settings; what its own card would do is a column."""
    plan = planned["plan"]
    rows = plan["micro_batch_size"]
    here = (
        "activations recomputed" if plan["gradient_checkpointing"] else f"{rows} row{'s' if rows > 1 else ''} at a time"
    )
    return f"waits for its host ({here})"


def legend(device: str) -> str:
    """What the columns of `standings_table` mean."""
    rows = [
        ("shape", "rows at a time x tokens of a row; activations are kept, recomputed, or offloaded to the host"),
        ("budget", "GiB that a plan may take: what the card gives, less 4 %"),
        ("predicted", "GiB on the device at the most, evaluation included, for rows of unequal length"),
        (
            "measured",
            "the same, with full rows: what torch reserved, with CUDA context and paged optimizer state on top",
        ),
        (
            "padded",
            "measured with rows of unequal length: where a micro-batch has several, an attention mask takes memory too",
        ),
        ("used", "the larger of the two, as a share of the budget"),
        ("allocated", "GiB of tensors in training, with full rows"),
        ("tokens/s", f"in training on the {device}: it compares settings, not cards"),
        (
            "example",
            "tokens/s of the trainer's own example settings: micro-batch 2, recomputation, the kernels that it "
            "switches on itself",
        ),
        ("times", "the one over the other"),
        ("on its card", "the same ratio, as it is predicted for the preset's own card"),
        (
            "note",
            f"why less than {ENOUGH:.0%} of the budget is used, with GiB of training alone; why it is less than "
            f'{TARGET} times as fast: "waits for its host" is of the {device}, whose kernels are done before the host '
            "starts the next ones",
        ),
    ]
    return markdown(("column", "meaning"), rows)


def standings_table(standings: Sequence[Standing]) -> str:
    """A line for each preset; GiB, tokens per second, and the share of the budget."""
    header = (
        "preset", "trainer", "shape", "budget", "predicted", "measured", "padded", "used", "allocated", "tokens/s",
        "example", "times", "on its card", "note",
    )  # fmt: skip
    rows = []
    for one in standings:
        planned = one.planned
        plan = planned["plan"]
        mode = "offload" if plan["activation_offload"] else "recompute" if plan["gradient_checkpointing"] else "keep"
        rows.append(
            [
                one.preset,
                plan["backend"],
                f"{plan['micro_batch_size']} x {plan['sequence_len']}, {mode}",
                f"{planned['budget_gib']:.1f}",
                f"{one.predicted_gib:.1f}",
                _cell(one.measured_gib, ".1f"),
                _cell(one.padded_gib, ".1f"),
                _cell(one.used, ".0%"),
                _cell(one.allocated_gib, ".1f"),
                _cell(one.tokens_per_second, ",.0f"),
                _cell(one.example_tokens_per_second, ",.0f"),
                _cell(one.times_as_fast, ".2f"),
                _cell(planned.get("gain_on_its_card"), ".2f"),
                "; ".join(one.why),
            ]
        )
    return markdown(header, rows)


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"
