"""Everything before the trainer: request, data, plan, config and its findings. No GPU, no torch, nothing written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from launcher.catalog import Gpu
from launcher.configs.findings import Finding
from launcher.configs.render import render_config
from launcher.configs.validate import check_text
from launcher.data.base import find_base
from launcher.data.chat import ChatTemplate, load_chat_template
from launcher.data.inspect import inspect_data
from launcher.data.prepare import prepare_data
from launcher.data.report import DataReport
from launcher.data.special import special_tokens
from launcher.errors import BadInput, Problem, Unreadable
from launcher.files import write_atomic
from launcher.golden.evaluate import metrics_for
from launcher.golden.gates import Gate, parse_gates
from launcher.golden.rows import GoldenRow, read_golden
from launcher.planning.decide import make_plan
from launcher.planning.estimate import estimate_plan_memory
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.sizing import MemoryEstimate

TEMPLATE_FILE = "chat_template.jinja"


@dataclass(frozen=True)
class Prepared:
    """A run that could start: decided, rendered and checked.

    ``files`` are the trainer's files by name; ``base_folder`` is None when the base model is not on this machine yet.
    ``overlay`` has the keys of the config that this run changes, as paths inside a run differ from those outside.
    """

    request: Request
    plan: Plan
    report: DataReport | None
    memory: MemoryEstimate
    files: dict[str, str]
    findings: tuple[Finding, ...]
    base_folder: Path | None
    golden_path: Path | None
    golden: tuple[GoldenRow, ...]
    gates: tuple[Gate, ...]
    allow_overlap: bool
    overlay: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def gpu(self) -> Gpu:
        return self.request.gpu

    @property
    def data_source(self) -> dict[str, Any]:
        """The file that the person gave, for the manifest."""
        assert self.report is not None
        return {"path": str(self.report.path.resolve()), "sha256": self.report.sha256}

    @property
    def hashes(self) -> dict[str, str]:
        """The sha256 of each of the trainer's files."""
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in self.files.items()}

    @property
    def excess(self) -> str | None:
        """What the sequence length does to rows that are longer; None when there are none, or nobody knows."""
        excess = self.report.excess if self.report else None
        if self.report is None or excess is None or not excess.long_rows:
            return None
        return excess.describe(self.report.row_count, self.report.facts().exact)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the trainer's files and its data into ``folder``; the facts of the data come back for the manifest."""
        assert self.report is not None
        for name, text in self.files.items():
            write_atomic(folder / name, text)
        written = prepare_data(
            self.report.path,
            folder,
            eval_fraction=self.plan.eval_fraction,
            seed=self.plan.seed,
            sequence_len=self.plan.sequence_len,
            excess_length=self.plan.excess_length,
            chat_template=self.plan.chat_template,
            base=self.base_folder,
            golden=self.golden_path,
            allow_overlap=self.allow_overlap,
            report=self.report,
        )
        return written.to_dict()


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
    require_fit(memory, request.gpu)
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
    )


def read_gates(gates: Sequence[str], golden: Path | None) -> tuple[Gate, ...]:
    """The gates of a launch. Raises Unreadable for a bad one, and for any when there is no golden set."""
    if gates and golden is None:
        raise Unreadable("--gate needs a golden set to be measured on", hint="add --golden FILE.jsonl")
    return tuple(parse_gates(gates))


def _render(plan: Plan, request: Request, report: DataReport, base: Path | None) -> dict[str, str]:
    template: ChatTemplate | None = load_chat_template(plan.chat_template, base) if report.conversational else None
    tokens = special_tokens(base, template, vocab_size=request.model.vocab_size)
    files = render_config(plan, tokens)
    if template is not None:
        files[TEMPLATE_FILE] = template.text
    return files


def require_fit(memory: MemoryEstimate, gpu: Gpu) -> None:
    """Raises BadInput when the plan does not fit the card it is for."""
    if not memory.fits:
        raise BadInput(
            f"this run needs {memory.needed_gib:.1f} GiB and {gpu.title} has {memory.budget_gib:.1f} GiB to give",
            hint="a shorter --set sequence_len=N, --method qlora, a smaller --model, or a larger card",
        )


def _check(files: dict[str, str], plan: Plan) -> tuple[Finding, ...]:
    """Our own config through the validator that everybody's config goes through; an error here is a fault of ql."""
    findings = check_text(files["config.yaml"], file="config.yaml", gpu=plan.gpu)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise BadInput(
            [Problem(f"{found.code}: {found.message}", file="config.yaml", line=found.line) for found in errors]
        )
    return tuple(findings)
