"""The charts of a report: which columns, which lines for prediction and budget, and the table behind each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from launcher.report.series import Series

SAMPLED_ROWS = 25  # of a table that the page is written with; its script fills in all of them
Columns = Mapping[str, Sequence[Any]]


def make_charts(series: Series, manifest: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """``(figures, data)``: what the template needs of each chart, and what its script draws and shows in tables."""
    sets = {name: columns for name, columns in (("logs", series.logs), ("evals", series.evals)) if columns.get("step")}
    if not sets:
        return [], {}
    estimate = manifest.get("estimate") or {}
    figures = [
        figure
        for figure in (
            _loss(sets),
            _single(sets, "rate", "Learning rate", "learning_rate", "", "c"),
            _single(sets, "norm", "Gradient norm", "grad_norm", "", "e", _clip(manifest)),
            _single(sets, "speed", "Tokens per second", "tokens_per_second", "tokens/s", "f", _speed(estimate)),
            _memory(sets, estimate),
        )
        if figure
    ]
    start = next((begin["time"] for begin in series.begins if begin["time"]), None)
    data = {
        "sets": {name: {**_used(columns), "start": start or _first(columns["time"])} for name, columns in sets.items()},
        "charts": [
            {key: figure.get(key) for key in ("id", "unit", "series", "lines", "log", "zero")} for figure in figures
        ],
        "marks": _marks(series, manifest),
    }
    return figures, data


def _loss(sets: Mapping[str, Columns]) -> dict[str, Any] | None:
    drawn: list[dict[str, Any]] = []
    if "logs" in sets and _any(sets["logs"]["loss"]):
        drawn.append({"label": "train loss", "set": "logs", "column": "loss", "color": "a"})
    if "evals" in sets and _any(sets["evals"]["eval_loss"]):
        drawn.append({"label": "eval loss", "set": "evals", "column": "eval_loss", "color": "b", "points": True})
    if not drawn:
        return None
    tables = {
        "logs": ("training loss", ("step", "epoch", "loss")),
        "evals": ("evaluations", ("step", "epoch", "eval_loss")),
    }
    return _figure(sets, "loss", "Loss", "loss", drawn, tables)


def _single(
    sets: Mapping[str, Columns], name: str, title: str, column: str, unit: str, color: str,
    lines: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any] | None:  # fmt: skip
    if "logs" not in sets or not _any(sets["logs"].get(column, ())):
        return None
    drawn = [{"label": title.lower(), "set": "logs", "column": column, "color": color}]
    tables = {"logs": (title.lower(), ("step", "epoch", column))}
    return _figure(sets, name, title, unit, drawn, tables, lines, zero=True)


def _memory(sets: Mapping[str, Columns], estimate: Mapping[str, Any]) -> dict[str, Any] | None:
    if "logs" not in sets:
        return None
    labels: tuple[tuple[str, str, str, list[int]], ...] = (
        ("device_gib", "on the device", "a", []),
        ("peak_memory_gib", "peak so far", "c", []),
        ("peak_allocated_gib", "peak allocated", "f", [4, 3]),
    )
    drawn = [
        {"label": label, "set": "logs", "column": column, "color": color, "dash": dash}
        for column, label, color, dash in labels
        if _any(sets["logs"].get(column, ()))
    ]
    if not drawn:
        return None
    lines = [
        {"label": label, "value": estimate[key], "color": color}
        for key, label, color in (("peak_gib", "predicted", "b"), ("budget_gib", "budget", "d"))
        if estimate.get(key)
    ]
    columns = ["step", "epoch", *(str(one["column"]) for one in drawn)]
    return _figure(sets, "memory", "Memory", "GiB", drawn, {"logs": ("memory in GiB", columns)}, lines, zero=True)


def _clip(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    clip = manifest["plan"].get("max_grad_norm")
    return [{"label": "clipped at", "value": clip, "color": "d"}] if clip else []


def _speed(estimate: Mapping[str, Any]) -> list[dict[str, Any]]:
    speed = estimate.get("tokens_per_second")
    return [{"label": "predicted", "value": speed, "color": "b"}] if speed else []


def _figure(
    sets: Mapping[str, Columns], name: str, title: str, unit: str, drawn: Sequence[Mapping[str, Any]],
    tables: Mapping[str, tuple[str, Sequence[str]]], lines: Sequence[Mapping[str, Any]] = (), *, zero: bool = False,
) -> dict[str, Any]:  # fmt: skip
    about = [describe_curve(one["label"], sets[one["set"]], one["column"], unit) for one in drawn]
    about += [f"{line['label']} {line['value']:.4g} {unit}".rstrip() for line in lines]
    return {
        "id": name,
        "title": title,
        "unit": unit,
        "about": "; ".join([about[0][:1].upper() + about[0][1:], *about[1:]]) + ".",
        "series": list(drawn),
        "lines": list(lines),
        "zero": zero,
        "tables": [table_of(key, sets[key], *tables[key]) for key in tables if key in sets],
    }


def describe_curve(label: str, columns: Columns, column: str, unit: str) -> str:
    """A curve in words, for those who do not see it: first, last, lowest and highest value, and its holes."""
    steps = columns["step"]
    gone = columns.get("superseded") or [0] * len(steps)
    rows = [(s, v) for s, v, g in zip(steps, columns[column], gone, strict=True) if not g]
    kept = [(step, value) for step, value in rows if value is not None]
    if not kept:
        return f"{label}: nothing"
    lost = [step for step, value in rows if value is None]
    low, high = min(kept, key=lambda pair: pair[1]), max(kept, key=lambda pair: pair[1])
    unit = f" {unit}" if unit not in ("", "loss") else ""
    text = f"{label} {_n(kept[0][1])}{unit} at step {kept[0][0]}, {_n(kept[-1][1])} at step {kept[-1][0]}"
    text += f", lowest {_n(low[1])} at {low[0]}, highest {_n(high[1])} at {high[0]}"
    if lost:  # the curve has a hole there, or ends: a chart alone would look whole
        text += f", no finite number at {len(lost)} of {len(rows)} steps, the first of them {lost[0]}"
    return text


def table_of(name: str, columns: Columns, title: str, names: Sequence[str]) -> dict[str, Any]:
    """The table behind a chart, with SAMPLED_ROWS of its rows."""
    names = [column for column in names if _any(columns.get(column, ()))]
    total = len(columns["step"])
    chosen = (
        range(total) if total <= SAMPLED_ROWS else [i * (total - 1) // (SAMPLED_ROWS - 1) for i in range(SAMPLED_ROWS)]
    )
    rows = [[_n(columns[column][index]) for column in names] for index in chosen]
    return {"set": name, "title": title, "columns": names, "rows": rows, "total": total}


def _marks(series: Series, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Evaluations, checkpoints, repairs and resumptions, with step and time where they are known."""
    steps, times = series.logs.get("step", []), series.logs.get("time", [])
    at = dict(zip(steps, times, strict=True))
    start = next((begin["time"] for begin in series.begins if begin["time"]), None) or _first(times)

    def since(moment: float | None) -> float | None:
        return None if moment is None or start is None else round(moment - start, 3)

    evals = series.evals
    marks = [
        {"kind": "eval", "step": step, "time": since(time)}
        for step, time, gone in zip(evals["step"], evals["time"], evals["superseded"], strict=True)
        if not gone
    ]
    marks += [{"kind": "save", "step": step, "time": since(at.get(step))} for step in series.saves]
    marks += [{"kind": "resume", "step": begin["step"], "time": since(begin["time"])} for begin in series.begins[1:]]
    for repair in manifest.get("repairs") or []:
        moment = datetime.fromisoformat(repair["time"]).timestamp()
        marks.append({"kind": "repair", "step": repair.get("step"), "time": since(moment)})
    return marks


def _used(columns: Columns) -> dict[str, Any]:
    return {name: values for name, values in columns.items() if name in ("step", "time") or _any(values)}


def _any(values: Sequence[Any]) -> bool:
    return any(value is not None for value in values)


def _first(values: Sequence[Any]) -> Any:
    return next((value for value in values if value is not None), 0)


def _n(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
