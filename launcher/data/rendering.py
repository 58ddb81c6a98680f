"""Normalised rows as they are written to the trainers' files, and as the text that is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.data.base import base_tokens
from launcher.data.chat import CannotRender, ChatTemplate, prompt_settings, render_with_spans, thought_field
from launcher.data.columns import Columns
from launcher.data.content import inline_thought, without_thought
from launcher.data.formats import BadRow, Format, Row, as_templates_read, format_of, normalise
from launcher.data.read import read_lines
from launcher.data.read_as import Thoughts as Thoughts
from launcher.data.special import special_tokens, template_tokens
from launcher.data.tokens import Rendered


class Renderer:
    """Turns normalised rows into text, with the template and special tokens of one base model.

    For ``text`` rows (``template`` None) the text is the row, and all of it is trained with the eos token behind it.
    ``thought_field`` is the key in which the template reads thoughts; None where they are written into the contents.
    """

    def __init__(self, template: ChatTemplate | None, base: Path | None, thoughts: Thoughts = "train") -> None:
        self.template = template
        self.thoughts = thoughts
        self.tokens = {} if template is None else template_tokens(base, template)
        self.thought_field = None if template is None else thought_field(template)
        self._begin, self._end = ("", "") if template is not None or base is None else _marks(base)

    def prompt_settings(self, *, thinks: bool) -> Mapping[str, object] | None:
        """What the template is to be told in prompts, so that they begin as the rows; see `chat.prompt_settings`.

        ``thinks``: rows have thoughts. Then a prompt leaves them to the model, as the template does by itself.
        """
        return {} if self.template is None or thinks else prompt_settings(self.template, self.tokens)

    @property
    def knows_frame(self) -> bool:
        """Whether it is known which tokens are put around a plain text."""
        return bool(self._end)

    def written(self, row: Row) -> Row:
        """The row as it stands in the trainers' files: thoughts in their place, no token that a tokenizer adds too."""
        if self.template is None:
            return {**row, "text": self._bare(row["text"])}
        return {**row, "messages": [self._with_thought(message) for message in row["messages"]]}

    def render(self, row: Mapping[str, Any]) -> Rendered:
        """A written row as text. Raises `launcher.data.chat.CannotRender` when the template refuses it."""
        if self.template is None:
            text = row["text"]
            return Rendered(text, ((0, len(text)),))
        messages = as_templates_read(row["messages"])
        text, spans = render_with_spans(messages, self.template, self.tokens, tools=row.get("tools"))
        return Rendered(text, tuple(spans))

    def parts(self, row: Row) -> list[tuple[Row, Rendered]]:
        """A written row with its text; or a row an answer, where the template drops thoughts and not all are trained.

        Each such row ends with an answer and trains that alone, asked as the model will be. Raises CannotRender.
        """
        try:
            return [(row, self.render(row))]
        except CannotRender:
            if self.thoughts == "train":
                raise
        parts = [{**row, "messages": _up_to(row["messages"], index)} for index in _answers(row["messages"])]
        return [(part, self.render(part)) for part in parts]

    def _with_thought(self, message: Row) -> Row:
        if message["role"] != "assistant":
            return message
        if self.thoughts == "drop":
            kept = {key: value for key, value in message.items() if key != "reasoning_content"}
            return {**kept, "content": without_thought(message["content"])}
        if self.thought_field is not None and (inline := inline_thought(message["content"])):
            # The template has a place for thoughts, and may write one there by itself: it would stand twice.
            message = {**message, "content": without_thought(message["content"]), "reasoning_content": inline}
        if "reasoning_content" not in message or self.thought_field == "reasoning_content":
            return message
        others = {key: value for key, value in message.items() if key != "reasoning_content"}
        thought = message["reasoning_content"]
        if self.thought_field is not None:
            return {**others, self.thought_field: thought}
        return {**others, "content": f"<think>\n{thought.strip()}\n</think>\n\n{message['content'].lstrip()}"}

    def _bare(self, text: str) -> str:
        bare = text
        while self._begin and bare.lstrip().startswith(self._begin):
            bare = bare.lstrip()[len(self._begin) :]
        while self._end and bare.rstrip().endswith(self._end):
            bare = bare.rstrip()[: -len(self._end)]
        return bare if bare.strip() else text


def _answers(messages: list[Row]) -> list[int]:
    """Where the turns stand that are trained."""
    turns = enumerate(messages)
    return [index for index, turn in turns if turn["role"] == "assistant" and turn.get("training") is not False]


def _up_to(messages: list[Row], last: int) -> list[Row]:
    """The turns up to an answer, of which it alone is trained."""
    before = ({**turn, "training": False} if turn["role"] == "assistant" else turn for turn in messages[:last])
    return [*before, messages[last]]


def _marks(base: Path) -> tuple[str, str]:
    """The tokens around a plain text that are added to it anyway: the tokenizer's own beginning, the trainers' end."""
    if not (base / "tokenizer.json").is_file():
        return "", ""
    from tokenizers import Tokenizer

    try:
        first = Tokenizer.from_file(str(base / "tokenizer.json")).encode("").tokens[:1]
    except Exception:  # the library raises bare Exception; the measure of lengths tells of it
        return "", ""
    begin = base_tokens(base).get("bos_token", "")
    return begin if [begin] == first else "", special_tokens(base, None)["eos"]


@dataclass(frozen=True)
class ReadRows:
    """How a data file was read, so that it can be read again in the same way: its rows as the trainers get them."""

    path: Path
    form: Format
    columns: Columns
    renderer: Renderer

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Line and written row of every row of the format that can be normalised; the others are passed over.

        Where a row may become several, those are passed over too that the template refuses.
        """
        for line in read_lines(self.path, self.columns):
            if line.row is None or format_of(line.row) != self.form:
                continue
            try:
                row = self.renderer.written(normalise(line.row, self.form)[0])
                parts = self.renderer.parts(row) if self.renderer.thoughts != "train" else [(row, None)]
            except (BadRow, CannotRender):
                continue
            for part, _ in parts:
                yield line.number, part
