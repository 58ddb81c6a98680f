"""An edited config as a file: read, validated, and the parts of it that a launch must know or cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.catalog import Model, Preset, load_model, resolve_base
from launcher.configs import kinds
from launcher.configs.findings import Finding, errors_of, refuse_errors
from launcher.configs.known import card_of
from launcher.configs.validate import UNREADABLE, Options, check_source, read_config
from launcher.data.chat import load_chat_template
from launcher.data.survey import Survey
from launcher.data.template_names import OWN_TEMPLATE, SHIPPED_TEMPLATES
from launcher.errors import BadInput, Problem, QlError, Unreadable
from launcher.files import expand
from launcher.planning.request import Request
from launcher.preparing.prepared import TEMPLATE_FILE
from launcher.rules.base import Config
from launcher.trainers import default_trainer, get_trainer
from launcher.trainers.config_file import ConfigFile
from launcher.yaml_source import Positions, parse_yaml

OUTPUT = "trainer"  # where the stages look for what was trained


@dataclass(frozen=True)
class Template:
    """The chat template of a config: its text where the config brings one, else the name that the trainer knows.

    ``name`` is what `launcher.data.chat.load_chat_template` knows it as, None where it does not.
    """

    text: str | None
    name: str | None
    named: str  # as the config has it


@dataclass(frozen=True)
class Edited:
    """The config file: its text, what it says, and the folder that its relative paths start in."""

    path: Path
    text: str
    raw: dict[str, object]
    config: Config
    positions: Positions

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def name(self) -> str:
        return str(self.path)

    def problem(self, key: str | tuple[Any, ...], message: str, hint: str | None = None) -> Problem:
        """A problem at a key of the file."""
        place = self.positions.key((key,) if isinstance(key, str) else key)
        return Problem(message, file=self.name, line=place.line, column=place.column, hint=hint)

    def validate(
        self,
        request: Request,
        *,
        golden: Path | None,
        supplied: Mapping[str, Survey | None],
        surveys: dict[Path, Survey],
    ) -> tuple[Finding, ...]:
        """Its findings, with its data read, for the card of ``request``. Raises BadInput with those of severity error.

        ``supplied`` and ``surveys``: see `launcher.rules.base.Config`.
        """
        options = Options(
            self.config.kind,
            {self.config.kind: self.config.version},
            card_of(request.gpu.name),
            with_data=True,
            golden=golden,
            data_folder=self.folder,
            corrections=request.memory_corrections,
            supplied=supplied,
            surveys=surveys,
        )
        findings = check_source(self.text, self.name, options) or []
        refuse_errors(findings)
        return tuple(findings)

    @property
    def base_model(self) -> str:
        """The base model, with the folder that the file means made absolute."""
        return _absolute(self.config.base_model, self.folder)

    @property
    def reader(self) -> ConfigFile[Any]:
        """What knows this trainer's configs."""
        return get_trainer(self.config.kind).config_file

    @property
    def is_chat(self) -> bool:
        """Whether the rows are conversations that a chat template turns into text."""
        return self.reader.is_chat(self.config)

    @property
    def is_text(self) -> bool:
        """Whether the rows are plain texts."""
        return self.reader.is_text(self.config)


def read_edited(path: Path) -> Edited:
    """The config in ``path``. Raises Unreadable when it is none for a trainer, BadInput when its schema refuses it."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise Unreadable(Problem(f"cannot be read: {error.strerror or error}", file=str(path))) from None
    raw, positions = parse_yaml(source, file=str(path))
    text = source.decode("utf-8")
    kind = kinds.header_of(text)[0] or kinds.kind_of(raw, str(path)) or default_trainer().name
    if not kinds.is_training(kind) or not isinstance(raw, dict):
        what = f"this is a {kind} file" if isinstance(raw, dict) else "the file holds no mapping"
        raise Unreadable(Problem(f"not a training config: {what}", file=str(path), hint="`ql export` writes one"))
    newest = {kind: kinds.newest(kind)}  # the release that trains, whatever the header says
    findings = check_source(source, str(path), Options(kind, newest)) or []
    if errors := errors_of(findings):
        failure = Unreadable if any(finding.code in UNREADABLE for finding in errors) else BadInput
        raise failure([finding.to_problem() for finding in errors])
    return Edited(path, text, raw, read_config(raw, kind), positions)


def refusals(edited: Edited) -> list[Problem]:
    """What the trainer would do and a launch does not, each with its line."""
    return [edited.problem(path, p.message, p.hint) for path, p in edited.reader.refusals(edited.config)]


def model_of(edited: Edited, preset: Preset | None) -> Model:
    """The architecture of the base model: the preset's where it is that one. Raises Unreadable, with the line."""
    base = edited.base_model
    if preset is not None:
        model = load_model(preset.model)
        if resolve_base(model) == base:
            return model
    try:
        return load_model(base)
    except QlError as error:
        raise Unreadable([edited.problem("base_model", p.message, p.hint) for p in error.problems]) from None


def template_of(edited: Edited, own: str) -> Template | None:
    """The chat template that conversations are turned into text with; None for texts.

    ``own`` is the name of ql's template for this base, taken when the file that the config names is not there.
    """
    config = edited.config
    if not edited.is_chat:
        return None
    named = str(config.get(edited.reader.template_key) or "")
    if (known := edited.reader.template_name(config)) is not None:
        return _named_template(known)
    if "{" in named:
        return Template(named, _shipped(named), named)
    beside = edited.folder / named
    if not beside.is_file():
        return Template(None, own, named)
    text = beside.read_text(encoding="utf-8")
    return Template(text, _shipped(text) or str(beside), named)


def _named_template(name: str) -> Template:
    """One of the trainer's own templates. Where ql has one of the same name, lengths are measured with it."""
    if name.startswith("tokenizer_default"):
        return Template(None, OWN_TEMPLATE, name)
    return Template(None, name if name in (*SHIPPED_TEMPLATES, OWN_TEMPLATE) else None, name)


def _shipped(text: str) -> str | None:
    return next((name for name in SHIPPED_TEMPLATES if load_chat_template(name).text == text), None)


def paths_inside(edited: Edited, template: Template | None) -> dict[str, object]:
    """The keys of the config that mean something else inside a run, with what they must be there."""
    config = edited.raw
    changes: dict[str, object] = {}
    if config.get("output_dir") != OUTPUT:
        changes["output_dir"] = OUTPUT
    for key in edited.reader.folders:
        value = config.get(key)
        if isinstance(value, str) and _absolute(value, edited.folder) != value:
            changes[key] = _absolute(value, edited.folder)
    key = edited.reader.template_key
    if template and template.text is not None and template.named != TEMPLATE_FILE and "{" not in template.named:
        changes[key] = TEMPLATE_FILE
    return changes


def _absolute(name: str, folder: Path) -> str:
    """A folder beside the config, or where the person is, as an absolute path; anything else as it is."""
    for candidate in (folder / expand(name), expand(name)):
        if name and candidate.is_dir():
            return str(candidate.resolve()) if not Path(name).is_absolute() else name
    return name
