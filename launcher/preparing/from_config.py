"""A run of a config that was edited by hand: its settings enter here, and the file goes into the run byte for byte.

The plan is read back from it, so that merge, golden set, estimate and report speak of what is trained. Flags may agree
with the file; one that contradicts it is an error with the line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.catalog import Gpu, Preset, load_gpu, load_preset, load_recipe
from launcher.data.base import find_base
from launcher.data.chat import load_chat_template
from launcher.data.facts import DataFacts
from launcher.data.inspect import inspect_data
from launcher.data.report import DataReport
from launcher.data.survey import Survey, survey_of_own
from launcher.data.write import EVAL_FILE, TRAIN_FILE
from launcher.errors import BadInput, Problem, Unreadable
from launcher.golden.rows import GoldenRow, read_golden
from launcher.planning.plan import SETTINGS, Plan
from launcher.planning.request import Request
from launcher.planning.settle import Settled
from launcher.preparing.asked import Asked
from launcher.preparing.config_data import NamedFile, NamedFiles, SampledFile, count_rows, find_named, moved
from launcher.preparing.config_file import Edited, Template, model_of, paths_inside, read_edited, refusals, template_of
from launcher.preparing.config_flags import contradictions
from launcher.preparing.origin import Origin, PlannedRun, TrainerFiles
from launcher.preparing.prepared import TEMPLATE_FILE, Exam, TrainingRows, long_rows
from launcher.preparing.request import make_request
from launcher.resources import resource
from launcher.trainers import get_trainer
from launcher.trainers.readback import ReadBack, RowCounts


class FromConfig(Origin):
    """The config, what it says of each setting, and the rows: those of ``--data``, or of the files that it names."""

    def __init__(self, asked: Asked, find_card: Callable[[], Gpu]) -> None:
        """Read the config and settle what it says.

        Raises Unreadable for a file that is no training config, for flags that contradict it and for unknown names;
        BadInput where its schema refuses it, and for what its trainer does and a launch does not.
        """
        assert asked.config is not None
        self.edited = edited = read_edited(Path(asked.config))
        preset = load_preset(asked.preset) if asked.preset else None
        self.request = _request(edited, preset, _card(asked, preset, find_card))
        own_template = str(asked.settings.get("chat_template") or self.request.model.chat_template)
        self.template = template_of(edited, own_template)
        written = self._read_back(RowCounts())  # before the rows are known: what the config itself says
        if conflicts := contradictions(edited, written, self.template, asked):
            raise Unreadable(conflicts)
        self.written = written.values
        self.data = None if asked.data is None else Path(asked.data)
        self.read_as = asked.read_as
        self.settled = _settle(edited, written, self.template, asked, preset)
        self.base = find_base(edited.base_model)
        self.texts = _texts(edited, self.template, self.base)
        self.report: DataReport | None = None
        self.named: tuple[NamedFile, ...] = ()

    def _read_back(self, rows: RowCounts) -> ReadBack:
        edited, request = self.edited, self.request
        codec = get_trainer(edited.config.kind).codec
        return codec.decode(edited.config, edited.path.name, edited.positions, request.gpu, request.model, rows)

    def read_rows(self, exam: Exam) -> list[Problem]:
        """The rows, and the config with them. Raises BadInput with every error of either."""
        edited, surveys = self.edited, dict[Path, Survey]()
        supplied = {} if self.data is None else self._read_given(self.data, exam)
        golden = None if exam.allow_overlap else exam.golden
        self.findings = edited.validate(self.request, golden=golden, supplied=supplied, surveys=surveys)
        if self.data is None:
            self.named, problems = find_named(edited, surveys)
            if problems:
                raise BadInput(problems)
        named = [(item.found, item.trains) for item in self.named]
        given = [(supplied.get(str(name)), trains) for _, name, trains in edited.reader.files(edited.config)]
        self.rows = count_rows(named or given, edited.reader.held_out(edited.config))
        return []

    def _read_given(self, data: Path, exam: Exam) -> dict[str, Survey | None]:
        """Inspect the file of ``--data``; the files that it will be, by name, and the chat template's."""
        settled = self.settled
        report = inspect_data(
            data,
            base=self.base,
            chat_template=settled.chat_template,
            sequence_len=self.written["sequence_len"],
            excess_length=self.written["excess_length"],
            golden=exam.golden,
            allow_overlap=exam.allow_overlap,
            columns=self.read_as.columns,
            thoughts=self.read_as.thoughts,
        )
        report.require_rows()
        self.report = report
        train, held_out = report.split(settled.eval_fraction, settled.seed)
        columns = {column for file in self.edited.reader.rows(self.edited.config) for column in file.columns}
        column = "messages" if report.conversational else "text"
        files: dict[str, Survey | None] = {
            name: survey_of_own(len(rows), columns, column)
            for name, rows in ((TRAIN_FILE, train), (EVAL_FILE, held_out))
            if rows
        }
        return files | ({TEMPLATE_FILE: None} if TEMPLATE_FILE in self.texts else {})

    def read_golden(self, path: Path) -> list[GoldenRow]:
        """The golden set. Raises BadInput where the config's prompts are not ones that ql can ask."""
        edited = self.edited
        if refusal := edited.reader.asks_otherwise(edited.config):
            place, problem = refusal
            raise BadInput(edited.problem(place, problem.message, problem.hint))
        return read_golden(path, conversational=edited.is_chat, columns=self.read_as.columns)

    def plan(self) -> PlannedRun:
        edited, template = self.edited, self.template
        found = self._read_back(self.rows)
        decisions = dict(found.decisions)
        if template is not None:
            named = template.named if template.name is None or "/" in template.name else template.name
            decisions["chat_template"] = replace(decisions["chat_template"], value=named)
        plan = Plan(
            **self.request.identity(),
            eval_rows=self.rows.evaluation,
            conversational=edited.is_chat,
            decisions=decisions,
            **{setting: decision.value for setting, decision in decisions.items()},
        )
        report = self._report_for(plan)
        overrides = {key: getattr(plan, key) for key in SETTINGS}  # all of it was said by the person
        request = replace(self.request, overrides=overrides, data=self._facts(report))
        rows: TrainingRows
        if self.data is not None:
            assert self.report is not None
            rows = SampledFile(self.report, self.settled.eval_fraction, self.settled.seed)
        else:
            rows = NamedFiles(self.named, plan.conversational, self.rows, long_rows(report))
        return PlannedRun(plan, request, rows, report)

    def _report_for(self, plan: Plan) -> DataReport | None:
        """What the sequence length does to the rows. None for several files and unknown formats.

        Raises BadInput when no row would be left to train on.
        """
        report, template = self.report, self.template
        if report is None:
            trained = [item for item in self.named if item.trains]
            if len(trained) != 1 or (plan.conversational and (template is None or template.name is None)):
                return None
            report = inspect_data(trained[0].source, base=self.base, chat_template=self.settled.chat_template)
            if report.ok:
                report = report.limited(plan.sequence_len, plan.excess_length)
                report.require_rows()
        return report if report.ok and report.conversational == plan.conversational else None

    def _facts(self, report: DataReport | None) -> DataFacts | None:
        if report is None or self.rows.train is None:
            return None
        facts = replace(report, excess=None).facts()  # of all rows, as the files are counted
        evaluation = self.rows.evaluation or 0
        return replace(facts, rows=self.rows.train + evaluation, eval_rows=evaluation)

    def render(self, planned: PlannedRun) -> TrainerFiles:
        overlay = paths_inside(self.edited, self.template) | moved(self.edited.raw, self.named)
        warnings = tuple(
            f"{self.edited.name}:{finding.line}: {finding.message} [{finding.code}]"
            for finding in self.findings
            if finding.severity == "warning"
        )
        return TrainerFiles(self.texts, self.findings, overlay, warnings, self._notes())

    def _notes(self) -> tuple[str, ...]:
        """A train.py that is not ql's."""
        edited, notes = self.edited, []
        for name, source in get_trainer(edited.config.kind).copies.items():
            beside = edited.folder / name
            if beside.is_file() and beside.read_bytes() != resource("templates", source).read_bytes():
                notes.append(f"{beside} is not ql's own: it runs as it is")
        return tuple(notes)


def _card(asked: Asked, preset: Preset | None, find_card: Callable[[], Gpu]) -> Gpu:
    """The card of the flag, of the preset, or of this machine."""
    name = asked.gpu or (preset.gpu if preset else None)
    return find_card() if name is None else load_gpu(name)


def _request(edited: Edited, preset: Preset | None, gpu: Gpu) -> Request:
    """Card and model of the config, with the preset that was named.

    Raises Unreadable for unknown names, BadInput for what the trainer does and a launch does not.
    """
    model = model_of(edited, preset)
    if problems := refusals(edited):
        raise BadInput(problems)
    request = make_request(gpu=gpu.name, model=model.name if preset else edited.base_model)
    return replace(request, preset=preset, model=model, base_model=edited.base_model)


def _settle(
    edited: Edited, written: ReadBack, template: Template | None, asked: Asked, preset: Preset | None
) -> Settled:
    """How rows are read, and how the file of ``--data`` is split: as the config says, or as preset and recipe do."""
    layers: list[Mapping[str, Any]] = [
        asked.settings,
        preset.settings if preset else {},
        load_recipe(written.values["method"]).settings,
    ]
    fraction = next(layer["eval_fraction"] for layer in layers if "eval_fraction" in layer)
    return Settled(
        chat_template=(template.name if template else None) or "inst",
        eval_fraction=fraction if edited.reader.evaluates(edited.config) else 0.0,
        seed=written.values["seed"],
    )


def _texts(edited: Edited, template: Template | None, base: Path | None) -> dict[str, str]:
    """What the run directory has beside the data: the config as it is, and what it reads."""
    files = {"config.yaml": edited.text}
    if template is not None and template.text is not None:
        files[TEMPLATE_FILE] = template.text
    elif template is not None and template.named == TEMPLATE_FILE and template.name is not None:
        files[TEMPLATE_FILE] = load_chat_template(template.name, base).text
    for name, source in get_trainer(edited.config.kind).copies.items():
        beside = edited.folder / name
        files[name] = (beside if beside.is_file() else resource("templates", source)).read_text(encoding="utf-8")
    return files
