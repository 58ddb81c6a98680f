"""``ql eval``: score a finished run against a golden set."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli import complete
from launcher.cli.options import json_option, runs_dir, trainer_python_option
from launcher.cli.words import examples

if TYPE_CHECKING:
    from launcher.records.jobs import Answered, Asked, Call, Job
    from launcher.runs.results.scoring import Evaluation


@click.command(epilog=examples('ql eval latest --golden other.jsonl --gate "exact_match>=0.8"'))
@click.argument("run", shell_complete=complete.runs)
@click.option("--golden", type=click.Path(path_type=Path), required=True, help="Golden set, JSONL.")
@click.option("--gate", "gates", multiple=True, metavar="EXPR", help='Such as "exact_match>=base"; repeatable.')
@click.option(
    "--max-new-tokens", type=click.IntRange(min=1), help="Longest answer; default: the longest target and room."
)
@trainer_python_option
@runs_dir
@json_option
def command(
    run: str,
    golden: Path,
    gates: tuple[str, ...],
    max_new_tokens: int | None,
    trainer_python: str | None,
    runs_dir: Path,
    as_json: bool,
) -> None:
    """Score base, adapter and merged model of RUN (a name, a path, or `latest`) on the same prompts, greedily.

    Exits 1 when a gate is missed.
    """
    from launcher.cli.progress import make_progress
    from launcher.runs.results.scoring import evaluate_run
    from launcher.runs.run import open_run
    from launcher.trainers.workers import call_worker

    found = open_run(run, runs_dir)
    python = trainer_python or found.trainer_python
    progress = make_progress()

    def connect(log: Path) -> Call:
        def call(job: Job[Asked, Answered], request: Asked, /) -> Answered:
            return call_worker(python, job, request, log, partial(progress.progress, "eval"))

        return call

    try:
        evaluation = evaluate_run(found, golden, gates, connect, max_new_tokens=max_new_tokens)
    finally:
        progress.close()
    click.echo(json.dumps(evaluation.to_dict(), indent=2) if as_json else describe(evaluation))
    if not as_json:
        click.echo(f"every answer with its scores: {evaluation.folder}/scores/", err=True)
    if not all(gate.passed for gate in evaluation.gates):
        sys.exit(1)


def describe(found: Evaluation) -> str:
    """Scores, gates and notes in words."""
    from launcher.cli.text import table

    scores = found.result.scores
    metrics = list(next(iter(scores.values())))
    header = (f"{found.rows} prompts", *metrics)
    rows = [(subject, *(f"{values[name]:.3f}" for name in metrics)) for subject, values in scores.items()]
    lines = [table(header, rows)]
    for gate in found.gates:
        lines.append(f"gate {gate.gate}: {'passed' if gate.passed else 'MISSED'} ({gate.reason})")
    return "\n".join(lines + [f"note: {note}" for note in found.result.notes])
