"""Inspect a data file: every problem with its line, token lengths, and what a sequence length would cut."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.data.base import added_tokens, base_tokens
from launcher.data.chat import CannotRender, ChatTemplate, load_chat_template
from launcher.data.columns import Columns, propose, shown_keys
from launcher.data.formats import PREFERENCE, BadRow, Format, Row, format_of, normalise, optional_keys, row_line
from launcher.data.golden import TARGET_KEYS, GoldenInputs
from launcher.data.markup import markup_in
from launcher.data.notes import Notes
from launcher.data.opening import sha256_of
from launcher.data.read import Line, file_notes, read_with_format
from launcher.data.rendering import ReadRows, Renderer, Thoughts
from launcher.data.report import DataReport, ExcessLength, Findings, Rows, Severity, summarise
from launcher.data.template_names import OWN_TEMPLATE
from launcher.data.tokens import BYTES_PER_TOKEN, Measure, Rendered, measure_for

DEFAULT_TEMPLATE = "chatml"
_NOT_A_NUMBER = frozenset({"nan", "NaN", "NAN", "<NA>", "#N/A"})  # what pandas and spreadsheets make of an empty cell
_BATCH = 256  # rows tokenized at a time: enough for the tokenizer's threads, little to hold


def inspect_data(
    path: Path,
    *,
    base: Path | None = None,
    chat_template: str = DEFAULT_TEMPLATE,
    sequence_len: int | None = None,
    excess_length: ExcessLength = "truncate",
    golden: Path | None = None,
    allow_overlap: bool = False,
    columns: Columns | None = None,
    thoughts: Thoughts = "train",
) -> DataReport:
    """Read the whole file and tell all that is wrong with it; nothing is raised for bad rows.

    ``base`` is the base model's folder where it is on this machine: its tokenizer makes the lengths exact. Rows that
    the golden set asks too are errors, or warnings with ``allow_overlap``. ``columns`` are the person's names for ql's,
    and ``thoughts`` says whether thoughts before answers are trained. Raises Unreadable when a file cannot be
    read, and BadInput when the base lacks a token that the chat template needs.
    """
    form, lines = read_with_format(path, columns)
    template = None if form == "text" else load_chat_template(chat_template, base)
    inspection = _Inspection(
        path=path,
        lines=lines,
        form=form,
        template=template,
        columns=columns or {},
        renderer=Renderer(template, base, thoughts),
        measure=measure_for(base, template),
        control=_control_tokens(template, base),
        known=frozenset(added_tokens(base)) if base is not None and form == "text" else None,
        golden=GoldenInputs(golden, columns) if golden is not None else None,
        overlap_severity="warning" if allow_overlap else "error",
    )
    report = inspection.run()
    return report if sequence_len is None else report.limited(sequence_len, excess_length)


def _control_tokens(template: ChatTemplate | None, base: Path | None) -> tuple[str, ...]:
    """What a message must not hold: the template's own strings, and the special tokens of the base that it writes."""
    if template is None:
        return ()
    if base is None:
        return template.control_tokens
    if template.name == OWN_TEMPLATE:
        return tuple(sorted(added_tokens(base)))
    return tuple(sorted({*template.control_tokens, *base_tokens(base).values()}))


@dataclass
class _Pending:
    """A usable row that waits for its batch to be measured."""

    line: int
    digest: int
    keys: int
    rendered: Rendered


class _Inspection:
    """One pass over a file."""

    def __init__(
        self,
        *,
        path: Path,
        lines: Iterator[Line],
        form: Format | None,
        template: ChatTemplate | None,
        columns: Columns,
        renderer: Renderer,
        measure: Measure,
        control: tuple[str, ...],
        known: frozenset[str] | None,
        golden: GoldenInputs | None,
        overlap_severity: Severity,
    ) -> None:
        self.path = path
        self.lines = lines
        self.form = form
        self.template = template
        self.columns = columns
        self.renderer = renderer
        self.measure = measure
        self.control = control
        self.known = known
        self.golden = golden
        self.overlap_severity = overlap_severity
        self.findings = Findings()
        self.rows = Rows()
        self.met: set[str] = set()  # names that a column was read under
        self.first_seen: dict[int, int] = {}
        self.notes = Notes(renderer)
        self.pending: list[_Pending] = []

    def run(self) -> DataReport:
        read = last = 0
        for line in self.lines:
            read += 1
            # Rows of an array may share a line: from the second on it is said which of them it is.
            self.findings.next_row(f"row {read} of the file: " if line.number == last else "")
            last = line.number
            if line.row is None:
                self.findings.add(line.kind, "error", line.number, line.problem or "cannot be read")
            else:
                self._row(line.number, line.row)
        self._flush()
        if not read:
            self.findings.add("empty_file", "error", None, "the file has no rows")
        elif absent := [theirs for theirs, ours in self.columns.items() if ours not in self.met]:
            for theirs in absent:
                said = f"--map {theirs}={self.columns[theirs]}: no row has a column {theirs!r}"
                self.findings.add("map", "error", None, said)
        elif not self.rows.lines and not self.findings.count("error"):
            self.findings.add("empty_file", "error", None, "the file has no usable row")
        unseen = [self.golden.note] if self.golden is not None and self.golden.note is not None else []
        return DataReport(
            path=self.path,
            sha256=sha256_of(self.path),
            format=self.form,
            lines_read=read,
            findings=self.findings,
            notes=(*file_notes(self.path), *self.notes.texts(self.form), *self.notes.asked(), *unseen),
            rows=self.rows,
            lengths=summarise(self.rows, self.measure.exact, self.measure.source),
            excess=None,
            reading=ReadRows(self.path, self.form, self.columns, self.renderer) if self.form else None,
            thought_tokens=round(self.notes.longest_thought / BYTES_PER_TOKEN) if self.notes.thinks else 0,
            template_settings=self.renderer.prompt_settings(thinks=self.notes.thinks) or {},
        )

    def _row(self, number: int, row: dict[str, object]) -> None:
        self.met.update(name for name in self.columns.values() if name in row)
        form = format_of(row)
        if form is None:
            self.findings.add(*_no_format(row, number))
            return
        if form != self.form:
            self.findings.add("mixed", "error", number, f"a row of {form} in a file of {self.form} rows")
            return
        try:
            normal, told = normalise(row, form)
            written = self.renderer.written(normal)
            parts = self.renderer.parts(written)
        except BadRow as error:
            for kind, message in error.problems:
                self.findings.add(kind, "error", number, message)
            return
        except CannotRender as error:
            self.findings.add("template", "error", number, str(error))
            return
        self.notes.add(normal, written, len(parts), told)
        if told.media:
            message = f"{', '.join(sorted(told.media))}: a text model does not see it, and is trained without"
            self.findings.add("media", "warning", number, message)
        for kind, message in told.doubts:
            self.findings.add(kind, "warning", number, message)
        if form == "prompt_completion" and row.get("label") is False:
            message = "its label is false: if that marks a wrong answer (KTO), it is trained all the same: take it out"
            self.findings.add("preference", "warning", number, message)
        lost = self.notes.lost_thoughts(normal, [rendered for _, rendered in parts])
        if lost:
            message = "the chat template does not write its thoughts (reasoning): they are not trained"
            self.findings.add("thoughts", "warning", number, message)
        self._content(number, normal)
        if self.golden is not None and (asked := self.golden.overlap(normal)) is not None:
            way_out = ": take one of them out, or --allow-overlap" if self.overlap_severity == "error" else ""
            message = f"{asked} {self.golden.path} asks{way_out}"
            self.findings.add("golden", self.overlap_severity, number, message)
        digest = int.from_bytes(hashlib.blake2b(row_line(normal).encode("utf-8"), digest_size=8).digest())
        first = self.first_seen.get(digest)
        if first is None:
            self.first_seen[digest] = number
        else:
            place = f"line {first}" if first != number else "one before it on this line"
            self.findings.add("duplicate", "warning", number, f"the same row as {place}")
        self.pending += [_Pending(number, digest, optional_keys(part), rendered) for part, rendered in parts]
        if len(self.pending) >= _BATCH:
            self._flush()

    def _content(self, number: int, row: Row) -> None:
        """What a usable row's text does that people would not expect."""
        messages = row.get("messages")
        if messages is None:
            if (found := markup_in(row["text"], self.known)) is not None:
                self.findings.add("markup", "warning", number, found)
            return
        if messages[-1]["role"] != "assistant":
            message = f"ends with a turn of the {messages[-1]['role']}, which is never answered and not trained"
            self.findings.add("tail", "warning", number, message)
        empty = {text for message in messages if (text := message["content"].strip()) in _NOT_A_NUMBER}
        if empty:
            message = f"a turn holds nothing but {', '.join(sorted(empty))}: written so where a cell was empty?"
            self.findings.add("nan", "warning", number, message)
        tokens = {token for token in self.control for message in messages if token in message["content"]}
        if tokens:
            message = f"content holds {', '.join(sorted(tokens))}, which the model will read as structure, not as text"
            self.findings.add("control_token", "warning", number, message)

    def _flush(self) -> None:
        lengths = self.measure.lengths([row.rendered for row in self.pending])
        for row, length in zip(self.pending, lengths, strict=True):
            self.rows.lines.append(row.line)
            self.rows.digests.append(row.digest)
            self.rows.keys.append(row.keys)
            self.rows.totals.append(length.total)
            self.rows.trained.append(length.trained)
            self.rows.first_trained.append(-1 if length.first_trained is None else length.first_trained)
        self.pending.clear()


def _no_format(row: dict[str, object], number: int) -> tuple[str, Severity, int, str]:
    """What is wrong with a row of no known format: what it is instead, or its keys and how they could be read."""
    if row.keys() >= PREFERENCE:
        way = "chosen=messages" if isinstance(row["chosen"], list) else "chosen=completion"
        message = (
            "a preference row (chosen, rejected), and ql trains on right answers alone (SFT), not on preferences: "
            f"to train on the chosen ones, --map {way}"
        )
        return "preference", "error", number, message
    message = (
        "no known format: expected messages, conversations, instruction and output, prompt and completion, "
        f"or text; its keys: {shown_keys(row)}"
    )
    proposed = propose(row)
    inside = _rows_inside(row) if len(row) <= 4 else None
    if inside is not None:
        message = f"one object, whose rows are inside of it: jq -c '{inside}[]' FILE > FILE.jsonl"
    elif proposed is None and any(" " in key.strip() or key.strip().isdigit() for key in row):
        message += "; if its first line is a row, write the names of the columns above it: prompt,completion"
    elif "input" in row and row.keys() & set(TARGET_KEYS):
        message += ", those of a golden set, which --golden takes"
    elif proposed is not None:
        message += f"; if they mean that, {proposed}"
    else:
        message += "; --map COLUMN=prompt,COLUMN=completion says what they mean"
    return "format", "error", number, message


def _rows_inside(value: object, path: str = "", deeper: int = 4) -> str | None:
    """Where in an object a list of objects stands, as jq writes it; None where there is none, or a list of turns."""
    if isinstance(value, list):
        return path if path.count(".") > 1 and value and all(isinstance(item, dict) for item in value[:8]) else None
    if not isinstance(value, dict) or not deeper:
        return None
    found = (
        _rows_inside(item, f"{path}.{json.dumps(key) if not key.isidentifier() else key}", deeper - 1)
        for key, item in value.items()
        if isinstance(key, str)
    )
    return next((place for place in found if place is not None), None)
