"""``ql merge``: put an adapter into its base and write a checkpoint that serves."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli import complete
from launcher.cli.options import json_option, runs_dir, trainer_python_option
from launcher.cli.words import examples

if TYPE_CHECKING:
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
    dtype: str,
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
    from launcher.runs.results.model_cards import write_cards
    from launcher.runs.run import open_run

    found = open_run(run, runs_dir) if run is not None else None
    request = _request_of_run(found) if found else {}
    given = {
        "base": base,
        "adapter": adapter,
        "out": out,
        "base_mode": base_mode,
        "tokenizer": tokenizer,
        "chat_template": chat_template,
    }
    request |= {key: str(value) for key, value in given.items() if value is not None}
    missing = [f"--{key}" for key in ("base", "adapter", "out") if key not in request]
    if missing:
        raise click.UsageError(f"give a RUN, or {', '.join(missing)} as well")
    request |= {"dtype": dtype, "quantized": quantized, "device": device}
    if record is not None or not request.get("record"):
        request["record"] = _read_record(record, Path(request["adapter"]))
    python = trainer_python or (found.trainer_python if found else sys.executable)

    result = _work(python, "merge", request)
    if verify:
        samples = _read_prompts(prompts, found)
        result |= _work(python, "verify", {**request, "merged": request["out"], "prompts": samples, "both": both})
    if found is not None and Path(request["out"]) == found.path / "merged":
        before = found.data.get("merge") or {}
        same = before.get("fingerprint") == result["fingerprint"]  # then what it was verified to be still holds
        found.data["merge"] = before | result if same else result
        if not same:
            found.stage("merge").update(state="done", seconds=result["seconds"])
        found.save()
        write_cards(found)
    click.echo(json.dumps(result, indent=2) if as_json else describe(request["out"], result))


def describe(out: str, result: dict[str, Any]) -> str:
    """A finished merge in words."""
    quantization = result["quantization"]
    lines = [
        f"merged into {out}",
        f"base: {result['base']}; {_held(quantization)} ({quantization['source']})",
        f"dtype: {result['dtype']} ({result['dtype_reason']})",
        f"written: {result['merged_modules']} updates in {result['tensors']} tensors, "
        f"{_shards(len(result['shards']), result['bytes'])}, {result['seconds']:.1f} s on {result['device']}",
    ]
    if result.get("delta_error") is not None:
        lines.append(f"rounding to {result['dtype']} changed the adapter's delta by {result['delta_error']:.2%}")
    if result.get("delta_vs_quant_error") is not None:
        lines.append(f"the delta is {result['delta_vs_quant_error']:.2f} times the size of the quantisation error")
    if "kl" in result:
        lines.append(f"against the unmerged model, over {result['tokens']} tokens: {_figures(result)}")
    if "other" in result:
        lines.append(f"merged into the {result['other']['base']} base it would be: {_figures(result['other'])}")
    return "\n".join([*lines, *(f"note: {note}" for note in result["notes"])])


def _held(quantization: dict[str, Any]) -> str:
    if quantization["kind"] is None:
        return "trained on 16- or 32-bit weights"
    double = ", double quantisation" if quantization["double_quant"] else ""
    block = f", blocks of {quantization['block_size']}" if quantization["kind"] != "int8" else ""
    return f"trained in {quantization['kind']}{double}{block}"


def _shards(count: int, size: int) -> str:
    amount = f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
    return f"{amount} in {count} {'shard' if count == 1 else 'shards'}"


def _figures(found: dict[str, Any]) -> str:
    return (
        f"KL {found['kl']:.1e}, top-1 agreement {found['top1_agreement']:.2%}, relative L2 {found['relative_l2']:.1e}"
    )


def _check(folder: Path, as_json: bool) -> None:
    from launcher.merge.manifest import check_folder

    manifest = check_folder(folder)
    shards = manifest["shards"]
    total = sum(shard["bytes"] for shard in shards)
    if as_json:
        click.echo(json.dumps({"path": str(folder), "shards": shards, "bytes": total}, indent=2))
    else:
        click.echo(f"{folder}: {_shards(len(shards), total)}, every sha256 as written")


def _request_of_run(run: Run) -> dict[str, Any]:
    """What ``ql launch`` would hand to the merge of this run."""
    from launcher.errors import RunFailed

    places = [run.path / name for name in ("trainer", "adapter") if (run.path / name / "adapter_config.json").is_file()]
    if not places:
        raise RunFailed(f"{run.path} has no adapter yet", hint="let the training finish: `ql runs` shows its state")
    template = run.path / "chat_template.jinja"
    return {
        "base": run.data["base_folder"],
        "adapter": str(places[0]),
        "out": str(run.path / "merged"),
        "base_mode": run.data.get("base_mode", "dequantized"),
        "record": run.data.get("quantization"),
        "tokenizer": str(run.path / "adapter"),
        "chat_template": str(template) if template.is_file() else None,
    }


def _read_record(given: Path | None, adapter: Path) -> dict[str, Any] | None:
    from launcher.merge.manifest import find_record, read_object

    path = given or find_record(adapter)
    return read_object(path) if path else None


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


def _work(python: str, job: str, request: dict[str, Any]) -> dict[str, Any]:
    """Run a job under the trainer's python; its log stays only when it failed."""
    from launcher.backends.workers import call_worker

    log = Path(tempfile.gettempdir()) / f"ql-{job}-{os.getpid()}.log"
    with _progress(job) as show:
        result = call_worker(python, job, request, log, show)
    log.unlink(missing_ok=True)
    return result


@contextmanager
def _progress(job: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A bar with rate and time left on a terminal, a line now and then elsewhere."""
    if not sys.stderr.isatty():
        from launcher.cli.progress import PlainProgress

        plain = PlainProgress()
        yield lambda message: plain.progress(job, message)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn(job), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda message: bar.update(task, completed=message["fraction"], description=message["text"])
