"""What stands on a report's page besides its charts and prompts: verdict, figures, plan, data, time line, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from launcher.report.rerun import BY_PERSON
from launcher.report.words import duration, usd


def verdict(summary: Mapping[str, Any]) -> dict[str, Any]:
    """What came of the run in one sentence, ``more`` lines where it ended badly; ``mood`` is good, bad or open."""
    bad = [stage for stage in summary["stages"] if stage["state"] in ("failed", "stopped")]
    if bad:
        said = [stage["error"] for stage in bad if stage.get("error")]
        return {"mood": "bad", "text": f"The run {bad[0]['state']} in {bad[0]['name']}.", "more": said}
    if any(stage["state"] in ("running", "pending") for stage in summary["stages"] if stage["name"] != "report"):
        return {"mood": "open", "text": f"The run is not at its end: {summary['state']}.", "more": []}
    missed = [gate["gate"] for gate in summary["gates"] if not gate["passed"]]
    if missed:
        return {"mood": "bad", "text": f"Gate missed: {', '.join(missed)}.", "more": []}
    shipped = "merged" if "merged" in summary["golden"] else "adapter"
    scores = summary["golden"].get(shipped)
    if scores:
        base = summary["golden"].get("base")
        against = f", the base {base['exact_match']:.3f}" if base else ""
        passed = "All gates passed. " if summary["gates"] else ""
        return {"mood": "good", "text": f"{passed}Exact match {scores['exact_match']:.3f}{against}.", "more": []}
    loss = summary["best_eval_loss"]
    if loss is None:
        return {
            "mood": "open",
            "text": "Trained. No golden set and no evaluation rows: nothing was scored.",
            "more": [],
        }
    text = f"Evaluation loss {loss:.4f}. No golden set: this loss alone was looked at."
    return {"mood": "open", "text": text, "more": []}


def figures(summary: Mapping[str, Any], manifest: Mapping[str, Any], metric: str) -> list[tuple[str, str, str]]:
    """The first numbers of the page: ``(name, value, what it is held against)``."""
    estimate, training = manifest.get("estimate") or {}, summary["training"]
    rows = [
        (f"{metric.replace('_', ' ')}, {subject}", f"{scores[metric]:.3f}", "")
        for subject, scores in summary["golden"].items()
        if metric in scores
    ]
    if summary["best_eval_loss"] is not None:
        first = next(iter(summary["curve"]["eval_loss"]), None)
        rows.append(("best eval loss", f"{summary['best_eval_loss']:.4f}", f"{first:.4f} at first" if first else ""))
    hours = estimate.get("hours")
    rows.append(("time", duration(summary["seconds"]), f"{duration(hours * 3600)} predicted" if hours else ""))
    if summary["usd"] is not None:
        predicted = f", {usd(estimate['usd'])} predicted" if estimate.get("usd") is not None else ""
        rate = f"at {usd(summary['price']['usd_per_hour'])} an hour"
        rows.append(("cost", usd(summary["usd"]), rate + predicted))
    peak = training.get("device_gib") or training.get("peak_memory_gib")
    if peak is not None:
        against = [
            f"{estimate[k]:.2f} {name}"
            for k, name in (("peak_gib", "predicted"), ("budget_gib", "budget"))
            if estimate.get(k)
        ]
        rows.append(("peak memory", f"{peak:.2f} GiB", ", ".join(against)))
    if training.get("tokens_per_second"):
        speed = estimate.get("tokens_per_second")
        rows.append(
            ("tokens per second", f"{training['tokens_per_second']:,.0f}", f"{speed:,.0f} predicted" if speed else "")
        )
    return rows


def plan_rows(manifest: Mapping[str, Any], settings: Sequence[str]) -> list[dict[str, Any]]:
    """Every decision with its reason; of what the person set (``yours``) the reason says what it would have been."""
    plan, before = manifest["plan"], manifest.get("overridden") or {}
    reasons = plan.get("reasons", {})
    rows = []
    for key in settings:
        reason, yours = reasons.get(key, ""), reasons.get(key) == BY_PERSON
        if yours and key in before:
            reason = f"would be {show(before[key]['value'])} ({before[key]['reason']})"
        rows.append({"key": key, "value": show(plan.get(key)), "reason": reason, "yours": yours})
    return rows


def merge_facts(merge: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the merge was made, and how far it is from the model that was trained."""
    if not merge:
        return []
    facts = [("base weights", str(merge.get("base"))), ("stored as", _because(merge, "dtype"))]
    for key, label, form in (
        ("delta_error", "the adapter's delta is off by, after rounding", ".2%"),
        ("kl", "KL divergence from the unmerged model, nats per token", ".2e"),
        ("top1_agreement", "tokens with the same most likely next token", ".2%"),
        ("relative_l2", "relative difference of the logits", ".2e"),
        ("tokens", "tokens that this was measured on", ",d"),
        ("merged_modules", "layers merged", ",d"),
        ("bytes", "size of the checkpoint, bytes", ",d"),
    ):
        if merge.get(key) is not None:
            facts.append((label, f"{merge[key]:{form}}"))
    if merge.get("fingerprint"):
        facts.append(("fingerprint", str(merge["fingerprint"])))
    return facts


def _because(merge: Mapping[str, Any], key: str) -> str:
    reason = merge.get(f"{key}_reason")
    return f"{merge.get(key)}: {reason}" if reason else str(merge.get(key))


def data_facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was trained on, and what was cut off it."""
    data = manifest.get("data") or {}
    rows = [("file", str(data.get("path") or data.get("input") or "not known"))]
    if data.get("train_rows") is not None:
        rows.append(("rows trained on", f"{data['train_rows']:,}"))
        rows.append(("rows held out for the evaluation loss", f"{data['eval_rows']:,}"))
    if data.get("left_out") is not None:  # an edited config's files go in whole, as they are
        rows.append(("rows left out", f"{data['left_out']:,}"))
        rows.append(("format", str(data.get("format"))))
    lengths = data.get("lengths")
    if lengths:
        about = "" if lengths["exact"] else "about "
        rows.append(("tokens", f"{about}{lengths['total']:,}, of which {lengths['trained']:,} are trained"))
        low, high, p95 = lengths["minimum"], lengths["maximum"], lengths["p95"]
        spread = f"{low:,} to {high:,}, median {lengths['median']:,}, 95 % up to {p95:,}"
        rows.append(("tokens of a row", about + spread))
        rows.append(("counted by", str(lengths["source"])))
    limit = manifest["plan"].get("sequence_len")
    rows.append(("cut", data.get("excess") or f"nothing: no row is longer than {limit} tokens"))
    return rows


def lengths(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The histogram of row lengths for the page's script; None where the run did not record one."""
    found = (manifest.get("data") or {}).get("lengths")
    if not found or len(found["histogram"]) < 2:
        return None
    histogram = [list(pair) for pair in found["histogram"]]
    limit = manifest["plan"].get("sequence_len")
    most = max(histogram, key=lambda pair: pair[1])
    width = histogram[1][0] - histogram[0][0]
    about = (
        f"Most rows, {most[1]:,}, have {most[0] - width + 1:,} to {most[0]:,} tokens; the sequence length is {limit:,}."
    )
    return {"histogram": histogram, "width": width, "limit": limit, "about": about}


def timeline(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Stages with their place on the time line, in percent of the whole, and the repairs in each."""
    started = {
        s["name"]: datetime.fromisoformat(s["started"]).timestamp() for s in summary["stages"] if s.get("started")
    }
    first = min(started.values(), default=0.0)
    ends = [started[s["name"]] + (s["seconds"] or 0) for s in summary["stages"] if s["name"] in started]
    whole = max(max(ends, default=first) - first, 0.001)
    rows = []
    for stage in summary["stages"]:
        name = stage["name"]
        begin, seconds = started.get(name), stage["seconds"] or 0.0
        last = name == "report" and stage["state"] == "running"  # this page is being written by it
        repairs = [r for r in summary["repairs"] if r.get("stage") == name]
        rows.append(
            {
                "name": name,
                "state": "done" if last else stage["state"],
                "left": None if begin is None else round((begin - first) / whole * 100, 3),
                "width": None if begin is None or not seconds else round(min(seconds / whole, 1) * 100, 3),
                "took": stage["state"] if stage["seconds"] is None and not last else duration(seconds),
                "note": stage.get("reason") or stage.get("error") or "",
                "repairs": [
                    round((datetime.fromisoformat(r["time"]).timestamp() - first) / whole * 100, 3) for r in repairs
                ],
            }
        )
    return rows


def happened(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Repairs and resumptions in the order of their time."""
    rows = [
        {
            "time": _when(repair), "stage": repair.get("stage", ""), "step": _step(repair.get("step")),
            "text": f"{repair.get('cause')}: {repair.get('action')}",
            "changed": _changed(repair.get("before"), repair.get("after")),
        }
        for repair in summary["repairs"]
    ] + [
        {
            "time": _when(resume), "stage": resume.get("stage", ""), "step": _step(resume.get("from_step")),
            "text": "taken up again", "changed": "",
        }
        for resume in summary["resumes"]
    ]  # fmt: skip
    return sorted(rows, key=lambda row: str(row["time"]))


def _when(record: Mapping[str, Any]) -> str:
    """The time of a record, UTC, without the offset."""
    return str(record.get("time", "")).replace("T", " ").removesuffix("+00:00")


def _step(step: Any) -> str:
    return "" if step is None else f"{step:,}"


def _changed(before: Any, after: Any) -> str:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return ", ".join(f"{key} {show(before.get(key))} → {show(value)}" for key, value in after.items())
    return f"{show(before)} → {show(after)}" if before is not None or after is not None else ""


def provenance(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions, hashes and the machine."""
    environment = manifest.get("environment") or {}
    rows = [("ql", str(manifest.get("ql_version")))]
    if environment.get("python"):
        rows.append(("python", str(environment["python"])))
    rows += [(name, str(value)) for name, value in (environment.get("versions") or {}).items() if value]
    for device in environment.get("devices") or []:
        rows.append(
            ("device", f"{device.get('name')}, {device.get('total_gib')} GiB, driver {device.get('driver', '?')}")
        )
    data, golden = manifest.get("data") or {}, manifest.get("golden")
    digest = data.get("input_sha256") or data.get("sha256")
    if isinstance(digest, str):
        rows.append(("sha256 of the data", digest))
    if isinstance(data.get("sha256"), Mapping):
        rows += [(f"sha256 of {name}", value) for name, value in data["sha256"].items()]
    if golden:
        rows.append(("sha256 of the golden set", golden["sha256"]))
    for shard in (manifest.get("merge") or {}).get("shards") or []:
        rows.append((f"sha256 of merged/{shard['file']}", shard["sha256"]))
    return rows


def show(value: Any) -> str:
    """A value of the plan as text."""
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
