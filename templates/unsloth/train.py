"""Fine-tune a language model with Unsloth, the way config.yaml says.

    python train.py config.yaml             train, then save the adapter and its tokenizer in output_dir
    python train.py config.yaml --resume    go on from the last checkpoint in output_dir

Needs unsloth and trl, nothing else. Paths in config.yaml are relative to the folder this is run in.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

import yaml

IGNORE = -100  # the label of a token that is not trained
PROBE = "an answer that no row has"
CHECKPOINTS = 3  # kept; the best one is always among them

# Every key of config.yaml and its type. None stands for null; a key of OPTIONAL may be left out.
KEYS: dict[str, tuple[type | None, ...]] = {
    "base_model": (str,),
    "load_in_4bit": (bool,),
    "quant_type": (str,),
    "double_quant": (bool,),
    "compute_dtype": (str,),
    "eos_token": (str,),
    "pad_token": (str,),
    "lora_r": (int,),
    "lora_alpha": (int,),
    "lora_dropout": (float,),
    "lora_target_modules": (list,),
    "train_file": (str,),
    "eval_file": (str, None),
    "chat_template": (str, None),
    "end_of_turn": (str,),
    "sequence_len": (int,),
    "excess_length": (str,),
    "packing": (bool,),
    "micro_batch_size": (int,),
    "gradient_accumulation_steps": (int,),
    "eval_batch_size": (int,),
    "num_epochs": (float,),
    "max_steps": (int, None),
    "learning_rate": (float,),
    "lr_scheduler": (str,),
    "warmup_ratio": (float,),
    "optimizer": (str,),
    "weight_decay": (float,),
    "max_grad_norm": (float,),
    "seed": (int,),
    "eval_interval": (float,),
    "keep": (str,),
    "logging_steps": (int,),
    "output_dir": (str,),
    "gradient_checkpointing": (bool,),
    "activation_offload": (bool,),
    "report_to": (list,),
    "run_name": (str,),
    "project": (str,),
}
DEFAULTS: dict[str, Any] = {"report_to": [], "run_name": None, "project": "huggingface"}  # of experiment trackers
OPTIONAL = {"quant_type", "double_quant", "end_of_turn", *DEFAULTS}
CHOICES = {
    "quant_type": ("nf4", "fp4"),
    "compute_dtype": ("float16", "bfloat16", "float32"),
    "excess_length": ("truncate", "drop", "raise"),
    "keep": ("best", "last"),
}


def read_config(path: str) -> dict[str, Any]:
    """The checked settings. Exits with everything that is wrong in the file, rather than train something else."""
    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        sys.exit(f"{path}: cannot be read: {error}")
    if not isinstance(config, dict):
        sys.exit(f"{path}: is not a mapping of settings")
    problems = [f"unknown key {key!r}" for key in config if key not in KEYS]
    problems += [f"missing key {key!r}" for key in KEYS if key not in config and key not in OPTIONAL]
    for key, value in config.items():
        if key in KEYS and not any(is_a(value, kind) for kind in KEYS[key]):
            expected = " or ".join(kind.__name__ if kind else "null" for kind in KEYS[key])
            problems.append(f"{key} is {value!r}, not {expected}")
        elif key in CHOICES and value not in CHOICES[key]:
            problems.append(f"{key} is {value!r}, not one of {', '.join(CHOICES[key])}")
    if config.get("load_in_4bit"):
        problems += [f"load_in_4bit needs {key!r}" for key in ("quant_type", "double_quant") if key not in config]
    if config.get("chat_template") and "end_of_turn" not in config:
        problems.append("chat_template needs 'end_of_turn'")
    if config.get("keep") == "best" and not config.get("eval_file"):
        problems.append("keep best needs an eval_file")
    if config.get("activation_offload") and not config.get("gradient_checkpointing"):
        problems.append("activation_offload needs gradient_checkpointing")
    if problems:
        sys.exit("\n".join(f"{path}: {problem}" for problem in problems))
    return DEFAULTS | config


def is_a(value: Any, kind: type | None) -> bool:
    if kind is None:
        return value is None
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


# --- rows to tokens ---


def load_tokenizer(config: dict[str, Any]) -> Any:
    """The base model's tokenizer, with the end and padding tokens and the chat template of the config."""
    from transformers import AddedToken, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(config["base_model"])
    for slot, text in {"eos_token": config["eos_token"], "pad_token": config["pad_token"]}.items():
        token = AddedToken(text, lstrip=False, rstrip=False, normalized=False)
        if tokenizer.add_special_tokens({slot: token}):
            sys.exit(f"{slot} {text!r} is not in the tokenizer of {config['base_model']}")
    if config["chat_template"]:
        tokenizer.chat_template = Path(config["chat_template"]).read_text(encoding="utf-8")
    return tokenizer


def load_rows(path: str, tokenizer: Any, config: dict[str, Any]) -> Any:
    """A data set of input_ids and labels from a JSONL file of {"messages": ...} or {"text": ...}."""
    from datasets import Dataset

    with Path(path).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    if config["chat_template"]:
        tokenised = [tokenise_chat(row, tokenizer, config["end_of_turn"]) for row in rows]
    else:
        tokenised = [part for row in rows for part in tokenise_text(row["text"], tokenizer, config["sequence_len"])]
    kept = fit(tokenised, config["sequence_len"], config["excess_length"], path)
    return Dataset.from_dict({"input_ids": [ids for ids, _ in kept], "labels": [labels for _, labels in kept]})


def tokenise_chat(row: dict[str, Any], tokenizer: Any, end_of_turn: str) -> tuple[list[int], list[int]]:
    """Only what the assistant says is trained, each turn with the token that ends it; none with training: false."""
    messages, tools = parse_json_text(row)

    def render(turns: list[dict[str, Any]], prompt: bool = False) -> str:
        # A batch of one: a conversation that begins with the assistant has an empty prompt, which is fine in a batch.
        return tokenizer.apply_chat_template([turns], tools=tools, tokenize=False, add_generation_prompt=prompt)[0]

    text, spans = render(messages), []
    for index, message in enumerate(messages):
        if message["role"] == "assistant" and message.get("training") is not False:
            begin, upto = len(render(messages[:index], prompt=True)), render(messages[: index + 1])
            if "think" in tokenizer.chat_template:  # what it writes before any answer, an empty thought, is not trained
                other = [*messages[:index], {"role": "assistant", "content": PROBE}, *messages[index + 1 :]]
                opening = render(other).partition(PROBE)[0]
                begin = max(begin, len(os.path.commonprefix([opening, text])))  # noqa: RUF071  (of characters)
            spans.append((begin, upto.rindex(end_of_turn) + len(end_of_turn)))
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    labels = [
        token if any(start < stop and end > begin for begin, stop in spans) else IGNORE
        for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]
    return encoded["input_ids"], labels


def parse_json_text(row: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Any] | None]:
    """Messages and tools of a row, with the parts that are written as JSON text parsed: templates expect objects."""

    def parsed(value: Any) -> Any:
        return json.loads(value) if isinstance(value, str) else value

    messages = row["messages"]
    for message in messages:
        for call in message.get("tool_calls") or []:
            call["function"]["arguments"] = parsed(call["function"]["arguments"])
    tools = parsed(row.get("tools")) or None
    for tool in tools or []:
        if "parameters" in tool.get("function", {}):
            tool["function"]["parameters"] = parsed(tool["function"]["parameters"])
    return messages, tools


def tokenise_text(text: str, tokenizer: Any, length: int) -> list[tuple[list[int], list[int]]]:
    """All of a text is trained, and its end; one that is longer than ``length`` tokens becomes several rows."""
    longest = 64 * length
    ids = tokenizer(text, truncation=True, max_length=longest)["input_ids"]
    if ids and ids[-1] != tokenizer.eos_token_id and len(ids) < longest:
        ids.append(tokenizer.eos_token_id)
    parts = [ids[start : start + length] for start in range(0, len(ids), length)]
    return [(part, list(part)) for part in parts]


def fit(
    rows: list[tuple[list[int], list[int]]], length: int, excess: str, name: str
) -> list[tuple[list[int], list[int]]]:
    """Cut, drop or refuse rows of more than ``length`` tokens, and leave out those with nothing to train."""
    long = sum(len(ids) > length for ids, _ in rows)
    if long and excess == "raise":
        sys.exit(f"{name}: {long} of {len(rows)} rows have more than {length} tokens")
    if excess == "drop":
        rows = [row for row in rows if len(row[0]) <= length]
    rows = [(ids[:length], labels[:length]) for ids, labels in rows]
    kept = [(ids, labels) for ids, labels in rows if len(ids) > 1 and any(label != IGNORE for label in labels)]
    print(f"{name}: {len(kept)} rows, {long} too long ({excess}), {len(rows) - len(kept)} with nothing to train")
    if not kept:
        sys.exit(f"{name}: no row is left to train on")
    return kept


# --- training ---


def load_model(config: dict[str, Any]) -> Any:
    """The frozen base, in 4 bit or not, with a trainable adapter."""
    import torch
    from transformers import BitsAndBytesConfig
    from unsloth import FastLanguageModel

    dtype = getattr(torch, config["compute_dtype"])
    quantization = None
    if config["load_in_4bit"]:
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type=config["quant_type"],
            bnb_4bit_use_double_quant=config["double_quant"],
            bnb_4bit_compute_dtype=dtype,
        )
    model, _ = FastLanguageModel.from_pretrained(
        config["base_model"],
        max_seq_length=config["sequence_len"],
        dtype=dtype,
        load_in_4bit=config["load_in_4bit"],
        quantization_config=quantization,
        use_exact_model_name=True,  # else a known name is swapped for a repository that was quantised elsewhere
    )
    checkpointing = "unsloth" if config["activation_offload"] else config["gradient_checkpointing"]
    return FastLanguageModel.get_peft_model(
        model,
        r=config["lora_r"],
        lora_alpha=config["lora_alpha"],
        lora_dropout=config["lora_dropout"],
        target_modules=config["lora_target_modules"],
        bias="none",
        use_gradient_checkpointing=checkpointing,  # "unsloth" keeps what is checkpointed in host memory
        random_state=config["seed"],
    )


def warmup_steps(config: dict[str, Any], rows: int) -> int:
    """As many as Axolotl makes of the same ratio.

    The first step of a warm-up has the learning rate 0. A ratio would be rounded up: one such step in the shortest
    run, and with it a checkpoint of an adapter that is not trained. One step alone would warm nothing up: it is two.
    """
    batch = config["micro_batch_size"] * config["gradient_accumulation_steps"]
    steps = config["max_steps"] or math.ceil(rows * config["num_epochs"] / batch)
    whole = int(steps * config["warmup_ratio"])
    return 2 if whole == 1 else whole


def train(config: dict[str, Any], resume: str | bool) -> None:
    import unsloth  # noqa: F401  (first: it patches trl, transformers and peft)
    from trl import SFTConfig, SFTTrainer

    tokenizer = load_tokenizer(config)
    train_rows = load_rows(config["train_file"], tokenizer, config)
    eval_rows = load_rows(config["eval_file"], tokenizer, config) if config["eval_file"] else None
    model = load_model(config)
    model.config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    arguments = SFTConfig(
        output_dir=config["output_dir"],
        max_length=config["sequence_len"],
        packing=config["packing"],
        pad_to_multiple_of=8,
        per_device_train_batch_size=config["micro_batch_size"],
        gradient_accumulation_steps=config["gradient_accumulation_steps"],
        per_device_eval_batch_size=config["eval_batch_size"],
        num_train_epochs=config["num_epochs"],
        max_steps=config["max_steps"] or -1,
        learning_rate=config["learning_rate"],
        lr_scheduler_type=config["lr_scheduler"],
        optim=config["optimizer"],
        weight_decay=config["weight_decay"],
        max_grad_norm=config["max_grad_norm"],
        seed=config["seed"],
        fp16=config["compute_dtype"] == "float16",
        bf16=config["compute_dtype"] == "bfloat16",
        eval_strategy="steps" if eval_rows is not None else "no",
        eval_steps=config["eval_interval"],
        eval_on_start=eval_rows is not None,
        save_strategy="steps",
        save_steps=config["eval_interval"],
        save_total_limit=CHECKPOINTS,
        load_best_model_at_end=config["keep"] == "best",
        metric_for_best_model="eval_loss" if eval_rows is not None else None,
        greater_is_better=False,
        logging_steps=config["logging_steps"],
        report_to=config["report_to"] or "none",
        run_name=config["run_name"],
        project=config["project"],
        # TRL's default is to recompute; without a GPU Unsloth leaves it at that.
        gradient_checkpointing=config["gradient_checkpointing"],
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=train_rows,
        eval_dataset=eval_rows,
        processing_class=tokenizer,
    )
    trainer.args.warmup_steps = warmup_steps(config, len(trainer.train_dataset))  # packed, if it is
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:  # TRL turns the adapter of a 4-bit model into bfloat16, a resume turns it back
            parameter.data = parameter.data.float()
    trainer.train(resume_from_checkpoint=resume or None)
    trainer.save_model(config["output_dir"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config.yaml")
    parser.add_argument(
        "--resume", nargs="?", const=True, default=False, metavar="CHECKPOINT", help="go on from this or the last one"
    )
    options = parser.parse_args()
    config = read_config(options.config)
    # Unsloth reads these when it is imported: no call home, and its generated code stays in the output folder.
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(Path(config["output_dir"], "unsloth_code").resolve()))
    train(config, options.resume)


if __name__ == "__main__":
    main()
