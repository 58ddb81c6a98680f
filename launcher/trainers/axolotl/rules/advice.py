"""What no trainer says: contradictions that it cannot see, and settings that it takes and one regrets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import AxolotlConfig, rule

# The token that ends a turn in the templates that Axolotl ships by name.
END_OF_TURN = {
    "chatml": "<|im_end|>",
    "qwen_25": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "llama4": "<|eot|>",
    "gemma": "<end_of_turn>",
    "gemma3": "<end_of_turn>",
    "phi_3": "<|end|>",
    "phi_35": "<|end|>",
    "exaone": "[|endofturn|]",
    "metharme": "</s>",
}
# From Qwen 3 on the plain name is the tuned model, and -Base the other.
ALREADY_CHAT = re.compile(
    r"(?i)instruct|chat|[-_]it\b|[-_]sft|dpo|hermes|zephyr|thinking|(^|/)qwen-?3(\.\d+)?-\w+(?!.*base)(-\w+)*$"
)


@rule("QL701", "warning")
def overflowing_family_in_fp16(c: AxolotlConfig) -> Iterator[Hit]:
    """fp16 with a family whose activations overflow it.

    fp16 ends at 65504; these models pass it, and the gradients become NaN while the loss still looks finite.
    """
    reason = c.fp16_overflow
    half = c.any_of("fp16", "float16")
    if reason and half and not c.any_of("bfloat16") and c.get("bf16") is not True:
        yield c.at(half[0], f"{c.architecture.model_type} overflows fp16: {reason}", "bf16: true")


@rule("QL702", "warning")
def bf16_auto_falls_back(c: AxolotlConfig) -> Iterator[Hit]:
    """`bf16: auto`, which is the default, with a family that overflows fp16, for a card without bf16.

    auto becomes fp16 there, without a question.
    """
    auto = c.get("bf16", "auto") == "auto" and not c.any_of("fp16", "float16")
    if auto and c.fp16_overflow and c.card and not c.card.has_bf16:
        yield c.at(
            "bf16" if c.has("bf16") else "base_model",
            f"bf16: auto is fp16 on {c.card.name}, which {c.architecture.model_type} overflows",
            "another card",
        )


@rule("QL703", "error")
def no_target_modules(c: AxolotlConfig) -> Iterator[Hit]:
    """A LoRA adapter with nothing to adapt.

    Without `lora_target_linear`, `lora_target_modules` or `lora_target_parameters` PEFT finds no layer: the run stops
    after the model is loaded.
    """
    targets = ("lora_target_linear", "lora_target_modules", "lora_target_parameters", "peft_trainable_token_indices")
    if c.is_lora and not c.any_of(*targets) and not c.get("lora_model_dir"):
        yield c.at("adapter", f"adapter: {c.adapter} has no target modules", "add lora_target_linear: true")


@rule("QL704", "error")
def no_rank(c: AxolotlConfig) -> Iterator[Hit]:
    """A LoRA adapter without `lora_r` or `lora_alpha`.

    Axolotl has no default for them and hands PEFT nothing: the run stops after the model is loaded.
    """
    if c.is_lora and not c.get("lora_model_dir"):
        missing = [key for key in ("lora_r", "lora_alpha") if not c.has(key)]
        rank = c.get("lora_r") or 16
        value = {"lora_r": rank, "lora_alpha": 2 * rank}
        if missing:
            what = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"
            yield c.at("adapter", what, f"add {' and '.join(f'{key}: {value[key]}' for key in missing)}")


@rule("QL705", "warning")
def adapter_scale(c: AxolotlConfig) -> Iterator[Hit]:
    """`lora_alpha` far from `lora_r`.

    The delta is scaled by alpha / r; recipes have 0.5 to 4. A learning rate chosen for one scale does not fit another.
    """
    rank, alpha = c.get("lora_r", 0), c.get("lora_alpha", 0)
    if c.is_lora and rank > 0 and alpha > 0 and not c.get("peft_use_rslora") and not 0.125 <= alpha / rank <= 8:
        yield c.at("lora_alpha", f"the delta is scaled by {alpha / rank:g}", f"lora_alpha: {2 * rank}")


@rule("QL709", "warning")
def end_of_turn_not_trained(c: AxolotlConfig) -> Iterator[Hit]:
    """The token that ends a turn is masked.

    `train_on_eos` or `train_on_eot` of none keeps it out of the loss: the model never learns to stop, and the server
    runs to its limit.
    """
    for index, data_set in c.datasets():
        for key in ("train_on_eos", "train_on_eot"):
            if data_set.get(key) == "none":
                yield c.at(("datasets", index, key), f"{key}: none: the end of a turn is not trained", f"{key}: turn")


@rule("QL710", "warning")
def template_end_token_unknown(c: AxolotlConfig) -> Iterator[Hit]:
    """A named chat template whose end-of-turn token is nobody's.

    Axolotl trains the tokenizer's end-of-sequence token; a base model's is another one than this template's. Without
    `eot_tokens` (or `special_tokens.eos_token`) the token that ends a turn is masked, and the model never stops.
    """
    token = END_OF_TURN.get(str(c.get("chat_template", "")))
    if not token or _ends_turns_so(c, token):
        return
    chat = any(data_set.get("type") == "chat_template" for _, data_set in c.datasets())
    special = c.mapping("special_tokens").values()
    if chat and token not in (c.get("eot_tokens") or ()) and token not in special:
        message = f"chat_template: {c.get('chat_template')} ends a turn with {token}, which is not trained"
        yield c.at("chat_template", message, f'eot_tokens: ["{token}"]')


def _ends_turns_so(c: AxolotlConfig, token: str) -> bool:
    """Whether the base ends its texts with that very token: by its tokenizer where it is here, else by its name."""
    if c.architecture.folder is not None:
        from launcher.data.base import base_tokens
        from launcher.errors import Unreadable

        try:
            eos = base_tokens(c.architecture.folder).get("eos_token")
        except Unreadable:
            eos = None
        if eos is not None:
            return eos == token
    return bool(ALREADY_CHAT.search(c.base_model))


@rule("QL711", "warning")
def padding_with_end_token(c: AxolotlConfig) -> Iterator[Hit]:
    """The pad token is the token that ends a turn.

    Padding is masked by its token in many places (collators, servers); the end of a turn goes with it, and the model
    never stops.
    """
    special = c.mapping("special_tokens")
    pad = special.get("pad_token")
    if pad and (pad == special.get("eos_token") or pad in (c.get("eot_tokens") or ())):
        yield c.at(("special_tokens", "pad_token"), f"pad_token is {pad}, which ends a turn", "a token of its own")


@rule("QL712", "warning")
def short_default_length(c: AxolotlConfig) -> Iterator[Hit]:
    """`sequence_len` is not set.

    Axolotl's default is 512, and it drops longer rows in silence.
    """
    if not c.has("sequence_len"):
        yield c.key((), "sequence_len is not set: 512, and longer rows are dropped", "add sequence_len: 2048")


@rule("QL713", "note")
def long_rows_dropped(c: AxolotlConfig) -> Iterator[Hit]:
    """`excess_length_strategy` is not set.

    Axolotl drops every row that is longer than `sequence_len` and says so in no error. A data set of long rows ends in
    `num_samples=0`.
    """
    if c.has("sequence_len") and not c.has("excess_length_strategy") and not c.get("pretraining_dataset"):
        yield c.key("sequence_len", "rows longer than sequence_len are dropped", "excess_length_strategy: truncate")


@rule("QL714", "error")
def last_data_set_type_missing(c: AxolotlConfig) -> Iterator[Hit]:
    """A data set without `type`.

    Axolotl reads it as already tokenised and stops when the columns `input_ids` and `labels` are not there.
    """
    for key in ("datasets", "test_datasets"):
        for index, data_set in c.datasets(key):
            if (
                not data_set.get("type")
                and not c.get("rl")
                and str(data_set.get("path", "")).endswith((".jsonl", ".csv"))
            ):
                yield c.key((key, index), "a data set without a type", "type: chat_template, or completion, or alpaca")


@rule("QL715", "error")
def unknown_named_template(c: AxolotlConfig) -> Iterator[Hit]:
    """A `chat_template` of a data set that Axolotl does not ship.

    The type takes any text; the run stops when the template is looked up.
    """
    definitions = c.schema.get("$defs", {})
    names = definitions.get("ChatTemplate", {}).get("enum", [])
    for key in ("datasets", "test_datasets"):
        for index, data_set in c.datasets(key):
            name = data_set.get("chat_template")
            if isinstance(name, str) and names and name not in names:
                base = name.removeprefix("tokenizer_default_fallback_")
                if base not in names:
                    from launcher.errors import did_you_mean

                    yield c.at((key, index, "chat_template"), f"no such template: {name}", did_you_mean(name, names))


@rule("QL716", "error")
def folder_called_pixtral(c: AxolotlConfig) -> Iterator[Hit]:
    """A base_model in a folder with "pixtral" in its name.

    Axolotl takes every base_model with that word anywhere in it for a model of images, and cannot load any other.
    """
    folder, _, name = c.base_model.lower().rpartition("/")
    if "pixtral" in folder and "pixtral" not in name:
        message = f'Axolotl takes every base_model with "pixtral" in it for a model of images: {c.base_model}'
        yield c.at("base_model", message, 'a path without "pixtral" (a link will do), or Unsloth as trainer')
