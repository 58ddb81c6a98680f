"""A model whose numbers a person gives: ``hidden_size=4096,num_layers=32,…``."""

from __future__ import annotations

from typing import Any

from launcher.catalog.families import default_family
from launcher.catalog.local import model_from_config
from launcher.catalog.types import Model
from launcher.errors import Problem, Unreadable, candidates, did_you_mean

# Our name of a number -> the name in a config.json.
NUMBERS = {
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_attention_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "vocab_size": "vocab_size",
    "max_position_embeddings": "max_position_embeddings",
}
KEYS = (*NUMBERS, "model_type", "tie_word_embeddings")
NEEDED = ("hidden_size", "intermediate_size", "num_layers", "num_attention_heads", "vocab_size")


def model_by_hand(text: str, name: str = "by-hand") -> Model:
    """The model of ``key=value`` pairs with commas between; ``model_type`` is the default family's unless given.

    Raises Unreadable with every bad or missing number.
    """
    config: dict[str, object] = {"model_type": default_family().model_type}
    problems: list[Problem] = []
    settled: set[str] = set()  # numbers of which a problem speaks already
    for pair in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = (part.strip() for part in pair.partition("="))
        if key == "model_type":
            config[key] = value
        elif key == "tie_word_embeddings" and value in ("true", "false"):
            config[key] = value == "true"
        elif key not in NUMBERS:
            settled |= set(candidates(key, KEYS) or KEYS)
            problems.append(Problem(f"--architecture: unknown number {key!r}", hint=did_you_mean(key, KEYS)))
        elif not value.isdecimal() or int(value) < 1:
            settled.add(key)
            problems.append(Problem(f"--architecture: {key} must be a positive whole number, not {value!r}"))
        else:
            config[NUMBERS[key]] = int(value)
    missing = [key for key in NEEDED if NUMBERS[key] not in config and key not in settled]
    problems += [
        Problem(f"--architecture: {key} is missing", hint="it is in the model's config.json") for key in missing
    ]
    problems += [] if problems else _uneven(config)
    if problems:
        raise Unreadable(problems)
    return model_from_config(config, file="--architecture", base_model=name, chat_template="chatml")


def _uneven(config: dict[str, Any]) -> list[Problem]:
    """What no model has: heads that do not share the width, or the keys, evenly."""
    heads, width = config["num_attention_heads"], config["hidden_size"]
    keys = config.get("num_key_value_heads", heads)
    found = []
    if "head_dim" not in config and width % heads:
        said = f"--architecture: hidden_size {width} is no multiple of num_attention_heads {heads}"
        found.append(Problem(said, hint="give head_dim too, where a head has another width"))
    if heads % keys:
        found.append(
            Problem(f"--architecture: num_attention_heads {heads} is no multiple of num_key_value_heads {keys}")
        )
    return found
