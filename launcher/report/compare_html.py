"""The comparison of runs as one self-contained page, in the dress of the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from launcher.report.charts import Drawn, Figure, describe_curve, table_of
from launcher.report.compared import Comparison, Flip, GateVerdict
from launcher.report.comparison import FIGURES, RunFacts
from launcher.report.difference import segments
from launcher.report.html import render
from launcher.report.page import show
from launcher.report.prompts import prompt_text, shared_start
from launcher.report.words import duration, usd

COLORS = "abcef"  # of the curves of each run, in turn
_CHARTS = (
    ("loss", "Train loss", "logs", "loss", "loss"),
    ("evals", "Evaluation loss", "evals", "eval_loss", "loss"),
    ("speed", "Tokens per second", "logs", "tokens_per_second", "tokens/s"),
    ("memory", "Peak memory so far", "logs", "peak_memory_gib", "GiB"),
)


def render_comparison(facts: Comparison, runs: Sequence[RunFacts]) -> str:
    """The page as HTML text; ``facts`` are what `compare_runs` found in ``runs``."""
    figures, data = _charts(runs)
    title = " against ".join(run.name for run in runs)
    page = {
        **facts,
        "names": [run.name for run in runs],
        "title": title,
        "charts": figures,
        "rows": _rows(facts),
        "scores": _scores(facts),
        "plan": [{"key": row["key"], "values": [show(value) for value in row["values"]]} for row in facts["plan"]],
        "golden": [{**pair, "flipped": _flips(pair["flipped"])} for pair in facts["golden"]],
    }
    return render("report_compare.html.j2", title, data if figures else None, page=page)


def _charts(runs: Sequence[RunFacts]) -> tuple[list[Figure], dict[str, object]]:
    sets: dict[str, dict[str, Any]] = {}
    for index, run in enumerate(runs):
        start = next((begin["time"] for begin in run.series.begins if begin["time"]), 0)
        for kind, columns in (("logs", run.series.logs), ("evals", run.series.evals)):
            if columns.get("step"):
                sets[f"{kind}{index}"] = {**columns, "start": start}
    figures: list[Figure] = []
    for name, title, kind, column, unit in _CHARTS:
        drawn: list[Drawn] = [
            {
                "label": run.name, "set": f"{kind}{index}", "column": column, "color": COLORS[index % len(COLORS)],
                "points": kind == "evals", "dash": [] if index < len(COLORS) else [6, 4],
            }
            for index, run in enumerate(runs)
            if any(value is not None for value in sets.get(f"{kind}{index}", {}).get(column, ()))
        ]  # fmt: skip
        if not drawn:
            continue
        tables = [
            table_of(one["set"], sets[one["set"]], f"{title.lower()} of {one['label']}", ("step", "epoch", column))
            for one in drawn
        ]
        about = "; ".join(describe_curve(one["label"], sets[one["set"]], column, unit) for one in drawn) + "."
        figures.append(
            {"id": name, "title": title, "unit": unit, "about": about, "series": drawn, "lines": [], "tables": tables,
             "zero": name in ("speed", "memory")}
        )  # fmt: skip
    charts = [{key: figure[key] for key in ("id", "unit", "series", "lines", "zero")} for figure in figures]
    return figures, {"sets": sets, "charts": charts, "marks": [], "lengths": None}


def _rows(facts: Comparison) -> list[tuple[str, list[str]]]:
    rows = [
        (name, [figure(key, unit, run[key]) for run in facts["runs"]])
        for key, name, unit in FIGURES
        if any(run[key] is not None for run in facts["runs"])
    ]
    method = ("method", [f"{run['method']} with {run['backend']}" for run in facts["runs"]])
    return [method, ("gates", [_gates(run["gates"]) for run in facts["runs"]]), *rows]


def _gates(gates: Sequence[GateVerdict]) -> str:
    """Whether a run passed its gates, short enough for a telephone."""
    missed = sum(not gate["passed"] for gate in gates)
    return "none" if not gates else f"{missed} of {len(gates)} missed" if missed else "passed"


def figure(key: str, unit: str, value: Any) -> str:
    """A figure of a run with its unit."""
    if value is None:
        return "–"
    if key == "seconds":
        return duration(value)
    if key == "usd":
        return usd(value)
    if unit == "GiB":
        return f"{value:.2f} GiB"
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    return f"{text} {unit}".rstrip()


def _scores(facts: Comparison) -> list[dict[str, object]]:
    """A line for each metric of each pair."""
    return [
        {**score, "metric": metric, "first_name": pair["first"], "second_name": pair["second"]}
        for pair in facts["golden"]
        for metric, score in pair["metrics"].items()
    ]


def _flips(flipped: Sequence[Flip]) -> list[dict[str, object]]:
    """The prompts that flipped, for the page; ``short`` leaves out what all of them begin with."""
    texts = [prompt_text(flip["input"]) for flip in flipped]
    shared = shared_start(texts)
    return [
        {
            **flip,
            "input": text,
            "short": text[shared:],
            "change": "better" if flip["second_score"] > flip["first_score"] else "worse",
            "segments": segments(flip["second"], flip["first"]),
        }
        for flip, text in zip(flipped, texts, strict=True)
    ]
