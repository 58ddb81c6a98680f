"""A run that ql plans: the settings are those of a request, and the rows are the file of ``--data``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from launcher.configs.findings import Finding
from launcher.configs.render import render_config
from launcher.configs.validate import check_text
from launcher.data.base import find_base
from launcher.data.chat import ChatTemplate, load_chat_template
from launcher.data.inspect import inspect_data
from launcher.data.read_as import AS_IT_IS, ReadAs
from launcher.data.report import DataReport
from launcher.data.special import special_tokens
from launcher.errors import BadInput, Problem
from launcher.golden.rows import GoldenRow, read_golden
from launcher.planning.decide import make_plan
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.planning.settle import settle
from launcher.preparing.origin import Origin, PlannedRun, TrainerFiles
from launcher.preparing.prepared import TEMPLATE_FILE, Exam, GivenFile


class FromRequest(Origin):
    """A request, and the file that is trained on."""

    report: DataReport

    def __init__(
        self, request: Request, data: Path, read_as: ReadAs = AS_IT_IS, inspected: DataReport | None = None
    ) -> None:
        self.request, self.data, self.read_as, self.inspected = request, data, read_as, inspected
        self.base = find_base(request.base_model)
        self.settled = settle(request)

    def read_rows(self, exam: Exam) -> list[Problem]:
        self.report = self.inspected or inspect_data(
            self.data,
            base=self.base,
            chat_template=self.settled.chat_template,
            golden=exam.golden,
            allow_overlap=exam.allow_overlap,
            columns=self.read_as.columns,
            thoughts=self.read_as.thoughts,
        )
        return list(self.report.problems("error"))

    def read_golden(self, path: Path) -> list[GoldenRow]:
        return read_golden(path, conversational=self.report.conversational, columns=self.read_as.columns)

    def plan(self) -> PlannedRun:
        settled, report = self.settled, self.report
        facts = report.facts(settled.eval_fraction, settled.seed)
        request = replace(self.request, data=facts)
        plan = make_plan(request)
        if facts.tokens_max > plan.sequence_len:  # only now is it known what the length cuts
            report = report.limited(plan.sequence_len, plan.excess_length)
            report.require_rows()
        return PlannedRun(plan, request, GivenFile(report, settled.eval_fraction, settled.seed), report)

    def render(self, planned: PlannedRun) -> TrainerFiles:
        plan, request = planned.plan, planned.request
        conversational = self.report.conversational
        template: ChatTemplate | None = load_chat_template(plan.chat_template, self.base) if conversational else None
        tokens = special_tokens(self.base, template, vocab_size=request.model.vocab_size)
        files = render_config(plan, tokens, masked=self.report.masked)
        if template is not None:
            files[TEMPLATE_FILE] = template.text
        return TrainerFiles(files, _check(files["config.yaml"], plan, request), {})


def _check(config: str, plan: Plan, request: Request) -> tuple[Finding, ...]:
    """Our own config through the validator that everybody's config goes through.

    An error here is a fault of ql, or comes of the name of the base model.
    """
    findings = check_text(config, file="config.yaml", gpu=plan.gpu, corrections=request.memory_corrections)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise BadInput(
            [
                Problem(f"{found.code}: {found.message}", file="config.yaml", line=found.line, hint=found.hint or None)
                for found in errors
            ]
        )
    return tuple(findings)
