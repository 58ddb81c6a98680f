"""``ql merge``: put an adapter into its base and write a checkpoint that serves."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli import complete
from launcher.cli.options import json_option, runs_dir, trainer_python_option
from launcher.cli.words import examples

if TYPE_CHECKING:
    from launcher.records.jobs import Answered, Asked, Job
    from launcher.records.merged import Merged, QuantizationFacts, WantedDtype
    from launcher.records.quantization import QuantizationRecord
    from launcher.runs.run import Run

SAMPLES = (
    "The capital of France is Paris, and the river that runs through it is the Seine.",
    "To make a cup of tea, boil the water first, then pour it over the leaves and wait for four minutes.",
    "def add(a, b):\n    return a + b\n\nprint(add(2, 3))",
    "Dear Sir or Madam, I am writing about the order that I placed with you last week.",
    "Water boils at 100 degrees Celsius at sea level; higher up it boils at a lower temperature.",
    "Q: What is seven times eight?\nA: Seven times eight is fifty-six.",
    "She opened the door, looked out into the rain, and decided to stay at home after all.",
    '{"name": "Ada", "born": 1815, "field": "mathematics"}',
)


@click.command(
    epilog=examples(
        "ql merge latest --verify",
        "ql merge --base BASE --adapter ADAPTER --out MERGED",
        "ql merge --check MERGED",
    )
)
@click.argument("run", required=False, metavar="[RUN]", shell_complete=complete.runs)
@click.option("--base", type=click.Path(path_type=Path), help="The base model's folder; of RUN: the one it trained on.")
@click.option("--adapter", type=click.Path(path_type=Path), help="The adapter's folder; of RUN: the one it trained.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the merged model goes; of RUN: its merged/.")
@click.option(
    "--base-mode",
    type=click.Choice(["dequantized", "original"]),
    help="Merge into what training computed with (the default), or into the original weights.",
)
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float16", "bfloat16"]),
    default="auto",
    show_default=True,
    help="auto: float16, or bfloat16 for families that vLLM serves only so.",
)
@click.option("--record", type=click.Path(path_type=Path), help="quantization.json of the training run.")
@click.option(
    "--quantized",
    type=click.Choice(["auto", "nf4", "int8", "none"]),
    default="auto",
    show_default=True,
    help="How the base was held in training, where there is no record; auto takes nf4 with double quantisation.",
)
@click.option("--tokenizer", type=click.Path(path_type=Path), help="The trained tokenizer, if not in the adapter.")
@click.option("--chat-template", type=click.Path(path_type=Path), help="The chat template that training used.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: the GPU where there is one and it is free, else all cores.",
)
@click.option("--verify", is_flag=True, help="Compare the merged model with the unmerged one on sample prompts.")
@click.option("--both", is_flag=True, help="With --verify: compare the other choice of base too.")
@click.option("--prompts", type=click.Path(path_type=Path), help="With --verify: JSONL rows with messages or text.")
@click.option("--check", type=click.Path(path_type=Path), help="Check a merged folder against its sha256 sums.")
@trainer_python_option
@runs_dir
@json_option
def command(
    run: str | None,
    base: Path | None,
    adapter: Path | None,
    out: Path | None,
    base_mode: str | None,
    dtype: WantedDtype,
    record: Path | None,
    quantized: str,
    tokenizer: Path | None,
    chat_template: Path | None,
    device: str,
    verify: bool,
    both: bool,
    prompts: Path | None,
    check: Path | None,
    trainer_python: str | None,
    runs_dir: Path,
    as_json: bool,
) -> None:
    """Merge an adapter into its base: RUN, or --base, --adapter and --out.

    Shards appear complete or not at all; a merge that was interrupted goes on where it stopped when it is run again.
    """
    if check is not None:
        _check(check, as_json)
        return
    from launcher.data.base import find_base
    from launcher.records.codec import encode
    from launcher.records.jobs import MERGE, VERIFY, MergeRequest, VerifyRequest
    from launcher.runs.results.merging import merge_request
    from launcher.runs.results.model_cards import write_cards
    from launcher.runs.run import open_run

    found = open_run(run, runs_dir) if run is not None else None
    paths = {
        "base": base,
        "adapter": adapter,
        "out": out,
        "tokenizer": tokenizer,
        "chat_template": chat_template,
    }
    given: dict[str, Any] = {key: str(value) for key, value in paths.items() if value is not None}
    # A name of the hub is its snapshot, where that is on this machine.
    given |= {key: str(find_base(given[key]) or given[key]) for key in ("base", "adapter") if key in given}
    given |= {"base_mode": base_mode} if base_mode is not None else {}
    missing = [f"--{key}" for key in ("base", "adapter", "out") if key not in given]
    if missing and not found:
        raise click.UsageError(f"give a RUN, or {', '.join(missing)} as well")
    request = replace(merge_request(found), **given) if found else MergeRequest(**given)
    request = replace(request, dtype=dtype, quantized=quantized, device=device)
    if record is not None or not request.record:
        request.record = _read_record(record, Path(request.adapter))
    python = trainer_python or (found.trainer_python if found else sys.executable)

    result = _work(python, MERGE, request)
    if verify:
        asked = VerifyRequest(merge=request, prompts=_read_prompts(prompts, found), both=both)
        result.amend(encode(_work(python, VERIFY, asked)))
    if found is not None and Path(request.out) == found.path / "merged":
        before = found.record.merge
        if before and before.fingerprint == result.fingerprint:  # then what it was verified to be still holds
            before.amend(encode(result))
        else:
            found.record.merge = result
            stage = found.stage("merge")
            stage.state, stage.seconds = "done", result.seconds
        found.save()
        write_cards(found)
    click.echo(json.dumps(encode(result), indent=2) if as_json else describe(request.out, result))


def describe(out: str, result: Merged) -> str:
    """A finished merge in words."""
    lines = [
        f"merged into {out}",
        f"base: {result.base}; {_held(result.quantization)} ({result.quantization.source})",
        f"dtype: {result.dtype} ({result.dtype_reason})",
        f"written: {result.merged_modules} updates in {result.tensors} tensors, "
        f"{_shards(len(result.shards), result.bytes or 0)}, {result.seconds or 0:.1f} s on {result.device}",
    ]
    if result.delta_error is not None:
        lines.append(f"rounding to {result.dtype} changed the adapter's delta by {result.delta_error:.2%}")
    if result.delta_vs_quant_error is not None:
        lines.append(f"the delta is {result.delta_vs_quant_error:.2f} times the size of the quantisation error")
    if result.kl is not None and result.top1_agreement is not None and result.relative_l2 is not None:
        figures = _figures(result.kl, result.top1_agreement, result.relative_l2)
        lines.append(f"against the unmerged model, over {result.tokens} tokens: {figures}")
    if result.other is not None:
        figures = _figures(result.other.kl, result.other.top1_agreement, result.other.relative_l2)
        lines.append(f"merged into the {result.other.base} base it would be: {figures}")
    return "\n".join([*lines, *(f"note: {note}" for note in result.notes)])


def _held(quantization: QuantizationFacts) -> str:
    if quantization.kind is None:
        return "trained on 16- or 32-bit weights"
    double = ", double quantisation" if quantization.double_quant else ""
    block = f", blocks of {quantization.block_size}" if quantization.kind != "int8" else ""
    return f"trained in {quantization.kind}{double}{block}"


def _shards(count: int, size: int) -> str:
    amount = f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
    return f"{amount} in {count} {'shard' if count == 1 else 'shards'}"


def _figures(kl: float, agreement: float, relative_l2: float) -> str:
    return f"KL {kl:.1e}, top-1 agreement {agreement:.2%}, relative L2 {relative_l2:.1e}"


def _check(folder: Path, as_json: bool) -> None:
    from launcher.merge.manifest import check_folder
    from launcher.records.codec import plain

    shards = check_folder(folder)
    total = sum(shard.bytes for shard in shards)
    if as_json:
        click.echo(json.dumps({"path": str(folder), "shards": plain(shards), "bytes": total}, indent=2))
    else:
        click.echo(f"{folder}: {_shards(len(shards), total)}, every sha256 as written")


def _read_record(given: Path | None, adapter: Path) -> QuantizationRecord | None:
    from launcher.merge.manifest import find_record, read_object
    from launcher.records.codec import decode
    from launcher.records.quantization import QuantizationRecord

    path = given or find_record(adapter)
    return decode(QuantizationRecord, read_object(path), file=str(path)) if path else None


def _read_prompts(given: Path | None, run: Run | None) -> list[Any]:
    """Up to 16 rows to compare on: those asked for, the run's held-out ones, or a few sentences of our own."""
    from launcher.errors import Problem, Unreadable
    from launcher.files import read_json_lines

    data = run.path / "data" if run else None
    places = [given] if given else [data / "eval.jsonl", data / "train.jsonl"] if data else []
    for path in places:
        if path.is_file():
            try:
                return read_json_lines(path)[:16]
            except ValueError as error:
                raise Unreadable(Problem(f"not JSONL: {error}", str(path))) from None
    if given:
        raise Unreadable(Problem("no such file", str(given)))
    return list(SAMPLES)


def _work(python: str, job: Job[Asked, Answered], request: Asked) -> Answered:
    """Run a job under the trainer's python; its log stays only when it failed."""
    from launcher.cli.progress import make_progress
    from launcher.trainers.workers import call_worker

    log = Path(tempfile.gettempdir()) / f"ql-{job.name}-{os.getpid()}.log"
    progress = make_progress()
    try:
        result = call_worker(python, job, request, log, partial(progress.progress, job.name))
    finally:
        progress.close()
    log.unlink(missing_ok=True)
    return result
