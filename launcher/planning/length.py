"""The sequence length: what the rows need, less where that does not fit the card."""

from __future__ import annotations

import math
from dataclasses import dataclass

from launcher.data.facts import DataFacts
from launcher.errors import Problem
from launcher.planning.request import Request
from launcher.planning.settings import Layers
from launcher.sizing import row_lengths

DEFAULT_SEQUENCE_LEN = 2048
SEQUENCE_STEP = 64  # lengths are rounded up to this: tensor cores want multiples of 8, and odd lengths save nothing
# Tried in turn where the rows' own length does not fit: four to each doubling, from 114,688 down to 512, so that what
# is taken is at most a fifth under the longest that fits.
SHORTER = tuple(quarters << power for power in range(14, 6, -1) for quarters in (7, 6, 5, 4))
FATES = {"truncate": "cut", "drop": "left out", "raise": "refused"}  # what becomes of a row that is longer
# Of a row's length as it is estimated from bytes (launcher/data/tokens.py): code, numbers and other languages than
# English have more tokens a byte. The base's tokenizer corrects it before training (launcher/runs/recount.py).
MARGIN = 1.5
TAIL = 2.0  # a longest row of more than this many times the 95th percentile is an outlier: it does not set the length


@dataclass(frozen=True)
class LengthChoice:
    """One sequence length to try, with why it would be taken."""

    tokens: int
    reason: str


def lengths_to_try(request: Request, layers: Layers, problems: list[Problem]) -> list[LengthChoice]:
    """Sequence lengths in the order in which they are tried: the first one that fits the card is taken.

    One that is fixed is the only one. Adds a problem where it is more than the model can read.
    """
    limit = request.model.max_position_embeddings
    if layers.fixed("sequence_len"):
        length = layers["sequence_len"]
        if length > limit:
            said = f"sequence_len {length} is over the {limit} tokens that {request.model.title} can read"
            problems.append(Problem(said))
        return [LengthChoice(length, layers.decisions["sequence_len"].reason)]
    data = request.data
    if data is None or not data.rows or not (data.exact or data.quantiles):
        length = min(DEFAULT_SEQUENCE_LEN, limit)
        reason = "holds most instruction data; set it for longer rows" if length < limit else "the model's own limit"
        return [LengthChoice(length, reason)]
    fate = "split" if not data.conversational else FATES[layers.values.get("excess_length", "truncate")]
    first = _for_rows(request, limit, fate)
    rows = row_lengths(data)
    found = [first]
    for length in SHORTER:
        if length < first.tokens:
            cut = f"{rows.share_over(length):.0%} of the rows are {fate}: {first.tokens} tokens do not fit"
            found.append(LengthChoice(length, cut))
    return found


def _for_rows(request: Request, limit: int, fate: str) -> LengthChoice:
    """The length that the rows themselves ask for, whatever the card; ``fate`` is what becomes of longer ones."""
    data = request.data
    assert data is not None
    if not data.exact:
        return _for_estimates(data, limit)
    longest, usual = _rounded(data.tokens_max), _rounded(data.tokens_p95)
    if longest > limit:
        share = f"; {row_lengths(data).share_over(limit):.0%} of the rows are {fate}"
        if usual >= limit or longest <= TAIL * usual:
            return LengthChoice(limit, f"the longest row has {data.tokens_max} tokens, the model reads {limit}{share}")
    if longest <= DEFAULT_SEQUENCE_LEN or longest <= TAIL * usual:
        return LengthChoice(longest, f"the longest row has {data.tokens_max} tokens: nothing is cut")
    length = min(max(usual, DEFAULT_SEQUENCE_LEN), limit)
    over = row_lengths(data).share_over(length)
    told = f"{over:.1%} of the rows are {fate}: the longest has {data.tokens_max} tokens, 95 % have at most"
    return LengthChoice(length, f"{told} {data.tokens_p95}; set it to keep them whole")


def _for_estimates(data: DataFacts, limit: int) -> LengthChoice:
    """The length for rows that no tokenizer has counted yet: theirs with a margin, up to what an unknown file gets."""
    longest = _rounded(math.ceil(data.tokens_max * MARGIN))
    most = min(DEFAULT_SEQUENCE_LEN, limit)
    about = f"the longest row has about {data.tokens_max} tokens"
    if longest <= most:
        return LengthChoice(longest, f"{about}, estimated from bytes, and half as many again are left for it")
    return LengthChoice(most, f"{about}, estimated from bytes: set it for longer rows, or let the tokenizer count them")


def _rounded(tokens: int) -> int:
    return max(math.ceil(tokens / SEQUENCE_STEP) * SEQUENCE_STEP, SEQUENCE_STEP)
