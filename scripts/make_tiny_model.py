"""Make the tiny Llama that ships with ql: ``python scripts/make_tiny_model.py [FOLDER]`` (five minutes).

A Llama of four layers, just under a million parameters, trained from scratch on the toy language of `tickets.py`
with the queues shuffled: it knows the words, the chat format and that an answer is a queue's name, but not which.
Fine-tuning has exactly that to teach. One thread and fixed seeds: the same machine gives the same bytes.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import torch
from make_examples import GOLDEN_PER_QUEUE, as_messages
from tickets import QUEUES, balanced, ticket
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parent.parent
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>")
TEMPLATES = ("chatml", "inst")  # both are pretrained, so either can be the chat template of a run
VOCABULARY = 768
STEPS = 600
BATCH = 32
ECHO_SHARE = 0.25
PEAK_LEARNING_RATE = 3e-3
WARMUP_STEPS = 40


def make_tokenizer(rng: random.Random) -> PreTrainedTokenizerFast:
    """Byte-level BPE; like Llama's it puts <s> before what it encodes, unless told not to."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(  # type: ignore[no-untyped-call]
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    rows = balanced(200, rng)
    texts = [message["content"] for row in rows for message in as_messages(*row)["messages"]]
    tokenizer.train_from_iterator([*texts, *("system user assistant tool [INST] [/INST]" for _ in range(200))], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=["<|im_start|>", "<|im_end|>"],
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Every linear layer's sides are multiples of 64, the block size of NF4; grouped-query attention as in Llama 3."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        rope_theta=10000.0,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def pretrain(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> None:
    """Next-token prediction on fresh tickets, each answered with a queue drawn at random.

    Some documents ask to repeat a queue's name instead. Without them the output layer never has to tell the names
    apart, and fine-tuning, which leaves that layer frozen, could not become sure of an answer.
    """
    held_out = {text for text, _ in balanced(GOLDEN_PER_QUEUE, random.Random("golden"))}
    templates = [(ROOT / "templates" / "chat" / f"{name}.jinja").read_text(encoding="utf-8") for name in TEMPLATES]
    queues = list(QUEUES)

    def conversation() -> list[dict[str, str]]:
        answer = rng.choice(queues)
        if rng.random() < ECHO_SHARE:
            return [{"role": "user", "content": f"Say {answer}."}, {"role": "assistant", "content": answer}]
        text = ticket(rng.choice(queues), rng)
        while text in held_out:
            text = ticket(rng.choice(queues), rng)
        messages: list[dict[str, str]] = as_messages(text, answer)["messages"]
        return messages

    def document() -> str:
        messages = conversation()
        rendered = tokenizer.apply_chat_template(messages, chat_template=rng.choice(templates), tokenize=False)
        assert isinstance(rendered, str)
        return rendered

    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARMUP_STEPS, 1.0) * max(1 - step / STEPS, 0.02)
    )
    model.train()
    begin = time.monotonic()
    for step in range(STEPS):
        documents = [document() for _ in range(BATCH)]
        batch = tokenizer(documents, padding=True, add_special_tokens=False, return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0 or step == STEPS - 1:
            print(f"step {step}: loss {loss.item():.3f}, {time.monotonic() - begin:.0f} s", flush=True)


def save(folder: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Checkpoint and tokenizer in bfloat16, without a chat template: a base model, as most are published."""
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.backend_tokenizer.no_padding()  # pretraining padded its batches, and the file would remember
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"  # the name that every version of transformers and vLLM knows
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
    tokenizer = make_tokenizer(random.Random("tokenizer"))
    model = make_model(tokenizer)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters", flush=True)
    pretrain(model, tokenizer, random.Random("pretraining"))
    save(folder, model, tokenizer)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "presets" / "models" / "cpu-tiny")
