"""The charts of a report: which columns, which lines for prediction and budget, and the table behind each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict

from launcher.records.run import Estimate, Manifest
from launcher.report.series import Series

SAMPLED_ROWS = 25  # of a table that the page is written with; its script fills in all of them
Columns = Mapping[str, Sequence[Any]]


class ChartLine(TypedDict):
    """A level that a curve is held against."""

    label: str
    value: float
    color: str


class Drawn(TypedDict, total=False):
    """A curve: a column of one of the sets."""

    label: str
    set: str
    column: str
    color: str
    points: bool
    dash: list[int]


class Table(TypedDict):
    """The numbers behind a chart; ``total`` counts all rows."""

    set: str
    title: str
    columns: list[str]
    rows: list[list[Any]]
    total: int


class Figure(TypedDict):
    """A chart, in words too."""

    id: str
    title: str
    unit: str
    about: str
    series: list[Drawn]
    lines: list[ChartLine]
    zero: bool
    tables: list[Table]


class Mark(TypedDict):
    """Something that happened, at a step and so many seconds after the start."""

    kind: str
    step: int | None
    time: float | None


def make_charts(series: Series, record: Manifest) -> tuple[list[Figure], dict[str, Any]]:
    """``(figures, data)``: what the template needs of each chart, and what its script draws and shows in tables."""
    sets = {name: columns for name, columns in (("logs", series.logs), ("evals", series.evals)) if columns.get("step")}
    if not sets:
        return [], {}
    estimate = record.estimate or Estimate()
    figures = [
        figure
        for figure in (
            _loss(sets),
            _single(sets, "rate", "Learning rate", "learning_rate", "", "c"),
            _single(sets, "norm", "Gradient norm", "grad_norm", "", "e", _clip(record)),
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
        "marks": _marks(series, record),
    }
    return figures, data


def _loss(sets: Mapping[str, Columns]) -> Figure | None:
    drawn: list[Drawn] = []
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
    lines: Sequence[ChartLine] = (),
) -> Figure | None:  # fmt: skip
    if "logs" not in sets or not _any(sets["logs"].get(column, ())):
        return None
    drawn: list[Drawn] = [{"label": title.lower(), "set": "logs", "column": column, "color": color}]
    tables = {"logs": (title.lower(), ("step", "epoch", column))}
    return _figure(sets, name, title, unit, drawn, tables, lines, zero=True)


def _memory(sets: Mapping[str, Columns], estimate: Estimate) -> Figure | None:
    if "logs" not in sets:
        return None
    labels: tuple[tuple[str, str, str, list[int]], ...] = (
        ("device_gib", "on the device", "a", []),
        ("peak_memory_gib", "peak so far", "c", []),
        ("peak_allocated_gib", "peak allocated", "f", [4, 3]),
    )
    drawn: list[Drawn] = [
        {"label": label, "set": "logs", "column": column, "color": color, "dash": dash}
        for column, label, color, dash in labels
        if _any(sets["logs"].get(column, ()))
    ]
    if not drawn:
        return None
    lines: list[ChartLine] = [
        {"label": label, "value": value, "color": color}
        for value, label, color in ((estimate.peak_gib, "predicted", "b"), (estimate.budget_gib, "budget", "d"))
        if value
    ]
    columns = ["step", "epoch", *(str(one["column"]) for one in drawn)]
    return _figure(sets, "memory", "Memory", "GiB", drawn, {"logs": ("memory in GiB", columns)}, lines, zero=True)


def _clip(record: Manifest) -> list[ChartLine]:
    clip = record.plan.get("max_grad_norm")
    return [{"label": "clipped at", "value": clip, "color": "d"}] if clip else []


def _speed(estimate: Estimate) -> list[ChartLine]:
    speed = estimate.tokens_per_second
    return [{"label": "predicted", "value": speed, "color": "b"}] if speed else []


def _figure(
    sets: Mapping[str, Columns], name: str, title: str, unit: str, drawn: Sequence[Drawn],
    tables: Mapping[str, tuple[str, Sequence[str]]], lines: Sequence[ChartLine] = (), *, zero: bool = False,
) -> Figure:  # fmt: skip
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


def table_of(name: str, columns: Columns, title: str, names: Sequence[str]) -> Table:
    """The table behind a chart, with SAMPLED_ROWS of its rows."""
    names = [column for column in names if _any(columns.get(column, ()))]
    total = len(columns["step"])
    chosen = (
        range(total) if total <= SAMPLED_ROWS else [i * (total - 1) // (SAMPLED_ROWS - 1) for i in range(SAMPLED_ROWS)]
    )
    rows = [[_n(columns[column][index]) for column in names] for index in chosen]
    return {"set": name, "title": title, "columns": names, "rows": rows, "total": total}


def _marks(series: Series, record: Manifest) -> list[Mark]:
    """Evaluations, checkpoints, repairs and resumptions, with step and time where they are known."""
    steps, times = series.logs.get("step", []), series.logs.get("time", [])
    at = dict(zip(steps, times, strict=True))
    start = next((begin["time"] for begin in series.begins if begin["time"]), None) or _first(times)

    def since(moment: float | None) -> float | None:
        return None if moment is None or start is None else round(moment - start, 3)

    evals = series.evals
    marks: list[Mark] = [
        {"kind": "eval", "step": step, "time": since(time)}
        for step, time, gone in zip(evals["step"], evals["time"], evals["superseded"], strict=True)
        if not gone
    ]
    marks += [{"kind": "save", "step": step, "time": since(at.get(step))} for step in series.saves]
    marks += [{"kind": "resume", "step": begin["step"], "time": since(begin["time"])} for begin in series.begins[1:]]
    for repair in record.repairs:
        moment = datetime.fromisoformat(repair.time).timestamp()
        marks.append({"kind": "repair", "step": repair.step, "time": since(moment)})
    return marks


def _used(columns: Columns) -> dict[str, Sequence[Any]]:
    return {name: values for name, values in columns.items() if name in ("step", "time") or _any(values)}


def _any(values: Sequence[Any]) -> bool:
    return any(value is not None for value in values)


def _first(values: Sequence[Any]) -> Any:
    return next((value for value in values if value is not None), 0)


def _n(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
