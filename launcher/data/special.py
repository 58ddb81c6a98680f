"""Which token ends a turn and which one pads, decided from a base model's tokenizer files."""

from __future__ import annotations

from pathlib import Path

from launcher.data.base import base_tokens, vocabulary
from launcher.data.chat import ChatTemplate, load_chat_template
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


# Vocabulary size -> (eos, pad) of the published tokenizers behind it, for planning without the base at hand. Each is
# what the rule below chooses from that tokenizer's files with the template inst.
_PUBLISHED: dict[int, tuple[str, str]] = {
    32000: ("</s>", "<unk>"),  # Llama 2, Mistral 7B v0.1
    32768: ("</s>", "<unk>"),  # Mistral 7B v0.3
    128256: ("<|end_of_text|>", "<|finetune_right_pad_id|>"),  # Llama 3.1
    256000: ("<eos>", "<pad>"),  # Gemma, Gemma 2
}


def template_tokens(base: Path | None, template: ChatTemplate) -> dict[str, str]:
    """What a chat template is rendered with (``bos_token``, ``eos_token``, …), after ql's choice of eos and pad.

    Without a folder: the eos and pad of the template's family and no bos.
    """
    chosen = special_tokens(base, template)
    tokens = {} if base is None else base_tokens(base)
    return {**tokens, "eos_token": chosen["eos"], "pad_token": chosen["pad"]}


def special_tokens(
    base: Path | None, template: ChatTemplate | None, *, vocab_size: int | None = None
) -> dict[str, str]:
    """``{"eos", "eot", "pad"}``: what ends a turn (without a template, a text), and a padding token distinct from it.

    eos is eot: the token that ends a turn is the one generation stops at. A pad equal to it would be masked out of the
    loss by trainers that mask padding by its id, and the model would never learn to stop. So pad is the base's own
    pad token where that is distinct, else a token the base ships and does not use; never a new one, which would
    resize the embeddings and break the merge. Without a folder both are those of the template's family, or of the
    published tokenizer with that ``vocab_size`` where the template ends turns with the base's own eos.
    Raises BadInput when the base lacks the template's end-of-turn token, or has nothing to pad with.
    """
    if base is None:
        family = template or load_chat_template("inst")
        eos, pad = family.eos_token, family.pad_token
        if family.end_of_turn is None and vocab_size in _PUBLISHED:
            eos, pad = _PUBLISHED[vocab_size]
        return {"eos": eos, "eot": eos, "pad": pad}
    named = base_tokens(base)
    words = vocabulary(base)
    eot = (template.end_of_turn if template else None) or named.get("eos_token")
    if not eot:
        raise BadInput(f"{base}: its tokenizer names no end-of-sequence token (eos_token in tokenizer_config.json)")
    if template and words and eot not in words:
        raise BadInput(
            f"{base}: its tokenizer has no token {eot!r}, which ends a turn in the chat template {template.name}",
            hint="the template inst needs no token of its own",
        )
    known = words or set(named.values())  # a base with tokenizer.model alone: what its files name is all we can see
    for token in (named.get("pad_token"), template.pad_token if template else "", *_UNUSED, named.get("unk_token")):
        if token and token in known and token not in (eot, named.get("bos_token")):
            return {"eos": eot, "eot": eot, "pad": token}
    raise BadInput(
        f"{base}: its tokenizer has no token to pad with that differs from {eot!r}",
        hint="name an unused token of its vocabulary as pad_token in tokenizer_config.json",
    )
