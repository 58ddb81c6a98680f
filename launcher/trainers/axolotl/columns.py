"""The columns that Axolotl reads of a row, by the data set's type (its prompt_strategies/ and prompt_tokenizers.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_ALPACA = ("instruction", "output")
_QUESTION = ("question", "answer")
_SYSTEM = ("system", "instruction", "output")
_ORCA = ("system_prompt", "question", "response")
# A type that is not here reads what nobody looked up, and is not checked.
_TYPES: Mapping[str, tuple[str, ...]] = {
    "alpaca": _ALPACA,
    "alpaca_chat": _ALPACA,
    "alpaca_chat.load_concise": _ALPACA,
    "alpaca_chat.load_no_prompt": _ALPACA,
    "alpaca_chat.load_qa": _QUESTION,
    "alpaca_chat.load_camel_ai": ("message_1", "message_2"),
    "alpaca_instruct": _ALPACA,
    "alpaca_instruct.load_no_prompt": _ALPACA,
    "alpaca_w_system": _SYSTEM,
    "alpaca_w_system.load_instruct": _SYSTEM,
    "alpaca_w_system.load_chat": _SYSTEM,
    "alpaca_w_system.load_open_orca": _ORCA,
    "alpaca_w_system.load_open_orca_chatml": _ORCA,
    "orcamini": _ORCA,
    "context_qa": ("article", *_QUESTION),
    "context_qa.load_v2": ("context", *_QUESTION),
    "explainchoice": ("question", "choices"),
    "concisechoice": ("question", "choices"),
    "summarizetldr": ("article", "summary"),
    "gpteacher": ("instruction", "response"),
    "jeopardy": ("question", "category", "answer"),
    "oasst": ("INSTRUCTION", "RESPONSE"),
    "metharme": ("prompt", "generation"),
    "reflection": ("instruction", "output", "reflection", "corrected"),
    "input_output": ("segments",),
    "pygmalion": ("conversations",),
}


@dataclass(frozen=True)
class Asked:
    """What a type reads; ``optional`` and ``turns`` as `launcher.trainers.config_file.RowFile` has them."""

    columns: tuple[str, ...] = ()
    declared: str = ""
    optional: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()


def row_columns(data_set: Mapping[str, object]) -> Asked:
    """The columns that a data set's type reads, and what says so."""
    kind = data_set.get("type")
    if kind == "chat_template":
        return Asked((_name(data_set, "field_messages", "messages"),), "type: chat_template", turns=_turns(data_set))
    if kind == "completion":
        return Asked((_name(data_set, "field", "text"),), "type: completion")
    if isinstance(kind, dict):
        return _custom(kind)
    name = kind.split(":")[0] if isinstance(kind, str) else ""
    return Asked(_TYPES[name], f"type: {name}") if name in _TYPES else Asked()


def _name(where: Mapping[str, object], key: str, default: str) -> str:
    return str(where.get(key) or default)


def _custom(kind: Mapping[str, object]) -> Asked:
    """A type that the config describes. A row without its output is taken, and nothing of it trained."""
    if kind.get("field"):
        return Asked((str(kind["field"]),), "type.field")
    columns = _name(kind, "field_instruction", "instruction"), _name(kind, "field_output", "output")
    defaults = {"field_input": "input", "field_system": "system"}
    optional = tuple(str(kind[key]) for key, default in defaults.items() if kind.get(key) not in (None, "", default))
    return Asked(columns, "the type's field_instruction or field_output", optional)


def _turns(data_set: Mapping[str, object]) -> tuple[str, ...]:
    """The keys of role and content; from 0.19 on the old names of single keys are taken too."""
    mapped = data_set.get("message_property_mappings")
    mapping = mapped if isinstance(mapped, dict) else {}
    old = {"role": "message_field_role", "content": "message_field_content"}
    return tuple(str(mapping.get(key) or data_set.get(name) or key) for key, name in old.items())
