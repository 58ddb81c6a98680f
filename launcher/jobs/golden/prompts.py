"""Golden prompts as token ids, and the tokens at which an answer ends. Runs under the trainer's python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.data.formats import as_templates_read
from launcher.errors import Problem, RunFailed

_PROBE = "ql probe of the answer"
# Room for an answer beyond the longest right one, so that a longer one is seen to be longer.
ROOM_FACTOR, ROOM_TOKENS = 1.25, 16


def load_tokenizer(folder: str) -> Any:
    """The tokenizer in ``folder``, from local files only. It needs a pad token: ql gives every run one."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise RunFailed(f"{folder}: no tokenizer could be loaded: {error}") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id  # masked in generation, so any token does
    return tokenizer


def read_template(path: str | None, tokenizer: Any) -> str | None:
    """The chat template of the run; the tokenizer's own where the run has none, None where there is neither."""
    own: str | None = tokenizer.chat_template
    return Path(path).read_text(encoding="utf-8") if path else own


def prompt_ids(
    prompt: Mapping[str, Any], tokenizer: Any, template: str | None, settings: Mapping[str, object] | None = None
) -> list[int]:
    """Token ids of one prompt, equal to the first tokens of the training row that asks the same.

    ``settings`` are what the template is told, such as that no thought is wanted.

    A chat is rendered with the generation prompt and tokenised without special tokens: the template has written them.
    Plain text is tokenised as a training row is, less a closing end-of-sequence token.
    """
    if "text" in prompt:
        ids = list(tokenizer(prompt["text"])["input_ids"])
        return ids[:-1] if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id else ids
    text = tokenizer.apply_chat_template(
        as_templates_read(prompt["messages"]),
        tools=prompt.get("tools") or None,
        chat_template=template,
        add_generation_prompt=True,
        tokenize=False,
        **(settings or {}),
    )
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def all_prompt_ids(
    prompts: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    template: str | None,
    settings: Mapping[str, object] | None = None,
) -> dict[str, list[int]]:
    """Token ids by the prompt's id. Raises RunFailed with every prompt that the chat template refuses."""
    import jinja2

    ids, problems = {}, []
    for prompt in prompts:
        try:
            ids[prompt["id"]] = prompt_ids(prompt, tokenizer, template, settings)
        except (jinja2.TemplateError, ValueError, TypeError, KeyError) as error:
            problems.append(Problem(f"golden prompt {prompt['id']}: the chat template refuses it: {error}"))
    if problems:
        raise RunFailed(problems)
    return ids


def stop_ids(model: Any, tokenizer: Any, template: str | None) -> list[int]:
    """The tokens at which generation stops: the tokenizer's and the base's own ends, and the template's end of turn."""
    ends = [tokenizer.eos_token_id, model.config.get_text_config().eos_token_id, model.generation_config.eos_token_id]
    if template:
        ends.append(end_of_turn(tokenizer, template))
    stops: set[int] = set()
    for end in ends:
        stops.update(end if isinstance(end, list) else [] if end is None else [end])
    return sorted(stops)


def end_of_turn(tokenizer: Any, template: str) -> int | None:
    """The special token that the template writes after an assistant's content; None when it writes none there."""
    messages = [{"role": "user", "content": "question"}, {"role": "assistant", "content": _PROBE}]
    text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False)
    ids = tokenizer(text.rpartition(_PROBE)[2].lstrip(), add_special_tokens=False)["input_ids"]
    return ids[0] if ids and ids[0] in tokenizer.added_tokens_decoder else None


def answer_limit(answers: Sequence[str], tokenizer: Any, thought_tokens: int = 0) -> int:
    """Tokens that an answer may have: those of the longest right one after the longest thought, and some room."""
    longest = max((len(tokenizer(answer, add_special_tokens=False)["input_ids"]) for answer in answers), default=0)
    return int((longest + thought_tokens) * ROOM_FACTOR) + ROOM_TOKENS
