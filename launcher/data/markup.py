"""Chat markup in rows of plain text: a conversation that was rendered before it came here."""

from __future__ import annotations

from collections.abc import Set

# What begins a turn in the formats of the field; the first that a text holds names it.
_MARKS = (
    "<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "<|start|>", "<|turn>", "[INST]", "<|user|>", "<|User|>",
    "<｜User｜>", "<|start_of_role|>", "<|assistant|>",
)  # fmt: skip
_WORDS = (
    ("### Instruction:", "### Response:"),
    ("USER:", "ASSISTANT:"),
    ("Human:", "Assistant:"),
    ("### Human:", "### Assistant:"),
)


def markup_in(text: str, known: Set[str] | None) -> str | None:
    """What is to be said of a text that holds a rendered conversation; None where it holds none.

    ``known`` are the tokens that the base's tokenizer cuts out of a text; None where it is not at hand.
    """
    mark = next((mark for mark in _MARKS if mark in text), None)
    shown = mark or next((" … ".join(pair) for pair in _WORDS if all(word in text for word in pair)), None)
    if shown is None:
        return None
    message = f"a conversation rendered as text ({shown}): its prompts are trained too; as messages, answers alone are"
    if mark is not None and known is not None and mark.startswith("<") and mark not in known:
        message += f". The base has no token {mark}: it is read letter by letter"
    return message
