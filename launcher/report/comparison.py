"""Runs side by side: what differed in the plan, in the scores prompt by prompt, in memory, speed and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from launcher.records.run import Estimate, Manifest, Training
from launcher.records.summary import Summary
from launcher.report.compared import Comparison, Difference, FigureName, Flip, GoldenPair, RunFigures
from launcher.report.paired import compare_scores
from launcher.report.prompts import ANSWER_FACTS, Answers, Scored, main_metric
from launcher.report.series import Series
from launcher.report.trade import find_trade

FIGURES: tuple[tuple[FigureName, str, str], ...] = (
    ("seconds", "time", "s"),
    ("usd", "cost", "USD"),
    ("peak_memory_gib", "peak memory", "GiB"),
    ("predicted_gib", "predicted memory", "GiB"),
    ("tokens_per_second", "tokens per second", "tokens/s"),
    ("best_eval_loss", "best eval loss", ""),
    ("final_loss", "final loss", ""),
    ("steps", "steps", ""),
)  # what is set side by side: its key, what people call it, its unit


@dataclass(frozen=True)
class RunFacts:
    """One run as it is compared: its summary, its manifest, its telemetry, its golden answers."""

    summary: Summary
    record: Manifest
    series: Series
    answers: Answers

    @property
    def name(self) -> str:
        return self.summary.name

    @property
    def shipped(self) -> str | None:
        """The model that would be served: merged where there is one, else the adapter; None without a golden set."""
        return next((subject for subject in ("merged", "adapter") if subject in self.answers), None)


def compare_runs(runs: Sequence[RunFacts], settings: Sequence[str]) -> Comparison:
    """JSON-ready facts of two runs or more; each of the others is held against the first.

    ``settings`` are the plan's keys in their order.
    """
    first, rest = runs[0], runs[1:]
    facts: Comparison = {
        "runs": [_figures(run) for run in runs],
        "plan": _differences(runs, settings),
        "golden": [pair for other in rest if (pair := compare_golden(first, other))],
        "notes": _notes(runs),
        "trade": None,
    }
    facts["trade"] = find_trade(facts) if len(runs) == 2 else None
    return facts


def _figures(run: RunFacts) -> RunFigures:
    summary, training = run.summary, run.summary.training or Training(steps=0)
    estimate = run.record.estimate or Estimate()
    return {
        "name": run.name,
        "path": summary.path,
        "state": summary.state,
        "method": summary.method,
        "backend": summary.backend,
        "gpu": estimate.gpu_title or summary.gpu,
        "compute_dtype": run.record.plan.get("compute_dtype"),
        "seconds": summary.seconds,
        "usd": summary.usd,
        "peak_memory_gib": training.device_gib or training.peak_memory_gib,
        "predicted_gib": estimate.peak_gib,
        "tokens_per_second": training.tokens_per_second,
        "best_eval_loss": summary.best_eval_loss,
        "final_loss": training.final_loss,
        "steps": training.steps if summary.training else None,
        "golden": summary.golden,
        "shipped": run.shipped,
        "gates": [{"gate": gate.gate, "passed": gate.passed} for gate in summary.gates],
        "repairs": len(summary.repairs),
        "curve": {"loss": summary.curve.loss, "eval_loss": summary.curve.eval_loss},
    }


def _differences(runs: Sequence[RunFacts], settings: Sequence[str]) -> list[Difference]:
    """The identity and the settings in which the plans are not all alike."""
    keys = ("preset", "gpu", "base_model", *settings)
    rows: list[Difference] = []
    for key in keys:
        values = [run.record.plan.get(key) for run in runs]
        if any(value != values[0] for value in values[1:]):
            rows.append({"key": key, "values": values})
    return rows


def compare_golden(first: RunFacts, second: RunFacts) -> GoldenPair | None:
    """What the two would serve, on the prompts that both were asked; None where there are none."""
    if first.shipped is None or second.shipped is None:
        return None
    ours = {row["id"]: row for row in first.answers[first.shipped]}
    theirs = {row["id"]: row for row in second.answers[second.shipped]}
    shared = [
        (row, theirs[identity])
        for identity, row in ours.items()
        if identity in theirs
        and theirs[identity]["input"] == row["input"]
        and theirs[identity]["targets"] == row["targets"]
    ]
    if not shared:
        return None
    wanted = main_metric(first.record)
    metrics = [key for key in shared[0][0] if key not in ANSWER_FACTS and all(key in b for _, b in shared)]
    found = {key: compare_scores([a[key] for a, _ in shared], [b[key] for _, b in shared]).to_dict() for key in metrics}
    if not metrics:
        return None
    main = wanted if wanted in metrics else metrics[0]
    flipped = [_flip(a, b, main) for a, b in shared if a[main] != b[main]]
    return GoldenPair(
        first=first.name,
        second=second.name,
        subjects=[first.shipped, second.shipped],
        prompts=len(shared),
        left_out=len(set(ours) | set(theirs)) - len(shared),
        main_metric=main,
        metrics=found,
        flipped=sorted(flipped, key=lambda flip: flip["second_score"] - flip["first_score"]),
    )


def _flip(a: Scored, b: Scored, metric: str) -> Flip:
    return {
        "id": a["id"],
        "input": a["input"],
        "targets": a["targets"],
        "first": a["output"],
        "second": b["output"],
        "first_score": a[metric],
        "second_score": b[metric],
    }


def _notes(runs: Sequence[RunFacts]) -> list[str]:
    """What makes a comparison unfair, or unfinished."""
    notes = []
    data = {run.record.data and str(run.record.data.given) for run in runs}
    golden = {run.record.golden and run.record.golden.sha256 for run in runs}
    for what, digests in (("training data", data), ("golden set", golden)):
        if len(digests) > 1:
            notes.append(f"the runs do not have the same {what}")
    seeds = {run.record.plan.get("seed") for run in runs}
    if len(seeds) > 1:
        notes.append("the runs have different seeds: some of the difference is chance")
    cards = {str(run.record.plan.get("gpu")) for run in runs}
    if len(cards) > 1:
        notes.append(
            f"the runs are planned for different cards ({', '.join(sorted(cards))}): time and cost differ by that too"
        )
    notes += [f"{run.name} is not finished: {run.summary.state}" for run in runs if run.summary.state != "finished"]
    return notes
