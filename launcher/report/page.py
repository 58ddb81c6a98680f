"""What stands on a report's page besides its charts and prompts: verdict, figures, plan, data, time line, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

from launcher.records.decision import sources_of
from launcher.records.merged import Merged
from launcher.records.run import Estimate, Manifest, Training
from launcher.records.summary import Summary
from launcher.report.words import duration, usd


class Verdict(TypedDict):
    """What came of a run, and ``more`` lines where it ended badly."""

    mood: Literal["good", "bad", "open"]
    text: str
    more: list[str]


class PlanRow(TypedDict):
    """A decision with its reason."""

    key: str
    value: str
    reason: str
    yours: bool


class LengthChart(TypedDict):
    """The histogram of row lengths, and in words."""

    histogram: list[list[float]]
    width: float
    limit: int
    about: str


class StageBar(TypedDict):
    """A stage on the time line; ``left``, ``width`` and ``repairs`` in percent of the whole."""

    name: str
    state: str
    left: float | None
    width: float | None
    took: str
    note: str
    repairs: list[float]


class Happening(TypedDict):
    """A repair or a resumption."""

    time: str
    stage: str
    step: str
    text: str
    changed: str


def verdict(summary: Summary) -> Verdict:
    """What came of the run in one sentence, ``more`` lines where it ended badly; ``mood`` is good, bad or open."""
    bad = [stage for stage in summary.stages if stage.state in ("failed", "stopped")]
    if bad:
        said = [stage.error for stage in bad if stage.error]
        return {"mood": "bad", "text": f"The run {bad[0].state} in {bad[0].name}.", "more": said}
    if any(stage.state in ("running", "pending") for stage in summary.stages if stage.name != "report"):
        return {"mood": "open", "text": f"The run is not at its end: {summary.state}.", "more": []}
    missed = [gate.gate for gate in summary.gates if not gate.passed]
    if missed:
        return {"mood": "bad", "text": f"Gate missed: {', '.join(missed)}.", "more": []}
    shipped = "merged" if "merged" in summary.golden else "adapter"
    scores = summary.golden.get(shipped)
    if scores:
        base = summary.golden.get("base")
        against = f", the base {base['exact_match']:.3f}" if base else ""
        passed = "All gates passed. " if summary.gates else ""
        return {"mood": "good", "text": f"{passed}Exact match {scores['exact_match']:.3f}{against}.", "more": []}
    loss = summary.best_eval_loss
    if loss is None:
        return {
            "mood": "open",
            "text": "Trained. No golden set and no evaluation rows: nothing was scored.",
            "more": [],
        }
    text = f"Evaluation loss {loss:.4f}. No golden set: this loss alone was looked at."
    return {"mood": "open", "text": text, "more": []}


def figures(summary: Summary, record: Manifest, metric: str) -> list[tuple[str, str, str]]:
    """The first numbers of the page: ``(name, value, what it is held against)``."""
    estimate, training = record.estimate or Estimate(), summary.training or Training(steps=0)
    rows = [
        (f"{metric.replace('_', ' ')}, {subject}", f"{scores[metric]:.3f}", "")
        for subject, scores in summary.golden.items()
        if metric in scores
    ]
    if summary.best_eval_loss is not None:
        first = next(iter(summary.curve.eval_loss), None)
        rows.append(("best eval loss", f"{summary.best_eval_loss:.4f}", f"{first:.4f} at first" if first else ""))
    hours = estimate.hours
    rows.append(("time", duration(summary.seconds), f"{duration(hours * 3600)} predicted" if hours else ""))
    if summary.usd is not None and summary.price is not None:
        predicted = f", {usd(estimate.usd)} predicted" if estimate.usd is not None else ""
        rows.append(("cost", usd(summary.usd), f"at {usd(summary.price.usd_per_hour)} an hour{predicted}"))
    peak = training.device_gib or training.peak_memory_gib
    if peak is not None:
        levels = ((estimate.peak_gib, "predicted"), (estimate.budget_gib, "budget"))
        rows.append(("peak memory", f"{peak:.2f} GiB", ", ".join(f"{gib:.2f} {name}" for gib, name in levels if gib)))
    if training.tokens_per_second:
        speed = estimate.tokens_per_second
        rows.append(
            ("tokens per second", f"{training.tokens_per_second:,.0f}", f"{speed:,.0f} predicted" if speed else "")
        )
    return rows


def plan_rows(record: Manifest, settings: Sequence[str]) -> list[PlanRow]:
    """Every decision with its reason; of what the person set (``yours``) the reason says what it would have been."""
    plan, before = record.plan, record.overridden
    reasons, sources = plan.get("reasons", {}), sources_of(plan)
    rows: list[PlanRow] = []
    for key in settings:
        reason, yours = reasons.get(key, ""), sources.get(key) == "you"
        if yours and key in before:
            reason = f"would be {show(before[key].value)} ({before[key].reason})"
        rows.append({"key": key, "value": show(plan.get(key)), "reason": reason, "yours": yours})
    return rows


def merge_facts(merge: Merged | None) -> list[tuple[str, str]]:
    """How the merge was made, and how far it is from the model that was trained."""
    if merge is None:
        return []
    stored = f"{merge.dtype}: {merge.dtype_reason}" if merge.dtype_reason else merge.dtype
    facts = [("base weights", str(merge.base)), ("stored as", stored)]
    for value, label, form in (
        (merge.delta_error, "the adapter's delta is off by, after rounding", ".2%"),
        (merge.kl, "KL divergence from the unmerged model, nats per token", ".2e"),
        (merge.top1_agreement, "tokens with the same most likely next token", ".2%"),
        (merge.relative_l2, "relative difference of the logits", ".2e"),
        (merge.tokens, "tokens that this was measured on", ",d"),
        (merge.merged_modules, "layers merged", ",d"),
        (merge.bytes, "size of the checkpoint, bytes", ",d"),
    ):
        if value is not None:
            facts.append((label, f"{value:{form}}"))
    if merge.fingerprint:
        facts.append(("fingerprint", merge.fingerprint))
    return facts


def data_facts(record: Manifest) -> list[tuple[str, str]]:
    """What was trained on, and what was cut off it."""
    data = record.data
    rows = [("file", str((data and (data.path or data.input)) or "not known"))]
    if data and data.train_rows is not None:
        rows.append(("rows trained on", f"{data.train_rows:,}"))
        rows.append(("rows held out for the evaluation loss", f"{data.eval_rows or 0:,}"))
    if data and data.left_out is not None:  # an edited config's files go in whole, as they are
        rows.append(("rows left out", f"{data.left_out:,}"))
        rows.append(("format", str(data.format)))
    found = data and data.lengths
    if found:
        about = "" if found.exact else "about "
        rows.append(("tokens", f"{about}{found.total:,}, of which {found.trained:,} are trained"))
        spread = f"{found.minimum:,} to {found.maximum:,}, median {found.median:,}, 95 % up to {found.p95:,}"
        rows.append(("tokens of a row", about + spread))
        rows.append(("counted by", found.source))
    limit = record.plan.get("sequence_len")
    rows.append(("cut", (data and data.excess) or f"nothing: no row is longer than {limit} tokens"))
    return rows


def lengths(record: Manifest) -> LengthChart | None:
    """The histogram of row lengths for the page's script; None where the run did not record one."""
    found = record.data and record.data.lengths
    if not found or len(found.histogram) < 2:
        return None
    histogram = [list(pair) for pair in found.histogram]
    limit = int(record.plan["sequence_len"])
    most = max(histogram, key=lambda pair: pair[1])
    width = histogram[1][0] - histogram[0][0]
    about = (
        f"Most rows, {most[1]:,}, have {most[0] - width + 1:,} to {most[0]:,} tokens; the sequence length is {limit:,}."
    )
    return LengthChart(histogram=histogram, width=width, limit=limit, about=about)


def timeline(summary: Summary) -> list[StageBar]:
    """Stages with their place on the time line, in percent of the whole, and the repairs in each."""
    started = {stage.name: _unix(stage.started) for stage in summary.stages if stage.started}
    first = min(started.values(), default=0.0)
    ends = [started[stage.name] + (stage.seconds or 0) for stage in summary.stages if stage.name in started]
    whole = max(max(ends, default=first) - first, 0.001)
    rows: list[StageBar] = []
    for stage in summary.stages:
        begin, seconds = started.get(stage.name), stage.seconds or 0.0
        last = stage.name == "report" and stage.state == "running"  # this page is being written by it
        rows.append(
            {
                "name": stage.name,
                "state": "done" if last else stage.state,
                "left": None if begin is None else round((begin - first) / whole * 100, 3),
                "width": None if begin is None or not seconds else round(min(seconds / whole, 1) * 100, 3),
                "took": stage.state if stage.seconds is None and not last else duration(seconds),
                "note": stage.reason or stage.error or "",
                "repairs": [
                    round((_unix(repair.time) - first) / whole * 100, 3)
                    for repair in summary.repairs
                    if repair.stage == stage.name
                ],
            }
        )
    return rows


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def happened(summary: Summary) -> list[Happening]:
    """Repairs and resumptions in the order of their time."""
    rows: list[Happening] = [
        {
            "time": _when(repair.time), "stage": repair.stage, "step": _step(repair.step),
            "text": f"{repair.cause}: {repair.action}", "changed": _changed(repair.before, repair.after),
        }
        for repair in summary.repairs
    ]  # fmt: skip
    rows += [
        {
            "time": _when(resume.time), "stage": resume.stage, "step": _step(resume.from_step),
            "text": "taken up again", "changed": "",
        }
        for resume in summary.resumes
    ]  # fmt: skip
    return sorted(rows, key=lambda row: row["time"])


def _when(moment: str) -> str:
    """A time, UTC, without the offset."""
    return moment.replace("T", " ").removesuffix("+00:00")


def _step(step: int | None) -> str:
    return "" if step is None else f"{step:,}"


def _changed(before: Any, after: Any) -> str:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return ", ".join(f"{key} {show(before.get(key))} → {show(value)}" for key, value in after.items())
    return f"{show(before)} → {show(after)}" if before is not None or after is not None else ""


def provenance(record: Manifest) -> list[tuple[str, str]]:
    """Versions, hashes and the machine."""
    environment, data = record.environment, record.data
    rows = [("ql", str(record.ql_version))]
    if environment.python:
        rows.append(("python", environment.python))
    rows += [(name, version) for name, version in environment.versions.items() if version]
    for device in environment.devices:
        rows.append(("device", f"{device.name}, {device.total_gib} GiB, driver {device.driver or '?'}"))
    if data and isinstance(data.given, str):
        rows.append(("sha256 of the data", data.given))
    if data:
        rows += [(f"sha256 of {name}", value) for name, value in data.written.items()]
    if record.golden:
        rows.append(("sha256 of the golden set", record.golden.sha256))
    for shard in record.merge.shards if record.merge else ():
        rows.append((f"sha256 of merged/{shard.file}", shard.sha256))
    return rows


def show(value: Any) -> str:
    """A value of the plan as text."""
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
