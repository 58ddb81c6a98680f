"""LoRA or QLoRA with transformers and peft alone: ``python train.py config.yaml [--resume CHECKPOINT]``."""

import argparse
import json
from pathlib import Path

import torch
import transformers as hf
import yaml
from peft import LoraConfig, get_peft_model

IGNORE = -100  # the label of a token that is not trained
# Keys of config.yaml that transformers knows by the same name.
SAME = ("output_dir", "gradient_accumulation_steps", "gradient_checkpointing", "learning_rate", "weight_decay")
SAME += ("max_grad_norm", "seed", "logging_steps")


def load_tokenizer(config):
    tokenizer = hf.AutoTokenizer.from_pretrained(config["base_model"])
    for slot in ("eos_token", "pad_token"):
        if tokenizer.add_special_tokens({slot: hf.AddedToken(config[slot], normalized=False)}):
            raise SystemExit(f"{slot} {config[slot]!r} is not in the tokenizer of {config['base_model']}")
    if config["chat_template"]:
        tokenizer.chat_template = Path(config["chat_template"]).read_text(encoding="utf-8")
    return tokenizer


def load_rows(path, tokenizer, config):
    """Rows of input_ids and labels from JSONL: conversations, or texts where there is no chat template."""
    length, excess, rows = config["sequence_len"], config["excess_length"], []
    for line in filter(str.strip, Path(path).read_text(encoding="utf-8").split("\n")):
        row = json.loads(line, object_hook=with_objects)
        if config["chat_template"]:
            rows.append(tokenize_chat(row, tokenizer, config["end_of_turn"]))
        else:  # all of a text is trained, and its end; a long one becomes several rows
            ids = tokenizer(row["text"])["input_ids"]
            ids += [tokenizer.eos_token_id] if ids[-1:] != [tokenizer.eos_token_id] else []
            rows += [(ids[at : at + length],) * 2 for at in range(0, len(ids), length)]
    long = sum(len(ids) > length for ids, _ in rows)
    if long and excess == "raise":
        raise SystemExit(f"{path}: {long} of {len(rows)} rows have more than {length} tokens")
    kept = [(ids[:length], labels[:length]) for ids, labels in rows if excess != "drop" or len(ids) <= length]
    kept = [(ids, labels) for ids, labels in kept if len(ids) > 1 and set(labels) != {IGNORE}]
    print(f"{path}: {len(kept)} of {len(rows)} rows have something to train; {long} too long ({excess})", flush=True)
    return [{"input_ids": ids, "labels": labels} for ids, labels in kept]


def with_objects(part):
    """Tools and the arguments of their calls may stand as JSON text in a row; chat templates want them as objects."""
    texts = {key for key in ("tools", "arguments") if isinstance(part.get(key), str)}
    return part | {key: json.loads(part[key]) for key in texts}


def tokenize_chat(row, tokenizer, end_of_turn):
    """A conversation's tokens, with labels for what the assistant says, up to the end of each of its turns."""

    def text(count, prompt=False):  # a batch of one: it may be empty, a conversation may not
        batch, tools = [row["messages"][:count]], row.get("tools") or None
        return tokenizer.apply_chat_template(batch, tools=tools, add_generation_prompt=prompt, tokenize=False)[0]

    trained = set()  # positions of characters
    for index, message in enumerate(row["messages"]):
        if message["role"] == "assistant":
            end = text(index + 1).rindex(end_of_turn) + len(end_of_turn)
            trained.update(range(len(text(index, prompt=True)), end))
    whole = tokenizer(text(len(row["messages"])), add_special_tokens=False, return_offsets_mapping=True)
    tokens = zip(whole["input_ids"], whole["offset_mapping"], strict=True)
    return whole["input_ids"], [IGNORE if trained.isdisjoint(range(*span)) else token for token, span in tokens]


def load_model(config):
    """The frozen base with an adapter, whose weights peft keeps in float32."""
    dtype, load = getattr(torch, config["compute_dtype"]), {}
    if config["load_in_4bit"]:
        how = {"quant_type": config["quant_type"], "use_double_quant": config["double_quant"], "compute_dtype": dtype}
        nf4 = hf.BitsAndBytesConfig(load_in_4bit=True, **{f"bnb_4bit_{key}": value for key, value in how.items()})
        load["quantization_config"] = nf4
    model = hf.AutoModelForCausalLM.from_pretrained(config["base_model"], dtype=dtype, **load)
    for module in model.modules():  # else an evaluation on a CPU repacks the weights: no gradient passes afterwards
        module.support_avx512bf16_for_cpu = False
    names = {"r": "lora_r", "lora_alpha": "lora_alpha", "lora_dropout": "lora_dropout"}
    lora = {theirs: config[ours] for theirs, ours in names.items()} | {"target_modules": config["lora_target_modules"]}
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--resume", metavar="CHECKPOINT")
    options = parser.parse_args()
    config = yaml.safe_load(Path(options.config).read_text(encoding="utf-8"))
    hf.set_seed(config["seed"])  # of the adapter's first weights
    tokenizer = load_tokenizer(config)
    rows = load_rows(config["train_file"], tokenizer, config)
    held_out = load_rows(config["eval_file"], tokenizer, config) if config["eval_file"] else None
    batch = config["micro_batch_size"] * config["gradient_accumulation_steps"]
    steps = config["max_steps"] or len(rows) * config["num_epochs"] / batch
    arguments = hf.TrainingArguments(
        **{key: config[key] for key in SAME},
        gradient_checkpointing_kwargs={"use_reentrant": False},
        per_device_train_batch_size=config["micro_batch_size"],
        per_device_eval_batch_size=config["eval_batch_size"],
        num_train_epochs=config["num_epochs"],
        max_steps=config["max_steps"] or -1,
        lr_scheduler_type=config["lr_scheduler"],
        warmup_steps=int(steps * config["warmup_ratio"]),  # rounded down: the first one has the learning rate 0
        optim=config["optimizer"],
        fp16=config["compute_dtype"] == "float16",
        bf16=config["compute_dtype"] == "bfloat16",
        use_cpu=not torch.cuda.is_available(),  # without it, bf16 is refused there
        eval_strategy="steps" if held_out else "no",
        eval_steps=config["eval_interval"],
        eval_on_start=bool(held_out),
        save_steps=config["eval_interval"],
        save_total_limit=3,
        load_best_model_at_end=config["keep"] == "best",
        metric_for_best_model="eval_loss" if held_out else None,
        greater_is_better=False,
        report_to="none",
    )
    collator = hf.DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, label_pad_token_id=IGNORE)
    trainer = hf.Trainer(load_model(config), arguments, collator, rows, held_out, processing_class=tokenizer)
    trainer.train(resume_from_checkpoint=options.resume)
    trainer.save_model()


if __name__ == "__main__":
    main()
