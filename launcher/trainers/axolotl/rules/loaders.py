"""What Axolotl's loaders refuse, and its schema does not: found after the model's files are read, or after training."""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher.errors import did_you_mean
from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import INIT_HINT, SAFE_INITS, AxolotlConfig, rule
from launcher.trainers.axolotl.rules.advice import ALREADY_CHAT

# The embedding and the head, as loaders/utils.py: get_linear_embedding_layers has them.
_EMBEDDINGS = {
    "gpt_neox": ("embed_in", "embed_out"),
    "falcon": ("word_embeddings", "lm_head"),
    "nemotron_h": ("embeddings", "lm_head"),
    "bailing_hybrid": ("word_embeddings", "lm_head"),
}
_CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# Special tokens that bases have by their name, where their tokenizer is not at hand; the first that fits wins.
_KNOWN_TOKENS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"llama-?[34]", ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|start_header_id|>",
                      "<|end_header_id|>", "<|python_tag|>", "<|eot|>", "<|finetune_right_pad_id|>",
                      "<|finetune_right_pad|>")),
    (r"llama-?2|codellama|tinyllama|mistral|mixtral", ("<s>", "</s>", "<unk>", "[INST]", "[/INST]", "<pad>")),
    (r"qwen", (*_CHATML, "<tool_call>", "</tool_call>", "<think>", "</think>")),
    (r"gemma", ("<bos>", "<eos>", "<pad>", "<unk>", "<start_of_turn>", "<end_of_turn>")),
    (r"phi-?3", ("<s>", "</s>", "<unk>", "<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>")),
    (r"smollm", _CHATML),
)  # fmt: skip


def _untrained(c: AxolotlConfig) -> tuple[str, ...]:
    """The embedding and head of the base, where a LoRA config does not train both; else nothing."""
    wanted = _EMBEDDINGS.get(c.architecture.model_type or "", ("embed_tokens", "lm_head"))
    saved = c.get("lora_modules_to_save") or ()
    return wanted if c.adapter and not set(wanted) <= set(saved) else ()


@rule("QL414", "error")
def new_tokens_untrained(c: AxolotlConfig) -> Iterator[Hit]:
    """`tokens` with an adapter, without the embeddings in `lora_modules_to_save`.

    A new token has a row of random numbers that no adapter changes. Axolotl stops when it reads the model's config.
    """
    wanted = _untrained(c)
    if c.get("tokens") and wanted:
        names = ", ".join(wanted)
        message = f"tokens with adapter: {c.adapter}, and lora_modules_to_save lacks {names}"
        yield c.key("tokens", message, f"lora_modules_to_save: [{names}]; or leave out tokens that the base has")


@rule("QL415", "error")
def new_special_token_untrained(c: AxolotlConfig) -> Iterator[Hit]:
    """A special token that the base does not have, with an adapter, without the embeddings in `lora_modules_to_save`.

    Axolotl stops when it loads the tokenizer: the token's row would never be trained.
    """
    wanted, base = _untrained(c), _vocabulary(c)
    if not wanted or base is None:
        return
    for key, token in c.mapping("special_tokens").items():
        if isinstance(token, str) and token not in base and key != "pad_token":
            yield _new_token(c, key, token, wanted)


@rule("QL718", "warning")
def special_token_perhaps_new(c: AxolotlConfig) -> Iterator[Hit]:
    """A special token that a base of that name does not have, with an adapter, without trained embeddings.

    A new row of the embedding stays random. Axolotl stops where the token stands in a text; a new pad token it takes,
    and the merged model is one row larger than its base.
    """
    wanted, base = _untrained(c), _vocabulary(c)
    if not wanted:
        return
    if base is not None:
        pad = c.mapping("special_tokens").get("pad_token")
        if isinstance(pad, str) and pad not in base:
            yield _new_token(c, "pad_token", pad, wanted)
        return
    name = c.base_model.rpartition("/")[2].lower()
    known = next((tokens for pattern, tokens in _KNOWN_TOKENS if re.search(pattern, name)), None)
    if known is None or ALREADY_CHAT.search(c.base_model):
        return
    for key, token in c.mapping("special_tokens").items():
        if isinstance(token, str) and token not in known and not token.startswith("<|reserved_special_token"):
            yield _new_token(c, key, token, wanted)


def _new_token(c: AxolotlConfig, key: str, token: str, wanted: tuple[str, ...]) -> Hit:
    names = ", ".join(wanted)
    hint = f"a token that it has, or lora_modules_to_save: [{names}]"
    return c.at(("special_tokens", key), f"{key}: {token} is not a token of {c.base_model}, and is not trained", hint)


def _vocabulary(c: AxolotlConfig) -> set[str] | None:
    """Every token of the base's tokenizer; None where it is not in a folder here."""
    from launcher.data.base import vocabulary
    from launcher.errors import Unreadable

    folder = c.architecture.folder
    try:
        return (vocabulary(folder) or None) if folder is not None else None
    except Unreadable:
        return None


@rule("QL719", "warning")
def adapter_without_its_base(c: AxolotlConfig) -> Iterator[Hit]:
    """An initialisation that changes the base before training.

    PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA take their part out of the base's weights. The saved adapter belongs to the
    base that is left, which nobody keeps: on the original one it answers otherwise, and ql cannot merge it.
    """
    init = c.get("peft_init_lora_weights")
    if c.is_lora and init not in SAFE_INITS:
        yield c.at(
            "peft_init_lora_weights", f"peft_init_lora_weights: {init} changes the base that it trains", INIT_HINT
        )


# Types of data sets: modules of prompt_strategies/, and the names that utils/data/wrappers.py handles itself.
_TYPES = frozenset(
    {
        *(
            "alpaca",
            "alpaca_chat",
            "alpaca_instruct",
            "alpaca_w_system",
            "chat_template",
            "completion",
            "concisechoice",
        ),
        *(
            "concisechoice",
            "context_qa",
            "creative_acr",
            "explainchoice",
            "gpteacher",
            "input_output",
            "jeopardy",
            "llama2_chat",
        ),
        *("messages", "metharme", "oasst", "orcamini", "pretrain", "pygmalion", "reflection", "summarizetldr"),
        *("user_defined", "bradley_terry", "stepwise_supervised", "dpo", "kto", "orpo", "ebft"),
    }
)
_CHAT = frozenset(
    {"chatml", "chat", "conversation", "conversations", "openai", "vicuna", "llama3", "messages", "gemma"}
)


@rule("QL416", "error")
def unknown_type(c: AxolotlConfig) -> Iterator[Hit]:
    """A data set `type` that Axolotl does not have.

    It takes any text, and stops when the rows are to be tokenised. A name with a dot may be a module of your own.
    """
    if c.any_of("rl", "reward_model", "process_reward_model", "skip_prepare_dataset"):
        return
    for key in ("datasets", "test_datasets"):
        for index, data_set in c.datasets(key):
            kind = data_set.get("type")
            if not isinstance(kind, str) or kind.startswith("sharegpt"):
                continue  # QL402 speaks of that
            name, _, style = kind.partition(":")
            first, *rest = name.split(".")
            if (first in _TYPES or (rest and not rest[-1].startswith("load_"))) and not style.startswith("load_"):
                continue
            if style.startswith("load_"):
                hint = f"type: {name}.{style}"
            else:
                hint = "type: chat_template" if first in _CHAT else did_you_mean(first, sorted(_TYPES))
            yield c.at((key, index, "type"), f"no such type: {kind}", hint)
