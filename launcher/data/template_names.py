"""The names of the chat templates that ql ships, and what belongs to each; without jinja2, for who needs no more."""

from __future__ import annotations

from launcher.errors import Unreadable, nearest

OWN_TEMPLATE = "tokenizer"  # the setting that asks for the base model's own template
# name -> end of turn, control tokens, eos of the family's chat models, pad token of the family
SHIPPED: dict[str, tuple[str | None, tuple[str, ...], str, str]] = {
    "chatml": ("<|im_end|>", ("<|im_start|>", "<|im_end|>"), "<|im_end|>", "<|endoftext|>"),
    "inst": (None, ("[INST]", "[/INST]"), "</s>", "<unk>"),
    "llama3": (
        "<|eot_id|>",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|eot_id|>",
        "<|finetune_right_pad_id|>",
    ),
    "gemma": ("<end_of_turn>", ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>", "<pad>"),
}
SHIPPED_TEMPLATES: tuple[str, ...] = tuple(SHIPPED)


def require_known(name: str) -> None:
    """Raises Unreadable for a name that `load_chat_template` cannot know; files are not looked for."""
    known = (*SHIPPED_TEMPLATES, OWN_TEMPLATE)
    if name in known or name.endswith(".jinja"):
        return
    guess = nearest(name, known)
    hint = (f"did you mean {guess!r}? " if guess else "") + f"known: {', '.join(known)}"
    raise Unreadable(f"no chat template {name!r}", hint=hint)
