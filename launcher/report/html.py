"""report.html: one self-contained page, the verdict first. Nothing in it is fetched, and only its own scripts run."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import PurePath
from typing import Any

from launcher import __version__
from launcher.records.run import Manifest
from launcher.records.summary import Summary
from launcher.report import page as parts
from launcher.report.charts import make_charts
from launcher.report.payload import pack
from launcher.report.prompts import Answers, compare_prompts, main_metric
from launcher.report.rerun import rerun_command
from launcher.report.series import Series
from launcher.resources import resource

SCRIPTS = ("vendor/uplot/uPlot.iife.min.js", "report_page.js", "report_charts.js")


def render_report(
    summary: Summary,
    record: Manifest,
    settings: Sequence[str],
    commands: Mapping[str, Sequence[str]],
    series: Series,
    answers: Answers,
) -> str:
    """The page of one run as HTML text.

    ``settings`` are the plan's keys in their order, ``commands`` the
    serving commands, ``series`` the telemetry, ``answers`` the lines of golden/scores by subject.
    """
    metric = main_metric(record)
    prompts = compare_prompts(answers, metric)
    charts, data = make_charts(series, record)
    lengths = parts.lengths(record)
    golden = summary.golden
    again = {"run it again": rerun_command(record)}
    serve = {f"serve {title} with vLLM": argv for title, argv in commands.items()}
    run = {
        "name": summary.name,
        "subtitle": _subtitle(summary, record),
        "verdict": parts.verdict(summary),
        "figures": parts.figures(summary, record, metric),
        "sections": _sections(bool(golden), bool(charts), bool(summary.merge)),
        "gates": summary.gates,
        "golden": golden,
        "metrics": list(dict.fromkeys(name for scores in golden.values() for name in scores)),
        "main_metric": metric.replace("_", " "),
        "prompts": prompts,
        "charts": charts,
        "merge_facts": parts.merge_facts(record.merge),
        "data_facts": parts.data_facts(record),
        "lengths": lengths,
        "timeline": parts.timeline(summary),
        "happened": parts.happened(summary),
        "repairs": summary.repairs,
        "resumes": summary.resumes,
        "warnings": summary.warnings,
        "notes": summary.notes,
        "plan_rows": parts.plan_rows(record, settings),
        "commands": [(title, shlex.join(argv)) for title, argv in {**serve, **again}.items()],
        "provenance": parts.provenance(record),
    }
    payload = {**(data or {"sets": {}, "charts": [], "marks": []}), "lengths": lengths}
    return render("report.html.j2", summary.name, payload if data or lengths else None, run=run)


def render(template: str, title: str, payload: Any, **context: Any) -> str:
    """A page of one of the report templates, with style, scripts and the licence of the charts inside it."""
    scripts = _scripts()
    hashes = [base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii") for text in scripts]
    from markupsafe import Markup

    page: str = (
        _environment()
        .get_template(template)
        .render(
            title=title,
            style=Markup(_read("vendor/uplot/uPlot.min.css") + "\n" + _read("report.css")),
            scripts=[Markup(text) for text in scripts],
            script_hashes=" ".join(f"'sha256-{digest}'" for digest in hashes),
            chart_licence=_read("vendor/uplot/LICENSE"),
            ql_version=__version__,
            payload=None if payload is None else Markup(pack(payload)),
            **context,
        )
    )
    return page


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(resource("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _scripts() -> list[str]:
    return [_read(name) for name in SCRIPTS]


@cache
def _read(name: str) -> str:
    return resource("templates", *name.split("/")).read_text(encoding="utf-8")


def _subtitle(summary: Summary, record: Manifest) -> str:
    plan = record.plan
    card = (record.estimate and record.estimate.gpu_title) or plan.get("gpu") or ""
    base = PurePath(plan["base_model"])
    started = datetime.fromisoformat(summary.created).strftime("%Y-%m-%d %H:%M %Z")
    method = f"{plan['method']} with {plan['backend']}"
    parts_of_it = [base.name if base.is_absolute() else plan["base_model"], method, card, started]
    return " · ".join(str(part) for part in parts_of_it if part)


def _sections(golden: bool, charts: bool, merge: bool) -> list[tuple[str, str]]:
    found = [("golden", "Golden set")] if golden else []
    found += [("training", "Training")] if charts else []
    found += [("merge", "Merge")] if merge else []
    rest = (
        ("data", "Data"),
        ("timeline", "Stages"),
        ("plan-title", "Plan"),
        ("again", "Commands"),
        ("made-with", "Made with"),
    )
    return found + list(rest)
