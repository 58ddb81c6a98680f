"""Two answers, word by word: what both say, what the second added, what it left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal

Kind = Literal["same", "added", "removed"]
Segment = tuple[Kind, str]
MOST_WORDS = 3000  # of both texts together; longer ones are compared line by line, which is faster
ALIKE = 0.3  # below, two texts have too little in common for a mixture of both to be read


def segments(text: str, reference: str) -> list[Segment]:
    """``text`` in pieces, and in between what ``reference`` alone said.

    Joined, the pieces that are not "removed" are ``text``. Where the texts have little in common, what was removed is
    left out.
    """
    if text == reference:
        return [("same", text)] if text else []
    ours, theirs = _pieces(text), _pieces(reference)
    if len(ours) + len(theirs) > MOST_WORDS:
        ours, theirs = text.splitlines(keepends=True), reference.splitlines(keepends=True)
    matcher = SequenceMatcher(None, theirs, ours, autojunk=False)
    alike = matcher.ratio() >= ALIKE
    found: list[Segment] = []
    for operation, a, b, c, d in matcher.get_opcodes():
        removed, kept = "".join(theirs[a:b]), "".join(ours[c:d])
        if operation == "equal":
            found.append(("same", kept))
            continue
        if removed and alike:
            found.append(("removed", removed))
        if kept:
            found.append(("added", kept))
    return found


def _pieces(text: str) -> Sequence[str]:
    """Words, white space, and every other character by itself."""
    return re.findall(r"\w+|\s+|[^\w\s]", text)
