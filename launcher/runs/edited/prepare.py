"""``ql launch --config``: a config that was edited by hand, checked as `ql validate` does and trained as it is.

The file goes into the run byte for byte. The plan is read back from it, so that merge, golden set, estimate and report
speak of what is trained. Flags may agree with the file; one that contradicts it is an error with the line.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.catalog import Gpu, Preset, find_gpu, load_gpu, load_preset, load_recipe
from launcher.configs.findings import Finding
from launcher.data.base import find_base
from launcher.data.chat import load_chat_template
from launcher.data.facts import DataFacts
from launcher.data.inspect import inspect_data
from launcher.data.report import DataReport
from launcher.errors import BadInput, Unreadable
from launcher.golden.evaluate import metrics_for
from launcher.golden.rows import GoldenRow, read_golden, repeats_note
from launcher.planning.estimate import estimate_plan_memory
from launcher.planning.plan import SETTINGS, Plan
from launcher.planning.request import Request, make_request
from launcher.resources import resource
from launcher.runs.asked import Asked
from launcher.runs.edited.data import DataFile, count_rows, find_data, moved
from launcher.runs.edited.file import Edited, Template, model_of, paths_inside, read_edited, refusals, template_of
from launcher.runs.edited.flags import contradictions
from launcher.runs.edited.prepared import PreparedEdited, RawData
from launcher.runs.preflight import examine
from launcher.runs.prepared import TEMPLATE_FILE, read_gates, require_fit
from launcher.sizing.memory import OPTIMIZER_BYTES
from launcher.trainers import get_trainer
from launcher.trainers.readback import ReadBack, Rows


def prepare_edited(asked: Asked, trainer_python: str) -> PreparedEdited:
    """Check the edited config of ``asked`` and read its plan back. Nothing is left on the disk.

    Raises Unreadable for a file that is no training config, for flags that contradict it and for unknown names;
    BadInput with every error that `ql validate --with-data --gpu` finds in it, and when the run does not fit.
    """
    assert asked.config is not None
    golden = Path(asked.golden) if asked.golden else None
    gates = read_gates(asked.gates, golden)
    edited = read_edited(Path(asked.config))
    request = _request(edited, asked, trainer_python)
    template = template_of(edited, str(asked.settings.get("chat_template") or request.model.chat_template))
    base = find_base(edited.base_model)
    written = _read_back(edited, request, Rows())  # before the data is known: what the config itself says
    if conflicts := contradictions(edited, written, template, asked):
        raise Unreadable(conflicts)
    files = _files(edited, template, base)
    raw = _raw(asked, edited, written, template, base, golden)
    trained = _read_data(edited, request.gpu, raw, files.get(TEMPLATE_FILE), None if asked.allow_overlap else golden)
    plan = _plan(_read_back(edited, request, trained.rows), request, trained.rows, edited, template)
    report = _inspect(raw, trained.files, plan, template, base)
    golden_rows = _golden(golden, edited)
    if golden is not None:
        metrics_for(golden_rows, gates, golden)
    sized = _sizeable(plan)
    overrides = {key: getattr(sized, key) for key in SETTINGS}  # what plans it again
    request = replace(request, data=_facts(report, trained.rows, plan))
    memory = estimate_plan_memory(sized, request)
    require_fit(memory, request.gpu, sized.method)
    return PreparedEdited(
        request=replace(request, overrides=overrides),
        plan=plan,
        report=report,
        memory=memory,
        files=files,
        findings=trained.findings,
        base_folder=base,
        golden_path=golden,
        golden=golden_rows,
        gates=gates,
        allow_overlap=asked.allow_overlap,
        overlay=paths_inside(edited, template) | moved(edited.raw, trained.files),
        notes=_notes(edited, trained.findings) + (repeats_note(golden_rows, golden) if golden is not None else ()),
        data_files=trained.files,
        raw=raw,
    )


def _request(edited: Edited, asked: Asked, trainer_python: str) -> Request:
    """Card and model of the config, with the preset that was named.

    Raises Unreadable for unknown names, BadInput for what the trainer does and a launch does not.
    """
    preset = load_preset(asked.preset) if asked.preset else None
    gpu = _card(preset, asked, trainer_python)
    model = model_of(edited, preset)
    if problems := refusals(edited):
        raise BadInput(problems)
    request = make_request(gpu=gpu.name, model=model.name if preset else edited.base_model)
    return replace(request, preset=preset, model=model, base_model=edited.base_model)


def _read_back(edited: Edited, request: Request, rows: Rows) -> ReadBack:
    codec = get_trainer(edited.config.kind).codec
    return codec.decode(edited.config, edited.path.name, edited.positions, request.gpu, request.model, rows)


@dataclass(frozen=True)
class _Trained:
    """What the config trains on, and what the validator finds in config and data together."""

    files: tuple[DataFile, ...]
    rows: Rows
    findings: tuple[Finding, ...]


def _read_data(
    edited: Edited, gpu: Gpu, raw: RawData | None, template_text: str | None, golden: Path | None
) -> _Trained:
    """Validate the config with the files that it names; those of ``raw`` are written for that, and removed again.

    ``golden`` may have no row in common with them. Raises BadInput with every error, also for rows of ``raw``.
    """
    with tempfile.TemporaryDirectory(prefix="ql-launch-") as scratch:
        folder = edited.folder
        if raw is not None:
            folder = Path(scratch)
            raw.write(folder)
            if template_text is not None:
                (folder / TEMPLATE_FILE).write_text(template_text, encoding="utf-8")
        findings = edited.validate(gpu, data_folder=folder, golden=golden)
        files, problems = find_data(edited.config, folder, edited.name, edited.positions)
        if problems:
            raise BadInput(problems)
        return _Trained(files, count_rows(files, edited.reader.held_out(edited.config)), findings)


def _card(preset: Preset | None, asked: Asked, trainer_python: str) -> Gpu:
    """The card of the flag, of the preset, or of this machine."""
    name = asked.gpu or (preset.gpu if preset else None)
    if name is not None:
        return load_gpu(name)
    devices = examine(trainer_python).devices
    found = find_gpu(devices[0].name) if devices else load_gpu("cpu")
    if found is None:
        raise Unreadable(f"the card of this machine, {devices[0].name}, is not in the catalog", hint="--gpu NAME")
    return found


def _raw(
    asked: Asked,
    edited: Edited,
    found: ReadBack,
    template: Template | None,
    base: Path | None,
    golden: Path | None,
) -> RawData | None:
    """How the file of ``--data`` is split and cut: as the config says, or as the preset and the recipe do."""
    if asked.data is None:
        return None
    evaluates = edited.reader.evaluates(edited.config)
    layers = [asked.settings, load_preset(asked.preset).settings if asked.preset else {}]
    layers.append(load_recipe(found.values["method"]).settings)
    fraction = next(layer["eval_fraction"] for layer in layers if "eval_fraction" in layer)
    return RawData(
        path=Path(asked.data),
        eval_fraction=fraction if evaluates else 0.0,
        seed=found.values["seed"],
        sequence_len=found.values["sequence_len"],
        excess_length=found.values["excess_length"],
        chat_template=(template.name if template else None) or "inst",
        base=base,
        golden=golden,
        allow_overlap=asked.allow_overlap,
    )


def _plan(found: ReadBack, request: Request, rows: Rows, edited: Edited, template: Template | None) -> Plan:
    decisions = dict(found.decisions)
    if template is not None:
        named = template.named if template.name is None or "/" in template.name else template.name
        decisions["chat_template"] = replace(decisions["chat_template"], value=named)
    return Plan(
        **request.identity(),
        eval_rows=rows.evaluation,
        conversational=edited.is_chat,
        decisions=decisions,
        **{setting: decision.value for setting, decision in decisions.items()},
    )


def _inspect(
    raw: RawData | None, files: Sequence[DataFile], plan: Plan, template: Template | None, base: Path | None
) -> DataReport | None:
    """What the sequence length does to the rows. None for several files and unknown formats.

    Raises BadInput when no row would be left to train on.
    """
    trained = [item for item in files if item.trains]
    if raw is None and (len(trained) != 1 or (plan.conversational and (template is None or template.name is None))):
        return None
    path = raw.path if raw else trained[0].source
    name = (template.name if template else None) or "inst"
    report = inspect_data(path, base=base, chat_template=name)
    if not report.ok or report.conversational != plan.conversational:
        return None
    limited = report.limited(plan.sequence_len, plan.excess_length)
    limited.require_rows()
    return limited


def _facts(report: DataReport | None, rows: Rows, plan: Plan) -> DataFacts | None:
    if report is None or rows.train is None:
        return None
    facts = replace(report, excess=None).facts()  # of all rows, as the files are counted
    return replace(facts, rows=rows.train + (rows.evaluation or 0), eval_rows=rows.evaluation or 0)


def _sizeable(plan: Plan) -> Plan:
    """The plan, with an optimizer that sizing knows: AdamW's two fp32 moments are as much as any other keeps."""
    return plan if plan.optimizer in OPTIMIZER_BYTES else replace(plan, optimizer="adamw_torch")


def _golden(golden: Path | None, edited: Edited) -> tuple[GoldenRow, ...]:
    """The golden set's rows. Raises BadInput where the config's prompts are not ones that ql can ask."""
    if golden is None:
        return ()
    if refusal := edited.reader.asks_otherwise(edited.config):
        path, problem = refusal
        raise BadInput(edited.problem(path, problem.message, problem.hint))
    return tuple(read_golden(golden, conversational=edited.is_chat))


def _files(edited: Edited, template: Template | None, base: Path | None) -> dict[str, str]:
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


def _notes(edited: Edited, findings: Sequence[Finding]) -> tuple[str, ...]:
    """What a person should see before the run: warnings of the config, and a train.py that is not ql's."""
    notes = [
        f"{edited.name}:{finding.line}: {finding.message} [{finding.code}]"
        for finding in findings
        if finding.severity == "warning"
    ]
    for name, source in get_trainer(edited.config.kind).copies.items():
        beside = edited.folder / name
        if beside.is_file() and beside.read_bytes() != resource("templates", source).read_bytes():
            notes.append(f"{beside} is not ql's own: it runs as it is")
    return tuple(notes)
