"""Which training rows ask what the golden set asks: a score on them would measure memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.data.formats import BadRow, normalise
from launcher.data.read import read_lines


class GoldenInputs:
    """The questions of a golden set: what the user said, up to each user turn, compared without case and spacing."""

    def __init__(self, path: Path) -> None:
        """Rows that are no golden rows are passed over: the golden set's own reader reports them.

        Raises Unreadable when there is no such file.
        """
        self.path = path
        self._lines: dict[bytes, int] = {}
        for line in read_lines(path):
            asked = _asked_by_golden(line.row) if line.row is not None else None
            if asked:
                self._lines.setdefault(_key(asked), line.number)

    def overlap(self, row: Mapping[str, Any]) -> int | None:
        """The golden line that a normalised training row asks too, or None."""
        return next((self._lines[key] for key in _keys(row) if key in self._lines), None)


def _asked_by_golden(row: Mapping[str, Any]) -> list[str] | None:
    given = row.get("input")
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        return None
    try:  # an answer behind it, so that the reader of training rows takes it
        messages = [*given, {"role": "assistant", "content": "."}]
        normal, _ = normalise({"messages": messages}, "messages")
    except BadRow:
        return None
    return [message["content"] for message in normal["messages"] if message["role"] == "user"]


def _keys(row: Mapping[str, Any]) -> Iterator[bytes]:
    if "text" in row:
        yield _key([row["text"]])
        return
    asked: list[str] = []
    for message in row["messages"]:
        if message["role"] == "user":
            asked.append(message["content"])
            yield _key(asked)


def _key(asked: Sequence[str]) -> bytes:
    plain = "\0".join(" ".join(text.split()).casefold() for text in asked)
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).digest()
