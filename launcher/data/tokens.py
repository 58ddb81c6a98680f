"""Rows as tokens: how many, and which are trained. Exact with a tokenizer at hand, else estimated from bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from launcher.data.base import base_tokens
from launcher.data.chat import ChatTemplate, Span
from launcher.data.special import special_tokens
from launcher.errors import Unreadable

if TYPE_CHECKING:
    from tokenizers import Encoding

# Llama 2's tokenizer makes one token of 3.17 characters of English, Llama 3's of 3.94 (The Llama 3 Herd of Models,
# arXiv 2407.21783, section 3.2). The smaller, taken per byte, rather overstates lengths than hides a cut.
BYTES_PER_TOKEN = 3.17


@dataclass(frozen=True)
class Rendered:
    """A row as the text a trainer tokenizes, and the character spans of it that are trained."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Length:
    """A row in tokens: all of them, those trained, and the index of the first trained one (None without any)."""

    total: int
    trained: int
    first_trained: int | None


class Measure(Protocol):
    """Tells the lengths of rendered rows; ``exact`` says whether by tokenizing, ``source`` by what."""

    exact: bool
    source: str

    def lengths(self, rows: Sequence[Rendered]) -> list[Length]: ...


def trained_tokens(offsets: Sequence[Span], spans: Sequence[Span]) -> list[bool]:
    """For each token, by its character offsets, whether it overlaps a trained span. Spans are in order and disjoint."""
    trained = [False] * len(offsets)
    remaining = iter(spans)
    span = next(remaining, None)
    for index, (start, end) in enumerate(offsets):
        while span is not None and start >= span[1]:
            span = next(remaining, None)
        if span is None:
            break
        trained[index] = end > span[0] and start < span[1]
    return trained


def _length(encoding: Encoding, spans: Sequence[Span]) -> Length:
    """The length of a row, from its first and last token of each span: ten times as fast as to look at every token."""
    trained, first_trained = 0, None
    for start, end in spans:
        first, last = encoding.char_to_token(start), encoding.char_to_token(end - 1)
        if first is None or last is None:  # a character that no token covers
            flags = trained_tokens(encoding.offsets, spans)
            return Length(len(flags), sum(flags), flags.index(True) if any(flags) else None)
        trained += last - first + 1
        first_trained = first if first_trained is None else first_trained
    return Length(len(encoding), trained, first_trained)


class Tokenizing:
    """Exact lengths, by the tokenizer.json of a base model."""

    exact = True

    def __init__(self, base: Path, template: ChatTemplate | None) -> None:
        from tokenizers import AddedToken, Tokenizer

        path = base / "tokenizer.json"
        try:
            self.tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise Unreadable(f"{path}: not a tokenizer that can be read: {error}") from error
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        # What a trainer does when it is told its special tokens: they are cut out of a text before it is split.
        named = {**base_tokens(base), **{f"{k}_token": v for k, v in special_tokens(base, template).items()}}
        known = [token for token in named.values() if self.tokenizer.token_to_id(token) is not None]
        self.tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in known])
        self._eos_id: int = self.tokenizer.token_to_id(named["eos_token"]) or 0  # a token in named is in the vocabulary
        self.source = str(path)
        self._text_rows = template is None

    def lengths(self, rows: Sequence[Rendered]) -> list[Length]:
        encodings = self.tokenizer.encode_batch([row.text for row in rows], add_special_tokens=self._text_rows)
        if self._text_rows:
            totals = [len(encoding) + self._lacks_end(encoding.ids) for encoding in encodings]
            return [Length(total, total, 0) for total in totals]
        return [_length(encoding, row.spans) for row, encoding in zip(rows, encodings, strict=True)]

    def _lacks_end(self, ids: Sequence[int]) -> bool:
        """Whether the trainers put an end-of-sequence token behind a text: where it does not end in one."""
        return not ids or ids[-1] != self._eos_id

    def frame(self, row: Rendered) -> tuple[str, str]:
        """What stands before and behind a row's text among its tokens: special ones, of plain text only."""
        if not self._text_rows:
            return "", ""
        encoding = self.tokenizer.encode(row.text, add_special_tokens=True)
        special = encoding.special_tokens_mask
        before = next((index for index, mark in enumerate(special) if not mark), len(special))
        behind = next((index for index, mark in enumerate(reversed(special)) if not mark), 0)
        tokens = encoding.tokens
        end = [self.tokenizer.id_to_token(self._eos_id) or ""] if self._lacks_end(encoding.ids) else []
        return "".join(tokens[:before]), "".join([*tokens[len(tokens) - behind :], *end])

    def labels(self, row: Rendered) -> tuple[list[int], list[int]]:
        """input_ids and labels of a row, as the trainers make them: -100 where a token is not trained."""
        encoding = self.tokenizer.encode(row.text, add_special_tokens=self._text_rows)
        if self._text_rows:
            ids = [*encoding.ids, *[self._eos_id] * self._lacks_end(encoding.ids)]
            return ids, ids
        trained = trained_tokens(encoding.offsets, row.spans)
        return encoding.ids, [token if keep else -100 for token, keep in zip(encoding.ids, trained, strict=True)]

    def trained_text(self, row: Rendered) -> list[Span]:
        """The character spans that the trained tokens of a row cover; wider than asked where a token straddles."""
        offsets = self.tokenizer.encode(row.text, add_special_tokens=self._text_rows).offsets
        spans: list[Span] = []
        for (start, end), trained in zip(offsets, trained_tokens(offsets, row.spans), strict=True):
            if trained and spans and start <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            elif trained:
                spans.append((start, end))
        return spans


class Estimating:
    """Lengths from bytes, where no tokenizer is at hand: BYTES_PER_TOKEN, and one token per control token."""

    exact = False
    source = f"estimated at {BYTES_PER_TOKEN} bytes a token"

    def __init__(self, template: ChatTemplate | None) -> None:
        self._control = () if template is None else template.control_tokens

    def lengths(self, rows: Sequence[Rendered]) -> list[Length]:
        out = []
        for row in rows:
            trained = sum(self._tokens(row.text[start:end]) for start, end in row.spans)
            before = self._tokens(row.text[: row.spans[0][0]]) if row.spans else None
            out.append(Length(max(1, self._tokens(row.text)), trained, before))
        return out

    def _tokens(self, text: str) -> int:
        size, control = len(text.encode("utf-8")), 0
        for token in self._control:
            count = text.count(token)
            control += count
            size -= count * len(token.encode("utf-8"))
        return control + round(size / BYTES_PER_TOKEN)


def measure_for(base: Path | None, template: ChatTemplate | None) -> Measure:
    """An exact measure when the folder ``base`` has a tokenizer.json, else the estimate.

    ``template`` is None for ``text`` rows. Raises Unreadable for a broken tokenizer.json.
    """
    if base is not None and (base / "tokenizer.json").is_file():
        return Tokenizing(base, template)
    return Estimating(template)
