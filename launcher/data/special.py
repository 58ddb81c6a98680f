"""Which token ends a turn and which one pads, decided from a base model's tokenizer files."""

from __future__ import annotations

from pathlib import Path

from launcher.data.base import base_tokens, vocabulary
from launcher.data.chat import ChatTemplate
from launcher.errors import BadInput

# Tokens that base models ship and never use in text, in the order in which one is taken for padding.
_UNUSED = (
    "<pad>",
    "[PAD]",
    "<|pad|>",
    "<|PAD_TOKEN|>",
    "<|finetune_right_pad_id|>",
    "<|vision_pad|>",
    "<|endoftext|>",
    "<unk>",
    "[UNK]",
    "<|reserved_special_token_0|>",
    "<|end_of_text|>",
)


def template_tokens(base: Path | None, template: ChatTemplate) -> dict[str, str]:
    """What a chat template is rendered with (``bos_token``, ``eos_token``, …), after ql's choice of eos and pad.

    Without a folder: the eos and pad of the template's family and no bos.
    """
    chosen = special_tokens(base, template)
    tokens = {} if base is None else base_tokens(base)
    return {**tokens, "eos_token": chosen["eos"], "pad_token": chosen["pad"]}


def special_tokens(base: Path | None, template: ChatTemplate) -> dict[str, str]:
    """``{"eos", "eot", "pad"}``: the token that ends a turn, and a padding token distinct from it.

    eos is eot: the token that ends a turn is the one generation stops at. A pad equal to it would be masked out of the
    loss by trainers that mask padding by its id, and the model would never learn to stop. So pad is the base's own
    pad token where that is distinct, else a token the base ships and does not use; never a new one, which would
    resize the embeddings and break the merge. Without a folder both are those of the template's family.
    Raises BadInput when the base lacks the template's end-of-turn token, or has nothing to pad with.
    """
    if base is None:
        return {"eos": template.eos_token, "eot": template.eos_token, "pad": template.pad_token}
    named = base_tokens(base)
    known = vocabulary(base)
    eot = template.end_of_turn or named.get("eos_token")
    if not eot:
        raise BadInput(f"{base}: its tokenizer names no end-of-sequence token, and {template.name} ends turns with it")
    if known and eot not in known:
        raise BadInput(
            f"{base}: its tokenizer has no token {eot!r}, which ends a turn in the chat template {template.name}",
            hint="the template inst needs no token of its own",
        )
    taken = {eot, named.get("bos_token")}
    own = named.get("pad_token")
    candidates = [own, template.pad_token, *_UNUSED, named.get("unk_token")]
    for token in candidates:
        if token and token not in taken and (token in known or (not known and token == own)):
            return {"eos": eot, "eot": eot, "pad": token}
    raise BadInput(
        f"{base}: its tokenizer has no token to pad with that differs from {eot!r}",
        hint="name an unused token of its vocabulary as pad_token in tokenizer_config.json",
    )
