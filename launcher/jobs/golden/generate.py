"""Worker job ``golden``: greedy answers of base, adapter or merged to the golden prompts, one JSON line each.

Runs under the trainer's python. Answers that stand in a subject's file already are not generated again. Base and
adapter share one loaded model.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.errors import RunFailed
from launcher.files import json_lines, write_atomic
from launcher.jobs.golden.models import DoesNotFit, add_adapter, as_base, choose_device, load_base, load_merged
from launcher.jobs.golden.prompts import all_prompt_ids, answer_limit, load_tokenizer, read_template, stop_ids
from launcher.records.codec import encode
from launcher.records.events import Answer
from launcher.records.jobs import Emit, GoldenAnswers, GoldenRequest, SubjectAnswers
from launcher.records.run import SUBJECTS

# Prompts at once: a GPU is read-bound in decoding, so more is faster until memory ends, and then the batch is halved.
BATCH = {"cuda": 32, "cpu": 8}


@dataclass
class Answering:
    """What is the same for every subject, and the model that is loaded just now."""

    request: GoldenRequest
    tokenizer: Any
    template: str | None
    ids: Mapping[str, list[int]]
    limit: int
    device: str
    emit: Emit
    model: Any = None


def run(request: GoldenRequest, emit: Emit) -> GoldenAnswers:
    """Answer every prompt with each subject. Raises RunFailed when a model cannot be loaded."""
    quiet()
    tokenizer = load_tokenizer(request.tokenizer)
    template = read_template(request.chat_template, tokenizer)
    job = Answering(
        request=request,
        tokenizer=tokenizer,
        template=template,
        ids=all_prompt_ids(request.prompts, tokenizer, template, request.template_settings),
        limit=request.max_new_tokens or answer_limit(request.answers, tokenizer, request.thought_tokens),
        device=choose_device(request.device),
        emit=emit,
    )
    subjects = [subject for subject in SUBJECTS if subject in request.subjects]
    return GoldenAnswers(device=job.device, subjects={subject: answer_all(job, subject) for subject in subjects})


def quiet() -> None:
    """Keep transformers' bars and advice out of the log."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def answer_all(job: Answering, subject: str) -> SubjectAnswers:
    """Generate what the subject's file of answers lacks, and count what it then holds."""
    begin = time.monotonic()
    path = Path(job.request.outputs[subject])
    salt = fingerprint(job, subject)
    keys = {name: _digest([salt, ids]) for name, ids in job.ids.items()}
    there = keep_valid(path, keys)
    missing = sorted(keys.keys() - there.keys(), key=lambda name: (-len(job.ids[name]), name))
    if missing:
        try:
            context = load(job, subject)
        except DoesNotFit as error:
            return SubjectAnswers(skipped=str(error))
        with context, path.open("a", encoding="utf-8") as stream:
            for answers in generate(job, missing):
                for name, record in answers.items():
                    there[name] = {"id": name, "key": keys[name], **record}
                    stream.write(json.dumps(there[name], ensure_ascii=False) + "\n")
                stream.flush()
                job.emit({"event": "progress", "text": subject, "done": len(there), "total": len(keys)})
    return SubjectAnswers(
        outputs=len(there),
        limit=job.limit,
        tokens=sum(record["tokens"] for record in there.values()),
        unfinished=sum(not record["finished"] for record in there.values()),
        seconds=round(time.monotonic() - begin, 3),
    )


def load(job: Answering, subject: str) -> AbstractContextManager[Any]:
    """Have the subject's model in ``job.model``; within the context that is returned it answers as the subject."""
    request = job.request
    if subject == "merged":
        job.model = None  # base and adapter give their memory back first
        job.model = load_merged(request.merged, job.device)
        return nullcontext()
    shared = "adapter" in request.subjects
    if job.model is None:
        base = load_base(request.base, request.quantization, request.compute_dtype, job.device)
        job.model = add_adapter(base, request.adapter) if shared else base
    return as_base(job.model) if shared and subject == "base" else nullcontext()


def generate(job: Answering, names: Sequence[str]) -> Iterator[dict[str, Answer]]:
    """Yield answers batch by batch, by prompt id. A batch that does not fit the card is halved, where that is allowed.

    Raises RunFailed when it is not, or when one prompt alone does not fit.
    """
    import torch

    stops = stop_ids(job.model, job.tokenizer, job.template)
    size, start = job.request.batch_size or BATCH[job.device], 0
    while start < len(names):
        batch = names[start : start + size]
        try:
            answers = greedy(job.model, job.tokenizer, [job.ids[name] for name in batch], job.limit, stops)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise RunFailed("one prompt of the golden set alone does not fit the card's memory") from None
            if not job.request.shrink:
                said = f"out of memory answering {len(batch)} golden prompts at once, and the repair oom-eval is off"
                raise RunFailed(said, hint="give the card more free memory, or leave oom-eval on") from None
            size = len(batch) // 2
            job.emit({"event": "repair", "kind": "oom_eval", "before": len(batch), "after": size})
            torch.cuda.empty_cache()
            continue
        yield dict(zip(batch, answers, strict=True))
        start += len(batch)


def greedy(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], limit: int, stops: Sequence[int]
) -> list[Answer]:
    """The most likely answer, token by token, to each prompt: text without special tokens, its tokens, its end.

    ``finished`` is False where the answer ran into ``limit`` (tokens).
    """
    import torch
    from transformers import GenerationConfig

    width = max(len(prompt) for prompt in prompts)
    padded = [[tokenizer.pad_token_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    device = model.get_input_embeddings().weight.device
    # The model's own file may ask for sampling or a repetition penalty: replaced, not merged.
    model.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=limit, eos_token_id=list(stops), pad_token_id=tokenizer.pad_token_id
    )
    with torch.inference_mode():
        out = model.generate(
            input_ids=torch.tensor(padded, device=device), attention_mask=torch.tensor(mask, device=device)
        )
    answers: list[Answer] = []
    for row in out[:, width:].tolist():
        end = next((index for index, token in enumerate(row) if token in stops), None)
        answer = row[:end]
        text = tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        answers.append({"output": text, "tokens": len(answer), "finished": end is not None})
    return answers


def read_lines(path: Path) -> dict[str, dict[str, object]]:
    """The answers in a file by prompt id; a last line cut off when a run was killed is passed over."""
    records = {}
    if path.is_file():
        for line in json_lines(path.read_text(encoding="utf-8", errors="replace")):
            try:
                record = json.loads(line)
                records[record["id"]] = record
            except (ValueError, TypeError, KeyError):
                continue
    return records


def keep_valid(path: Path, keys: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Keep only the answers in the file that were given to these prompts by this model, and return them."""
    kept = {name: record for name, record in read_lines(path).items() if record.get("key") == keys.get(name, "")}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept.values()))
    return kept


def fingerprint(job: Answering, subject: str) -> str:
    """Of all that an answer depends on besides its prompt: the weights' files and how they are loaded."""
    request = job.request
    folders = {
        "base": [request.base],
        "adapter": [request.base, request.adapter],
        "merged": [request.merged],
    }[subject]
    files = [
        [path.name, path.stat().st_size, path.stat().st_mtime_ns]
        for folder in folders
        for path in sorted(Path(folder).glob("*.safetensors"))
    ]
    record = request.quantization and encode(request.quantization)
    loading = None if subject == "merged" else [record, request.compute_dtype]
    return _digest([subject, files, loading, job.limit, job.template])


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
