"""The validator: one text in, all findings out. It never renders, runs no trainer, reads nothing from the hub."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.configs import kinds
from launcher.configs.findings import Edit, Finding, path_text
from launcher.configs.known import architecture_of, card_of
from launcher.configs.mismatch import DOCUMENTED, explained_elsewhere, to_hit
from launcher.configs.releases import Chosen, Elsewhere, NamedRelease, choose, parse_versions
from launcher.configs.rules import load_rules
from launcher.errors import Problem, Unreadable
from launcher.json_schema import Json, Mismatch, Mode, check, load_schema
from launcher.rules.base import ALWAYS, Card, Config, Hit, Kind, Severity, Version
from launcher.trainers import default_trainer, get_trainer
from launcher.trainers.releases import version_name
from launcher.yaml_source import Fault, NotYaml, Positions, parse_yaml

if TYPE_CHECKING:
    from launcher.data.survey import Survey
    from launcher.sizing import Correction

# Findings about the file as such: it is not checked further, and the exit code is 2.
UNREADABLE = frozenset({"QL001", "QL002", "QL003", "QL004", "QL005", "QL006", "QL007"})
REPEATED = "It counts twice in every score; with two targets, what is right in one row is wrong in the other."
NEWER = "It is checked as the newest release that ql was tested with: what came after is not known here."
FILE_CODES: dict[str, tuple[Severity, str, str]] = {
    "QL001": ("error", "The file cannot be read.", "There is no such file, or it may not be read."),
    "QL002": ("error", "The text is not YAML, or not JSON.", "The trainer stops at once."),
    "QL003": ("error", "The text is not UTF-8.", "The trainer stops at once, or reads other letters than you see."),
    "QL004": ("error", "A tab in the indentation.", "YAML is indented with spaces; the trainer stops at once."),
    "QL005": ("error", "A key stands twice.", "YAML readers keep the last one in silence; the first is a dead line."),
    "QL006": ("error", "Several YAML documents in one file.", "The trainer reads one and stops at the second."),
    "QL007": ("error", "The file holds no mapping.", "A config is keys and values."),
    "QL008": ("note", "A `# ql: ignore` that ignores nothing.", "What it was for is gone, or its code is misspelled."),
    "QL009": ("error", "This version of the trainer has no schema here.", "ql cannot say what that version accepts."),
    "QL013": ("error", "A number or key that YAML reads as another.", "042 is 34, 1:30 is 90, and on is true."),
    "QL012": ("error", "A file of another tool.", "Its keys have other names here: no trainer would read them."),
    "QL011": ("warning", "A release of the trainer that is newer than ql.", NEWER),
    "QL010": ("warning", "A golden prompt that stands twice.", REPEATED),
}
_IGNORE = re.compile(r"#\s*ql:\s*ignore\b([^#]*)")
_CODE = re.compile(r"QL\d{3}")
_READ_CODES: dict[Fault, str] = {
    "syntax": "QL002",
    "encoding": "QL003",
    "tab": "QL004",
    "repeated_key": "QL005",
    "number": "QL013",
    "documents": "QL006",
}


@dataclass(frozen=True)
class Options:
    """What a check may look at beside the text."""

    kind: Kind | None = None
    versions: Mapping[Kind, Version | NamedRelease] = field(default_factory=dict)  # of the trainers' configs
    card: Card | None = None
    with_data: bool = False
    golden: Path | None = None
    skip_unknown: bool = False  # a file that does not say what it is; else it is a config of the default trainer
    data_folder: Path | None = None  # where relative paths of data start, if not in the file's own folder
    place: Path | None = None  # the folder of a file that lies on the disk and is to be trained from there
    corrections: Mapping[Kind, Correction] = field(default_factory=dict)  # of the card, by trainer
    supplied: Mapping[str, Survey | None] = field(default_factory=dict)  # see `launcher.rules.base.Config`
    surveys: dict[Path, Survey] = field(default_factory=dict)  # filled: whoever asks has the data's facts of it


def check_text(
    text: str | bytes,
    *,
    file: str,
    kind: Kind | None = None,
    versions: Mapping[str, str] | None = None,
    gpu: str | None = None,
    with_data: bool = False,
    golden: Path | None = None,
    corrections: Mapping[str, Correction] | None = None,
) -> list[Finding]:
    """All findings in ``text``, sorted by their place; ``file`` is its name, and relative paths in it start there.

    ``kind`` and the version in ``versions``, by the trainer's name, are read from the text when they are not given.
    ``gpu`` is a card of the catalog
    (Unreadable when there is none of that name). ``with_data`` reads the data files as well, and with
    ``golden`` looks for the rows of that golden set in them. ``corrections``, by the trainer's name, are what a
    calibration of the card has found.
    """
    card = card_of(gpu) if gpu else None
    options = Options(kind, parse_versions(versions or {}), card, with_data, golden, corrections=corrections or {})
    return check_source(text, file, options) or []


def check_source(source: str | bytes, file: str, options: Options) -> list[Finding] | None:
    """Like `check_text`; None when the text does not say what it is and ``options`` say to skip such files."""
    if options.kind == "golden" or (options.kind is None and file.endswith(".jsonl")):
        return sorted(_check_lines(source, file), key=_place_of)
    try:
        data, positions = parse_yaml(source, file=file)
    except Unreadable as error:
        return [_unreadable(problem, file) for problem in error.problems]
    text = source.decode("utf-8-sig") if isinstance(source, bytes) else source
    header_kind, header_version = kinds.header_of(text)
    kind = options.kind or header_kind or kinds.kind_of(data, file)
    if not options.skip_unknown and (finding := _of_another_tool(data, kind, file)):
        return [finding]
    if kind is None and not options.skip_unknown:
        kind = default_trainer().name
    if kind is None:
        return None
    if kind == "golden":  # by its first line, though its name says YAML
        return sorted(_check_lines(source, file), key=_place_of)
    if not isinstance(data, dict):
        return [_file_finding("QL007", file, "the file holds no mapping" if data is not None else "the file is empty")]
    report = _Report(file, text.split("\n"), positions)
    chosen: Chosen | None = None
    if kinds.is_training(kind):
        given = options.versions.get(kind)
        named = given if given is None or isinstance(given, NamedRelease) else NamedRelease(given, "option")
        try:
            chosen = choose(kind, named, header_version)
        except Unreadable as error:
            return [_file_finding("QL009", file, error.problems[0].message, error.problems[0].hint or "")]
        if chosen.is_newer:
            report.findings.append(_too_new(file, chosen))
    _check_mapping(data, kind, chosen, options, report, Path(file).parent)
    return sorted(report.finish(), key=_place_of)


def _of_another_tool(data: Any, kind: Kind | None, file: str) -> Finding | None:
    """What is said of another tool's file; None where it may be a config: where it has what marks one."""
    if not isinstance(data, dict) or kinds.kind_of(data, file) is not None:
        return None
    asked = kind or default_trainer().name
    if not kinds.is_training(asked):
        return None
    from launcher.configs.others import described, other_tool

    tool = other_tool(data)
    return None if tool is None else _file_finding("QL012", file, *described(tool, data, asked))


def _too_new(file: str, chosen: Chosen) -> Finding:
    title, newest = chosen.trainer.title, chosen.release.name
    message = f"{title} {version_name(chosen.named.version)} is newer than what ql was tested with: checked as {newest}"
    return _file_finding("QL011", file, message, "a newer ql may know it")


def _place_of(finding: Finding) -> tuple[int, int, str]:
    return finding.line, finding.column, finding.code


def schema_name(kind: Kind, version: Version | None = None) -> str:
    """The schema of such a file, as `load_schema` takes it; of a trainer's config by default the newest release's."""
    if not kinds.is_training(kind):
        return kind
    trainer = get_trainer(kind)
    return (trainer.release(version) if version else trainer.newest).schema


def schema_mode(kind: Kind) -> Mode:
    """How strictly values are taken: as the reader of such a file takes them."""
    return get_trainer(kind).schema_mode if kinds.is_training(kind) else "strict"


def read_config(data: dict[str, Any], kind: Kind, version: Version | None = None) -> Config:
    """A trainer's config as its rules read it, without anything beside it."""
    schema = load_schema(schema_name(kind, version))
    values = check(data, schema, mode=schema_mode(kind)).data
    return get_trainer(kind).config_file.config(values, kind, version or kinds.newest(kind), schema)


def _check_mapping(
    data: dict[Any, Any], kind: Kind, chosen: Chosen | None, options: Options, report: _Report, folder: Path
) -> None:
    version = chosen.release.version if chosen else ALWAYS
    schema = load_schema(schema_name(kind, version))
    reader = get_trainer(kind).config_file if kinds.is_training(kind) else None
    data = reader.as_read(data, version) if reader is not None else data
    checked = check(data, schema, mode=schema_mode(kind))
    elsewhere = Elsewhere(data, chosen) if chosen else None
    lax = schema_mode(kind) == "lax"
    foreign = reader is not None and reader.has_foreign_keys(checked.data)
    hidden = set()
    for mismatch in checked.errors:
        if lax and mismatch.keyword == "additionalProperties" and mismatch.path in report.positions.shared:
            continue  # a key that holds an anchor is meant to be read by nobody, and the trainer drops it
        if mismatch.keyword not in ("additionalProperties", "required") and mismatch.path:
            hidden.add(mismatch.path[0])
        if not (reader is not None and explained_elsewhere(mismatch, reader.explains)):
            code, hit = to_hit(mismatch, kind, _properties_at(schema, mismatch), _siblings(data, mismatch))
            if elsewhere is not None:
                hit = elsewhere.told(hit, mismatch)
            empty = lax and mismatch.value is None  # `debug:` of old examples sets nothing to begin with
            mild = code == "QL101" and (empty or (foreign and len(mismatch.path) == 1))
            severity: Severity = "warning" if mild else "error"
            report.add(code, severity, hit, _why(code))
    base = checked.data.get("base_model")
    architecture = architecture_of(base if isinstance(base, str) else "", folder)
    config = (reader.config if reader is not None else Config)(
        checked.data,
        kind,
        version,
        schema,
        frozenset(hidden),
        architecture,
        options.card,
        (options.data_folder or folder) if options.with_data or options.golden else None,
        options.golden,
        options.place,
        options.corrections.get(kind),
        options.supplied,
        options.surveys,
    )
    for rule in load_rules(kind):
        if rule.applies_to(config):
            for hit in rule.run(config):
                report.add(rule.code, rule.severity, hit, rule)


def _properties_at(schema: Json, mismatch: Mismatch) -> Json:
    """The properties of the level that a mismatch stands on, as far as renames go: the top level and data sets."""
    if len(mismatch.path) <= 1:
        properties: Json = schema.get("properties", {})
        return properties
    if mismatch.path[0] in ("datasets", "test_datasets") and len(mismatch.path) == 3:
        data_set: Json = schema.get("$defs", {}).get("SFTDataset", {}).get("properties", {})
        return data_set
    return {}


def _siblings(data: Any, mismatch: Mismatch) -> Collection[Any]:
    """The keys of the mapping that a mismatch's key is in."""
    for part in mismatch.path[:-1]:
        data = data[part]
    return data if isinstance(data, dict) else ()


def _why(code: str) -> str:
    paragraphs = (DOCUMENTED[code].__doc__ or "").split("\n\n")
    return " ".join(paragraphs[1].split()) if len(paragraphs) > 1 else ""


def _unreadable(problem: Problem, file: str) -> Finding:
    code = _READ_CODES[problem.fault if isinstance(problem, NotYaml) else "syntax"]
    return _file_finding(code, file, problem.message, problem.hint or "", problem.line or 1, problem.column or 1)


def _file_finding(code: str, file: str, message: str, hint: str = "", line: int = 1, column: int = 1) -> Finding:
    severity, _, why = FILE_CODES[code]
    return Finding(code, severity, file, line, column, column + 1, "", message, hint, why)


def unreadable_file(file: str, message: str) -> Finding:
    """The finding for a file that could not be opened."""
    return _file_finding("QL001", file, message)


def _check_lines(source: str | bytes, file: str) -> Iterator[Finding]:
    """Findings of a golden set: one JSON object per line, each against its schema."""
    from launcher.data.golden import repeated_prompts  # what reads rows: not at the start of every check
    from launcher.data.json_text import RepeatedKey, strict_json

    try:
        text = source.decode("utf-8-sig") if isinstance(source, bytes) else source
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        yield _file_finding("QL003", file, "not UTF-8", "save it as UTF-8", line)
        return
    rows = [(number, row) for number, row in enumerate(text.split("\n"), 1) if row.strip()]
    if not rows:
        yield _file_finding("QL007", file, "the file is empty")
    good = []
    for number, row in rows:
        try:
            data = strict_json(row)
        except RepeatedKey as error:
            yield _file_finding("QL002", file, str(error), "keep the one that is meant", number)
            continue
        except ValueError as error:
            message, column = getattr(error, "msg", str(error)), getattr(error, "colno", 1)
            yield _file_finding("QL002", file, f"not JSON: {message}", "one JSON object per line", number, column)
            continue
        if number == rows[0][0] and (form := _training_format(data)):
            said = f"these are training rows ({form}), not a golden set"
            yield Finding("QL106", "error", file, number, 1, 2, "", said, "`ql check FILE` reads them", _why("QL106"))
            return
        errors = check(data, "golden").errors
        if not errors:
            good.append((number, data))
        for mismatch in errors:
            code, hit = to_hit(mismatch, "golden", {})
            yield Finding(
                code, "error", file, number, 1, len(row) + 1, path_text(hit.path), hit.message, hit.hint, _why(code)
            )
    for repeat in repeated_prompts(good):
        yield _file_finding("QL010", file, str(repeat), "one row; target may be a list of answers", repeat.line)


def _training_format(row: Any) -> str | None:
    """The format of a row that is for training and has nothing of a golden one, or None."""
    from launcher.data.formats import format_of
    from launcher.data.golden import TARGET_KEYS

    return format_of(row) if isinstance(row, dict) and not row.keys() & set(TARGET_KEYS) else None


class _Report:
    """Turns hits into findings with their place in the text, and applies the comments that ignore some."""

    def __init__(self, file: str, lines: list[str], positions: Positions) -> None:
        self.file = file
        self.lines = lines
        self.positions = positions
        self.findings: list[Finding] = []

    def add(self, code: str, severity: Severity, hit: Hit, why: Any) -> None:
        place = self.positions.key(hit.path) if hit.on == "key" else self.positions.value(hit.path)
        end = place.end or len(self.line(place.line).rstrip()) + 1
        if not hit.path:  # the whole file: its first line, not the whole of it
            end = max(len(self.line(place.line).rstrip()), place.column) + 1
        reason = why if isinstance(why, str) else why.why
        self.findings.append(
            Finding(
                code,
                severity,
                self.file,
                place.line,
                place.column,
                max(end, place.column + 1),
                path_text(hit.path),
                hit.message,
                hit.hint,
                reason,
                self.edits(hit),
            )
        )

    def line(self, number: int) -> str:
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def edits(self, hit: Hit) -> tuple[Edit, ...]:
        """The repair of a hit as edits of its line; none where key and value do not stand plainly on one line."""
        if not hit.repair:
            return ()
        what, text = hit.repair
        key, value = self.positions.keys.get(hit.path), self.positions.values.get(hit.path)
        if not key or not value or key.line != value.line or not key.end or not value.end:
            return ()
        start, end = {
            "key": (key.column, key.end),
            "value": (value.column, value.end),
            "pair": (key.column, value.end),
        }[what]
        name = self.line(key.line)[key.column - 1 : key.end - 1]
        if name.strip("'\"") != str(hit.path[-1]):
            return ()  # YAML counts lines by more than line feeds; never edit what is not the key
        if what == "key" and name[:1] in ("'", '"'):
            text = name[0] + text + name[0]  # the file may be JSON
        return (Edit(key.line, start, end, text),)

    def finish(self) -> Iterator[Finding]:
        """The findings that no comment ignores, and one for each comment that ignores nothing."""
        ignored: dict[int, set[str]] = {}
        for number, line in enumerate(self.lines, 1):
            if "ql:" in line and (found := _IGNORE.search(line)):
                ignored[number] = set(_CODE.findall(found[1]))
        used: set[tuple[int, str]] = set()
        for finding in self.findings:
            if finding.code in ignored.get(finding.line, ()):
                used.add((finding.line, finding.code))
            else:
                yield finding
        for number, codes in ignored.items():
            idle = sorted(code for code in codes if (number, code) not in used)
            if idle or not codes:
                message = f"nothing to ignore for {', '.join(idle)}" if idle else "no code is named"
                yield _file_finding("QL008", self.file, message, "# ql: ignore QL123", number)
