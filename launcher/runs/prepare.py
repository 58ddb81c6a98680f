"""Everything before the trainer: request, data, plan, config and its findings. No GPU, no torch, nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from launcher.configs.findings import Finding
from launcher.configs.render import render_config
from launcher.configs.validate import check_text
from launcher.data.base import find_base
from launcher.data.chat import ChatTemplate, load_chat_template
from launcher.data.inspect import inspect_data
from launcher.data.report import DataReport
from launcher.data.special import special_tokens
from launcher.errors import BadInput, Problem
from launcher.golden.evaluate import metrics_for
from launcher.golden.rows import GoldenRow, read_golden, repeats_note
from launcher.planning.decide import make_plan
from launcher.planning.estimate import estimate_plan_memory
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.runs.asked import Asked
from launcher.runs.prepared import TEMPLATE_FILE, Prepared, read_gates, require_fit


def prepare_asked(asked: Asked, trainer_python: str) -> Prepared:
    """Decide and check what was asked for: a run planned here, or one read back from a config that the person edited.

    Raises what `prepare` and `launcher.runs.edited.prepare.prepare_edited` raise.
    """
    if asked.config is not None:
        from launcher.runs.edited.prepare import prepare_edited

        return prepare_edited(asked, trainer_python)
    assert asked.data is not None
    golden = Path(asked.golden) if asked.golden else None
    return prepare(
        asked.request(), Path(asked.data), golden=golden, gates=asked.gates, allow_overlap=asked.allow_overlap
    )


def prepare(
    request: Request,
    data: Path,
    *,
    golden: Path | None = None,
    gates: Sequence[str] = (),
    allow_overlap: bool = False,
) -> Prepared:
    """Decide and check everything that can be known before a GPU is touched.

    Raises Unreadable or BadInput with every problem of the data, the golden set, the gates and the plan, and BadInput
    when the plan does not fit its card.
    """
    parsed = read_gates(gates, golden)
    base = find_base(request.base_model)
    template_name = str(request.overrides.get("chat_template") or request.model.chat_template)
    report = inspect_data(data, base=base, chat_template=template_name, golden=golden, allow_overlap=allow_overlap)
    problems = list(report.problems("error"))
    rows: list[GoldenRow] = []
    if golden is not None:
        try:
            rows = read_golden(golden, conversational=report.conversational)
        except BadInput as error:
            problems += error.problems
    if problems:
        raise BadInput(problems)
    if golden is not None:
        metrics_for(rows, parsed, golden)  # a missing library or pattern is said now, not after the training
    request = replace(request, data=report.facts())
    plan = make_plan(request)
    # The held-out rows follow from the plan's fraction and seed, and the plan's cadence from whether there are any.
    facts = report.facts(plan.eval_fraction, plan.seed)
    request = replace(request, data=facts)
    plan = make_plan(request)
    if facts.tokens_max > plan.sequence_len:  # only now is it known what the length cuts
        report = report.limited(plan.sequence_len, plan.excess_length)
        report.require_rows()
    memory = estimate_plan_memory(plan, request)
    require_fit(memory, request.gpu, plan.method)
    files = _render(plan, request, report, base)
    findings = _check(files, plan)
    return Prepared(
        request=request,
        plan=plan,
        report=report,
        memory=memory,
        files=files,
        findings=findings,
        base_folder=base,
        golden_path=golden,
        golden=tuple(rows),
        gates=parsed,
        allow_overlap=allow_overlap,
        notes=repeats_note(rows, golden) if golden is not None else (),
    )


def _render(plan: Plan, request: Request, report: DataReport, base: Path | None) -> dict[str, str]:
    template: ChatTemplate | None = load_chat_template(plan.chat_template, base) if report.conversational else None
    tokens = special_tokens(base, template, vocab_size=request.model.vocab_size)
    files = render_config(plan, tokens, masked=report.masked)
    if template is not None:
        files[TEMPLATE_FILE] = template.text
    return files


def _check(files: dict[str, str], plan: Plan) -> tuple[Finding, ...]:
    """Our own config through the validator that everybody's config goes through.

    An error here is a fault of ql, or comes of the name of the base model.
    """
    findings = check_text(files["config.yaml"], file="config.yaml", gpu=plan.gpu)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise BadInput(
            [
                Problem(f"{found.code}: {found.message}", file="config.yaml", line=found.line, hint=found.hint or None)
                for found in errors
            ]
        )
    return tuple(findings)
