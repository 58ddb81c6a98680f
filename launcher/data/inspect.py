"""Inspect a data file: every problem with its line, token lengths, and what a sequence length would cut."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.data.base import added_tokens, base_tokens
from launcher.data.chat import CannotRender, ChatTemplate, load_chat_template
from launcher.data.formats import BadRow, Format, Row, format_of, normalise, optional_keys, row_line
from launcher.data.golden import TARGET_KEYS, GoldenInputs
from launcher.data.read import Line, has_bom, read_lines, read_with_format
from launcher.data.report import DataReport, ExcessLength, Findings, Rows, Severity, summarise
from launcher.data.template_names import OWN_TEMPLATE
from launcher.data.tokens import Measure, Rendered, Renderer, measure_for
from launcher.files import sha256_file

DEFAULT_TEMPLATE = "chatml"
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
) -> DataReport:
    """Read the whole file and tell all that is wrong with it; nothing is raised for bad rows.

    ``base`` is the base model's folder where it is on this machine: its tokenizer makes the lengths exact. Rows that
    the golden set asks too are errors, or warnings with ``allow_overlap``. Raises Unreadable when a file cannot be
    read, and BadInput when the base lacks a token that the chat template needs.
    """
    form, lines = read_with_format(path)
    template = None if form == "text" else load_chat_template(chat_template, base)
    inspection = _Inspection(
        path=path,
        lines=lines,
        form=form,
        template=template,
        renderer=Renderer(template, base),
        measure=measure_for(base, template),
        control=_control_tokens(template, base),
        golden=GoldenInputs(golden) if golden is not None else None,
        overlap_severity="warning" if allow_overlap else "error",
    )
    report = inspection.run()
    return report if sequence_len is None else report.limited(sequence_len, excess_length)


def usable_rows(path: Path, form: Format) -> Iterator[tuple[int, Row]]:
    """Line and normalised row of every row of the format that can be normalised; the others are passed over."""
    for line in read_lines(path):
        if line.row is None or format_of(line.row) != form:
            continue
        try:
            yield line.number, normalise(line.row, form)[0]
        except BadRow:
            continue


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
        renderer: Renderer,
        measure: Measure,
        control: tuple[str, ...],
        golden: GoldenInputs | None,
        overlap_severity: Severity,
    ) -> None:
        self.path = path
        self.lines = lines
        self.form = form
        self.template = template
        self.renderer = renderer
        self.measure = measure
        self.control = control
        self.golden = golden
        self.overlap_severity = overlap_severity
        self.findings = Findings()
        self.rows = Rows()
        self.first_seen: dict[int, int] = {}
        self.ignored: Counter[str] = Counter()
        self.trimmed = 0
        self.pending: list[_Pending] = []

    def run(self) -> DataReport:
        read = 0
        for line in self.lines:
            read += 1
            if line.row is None:
                self.findings.add("unreadable", "error", line.number, line.problem or "cannot be read")
            else:
                self._row(line.number, line.row)
        self._flush()
        if not read:
            self.findings.add("empty_file", "error", None, "the file has no rows")
        elif not self.rows.lines and not self.findings.count("error"):
            self.findings.add("empty_file", "error", None, "the file has no usable row")
        return DataReport(
            path=self.path,
            sha256=sha256_file(self.path),
            format=self.form,
            lines_read=read,
            findings=self.findings,
            notes=tuple(self._notes()),
            rows=self.rows,
            lengths=summarise(self.rows, self.measure.exact, self.measure.source),
            excess=None,
        )

    def _row(self, number: int, row: dict[str, object]) -> None:
        form = format_of(row)
        if form is None:
            keys = ", ".join(json.dumps(key) for key in sorted(row)[:6]) or "none"
            message = (
                "no known format: expected messages, conversations, instruction and output, prompt and completion, "
                f"or text; its keys: {keys[:120]}"
            )
            if "input" in row and row.keys() & set(TARGET_KEYS):
                message += ", those of a golden set, which --golden takes"
            self.findings.add("format", "error", number, message)
            return
        if form != self.form:
            self.findings.add("mixed", "error", number, f"a row of {form} in a file of {self.form} rows")
            return
        try:
            normal, ignored = normalise(row, form)
            rendered = self.renderer.render(normal)
        except BadRow as error:
            for kind, message in error.problems:
                self.findings.add(kind, "error", number, message)
            return
        except CannotRender as error:
            self.findings.add("template", "error", number, str(error))
            return
        self.ignored.update(ignored)
        self._content(number, normal)
        if self.golden is not None and (line := self.golden.overlap(normal)) is not None:
            way_out = ": take one of them out, or --allow-overlap" if self.overlap_severity == "error" else ""
            message = f"asks what line {line} of the golden set {self.golden.path} asks{way_out}"
            self.findings.add("golden", self.overlap_severity, number, message)
        digest = int.from_bytes(hashlib.blake2b(row_line(normal).encode("utf-8"), digest_size=8).digest())
        first = self.first_seen.setdefault(digest, number)
        if first != number:
            self.findings.add("duplicate", "warning", number, f"the same row as line {first}")
        self.pending.append(_Pending(number, digest, optional_keys(normal), rendered))
        if len(self.pending) >= _BATCH:
            self._flush()

    def _content(self, number: int, row: Row) -> None:
        """What a usable row's text does that people would not expect."""
        messages = row.get("messages")
        if messages is None:
            return
        if messages[-1]["role"] != "assistant":
            message = f"ends with a turn of the {messages[-1]['role']}, which is never answered and not trained"
            self.findings.add("tail", "warning", number, message)
        answers = [message["content"] for message in messages if message["role"] == "assistant"]
        self.trimmed += any(answer != answer.strip() for answer in answers)
        found = {token for token in self.control for message in messages if token in message["content"]}
        if found:
            message = f"content holds {', '.join(sorted(found))}, which the model will read as structure, not as text"
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

    def _notes(self) -> Iterator[str]:
        if has_bom(self.path):
            yield "the file begins with a byte-order mark, which is passed over"
        for name, count in sorted(self.ignored.items()):
            yield f"{name} is given in {count} rows and not read: every assistant turn is trained in full"
        if self.trimmed and self.template is not None and self.template.name != OWN_TEMPLATE:
            yield f"{self.trimmed} rows have answers that begin or end in white space, which the chat template removes"
