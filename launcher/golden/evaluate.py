"""Score the models of a run on a golden set: answers from a worker, then metrics here.

In the folder ``golden/`` of a run: ``outputs/<subject>.jsonl`` are the answers as they were generated,
``scores/<subject>.jsonl`` each prompt with its answer and scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.errors import BadInput, Problem
from launcher.golden.gates import Gate, Scores
from launcher.golden.metrics import PATTERN_SECONDS, check_patterns, choose_metrics
from launcher.golden.rows import GoldenRow
from launcher.golden.score import read_answers, score_answers
from launcher.records.codec import fields_of
from launcher.records.jobs import GOLDEN, Call, GoldenRequest, ModelRequest, SubjectAnswers


@dataclass(frozen=True)
class GoldenResult:
    """What was scored: ``scores`` by subject and metric; why a subject was not; what the worker counted."""

    scores: Scores
    skipped: Mapping[str, str] = field(default_factory=dict)
    generation: Mapping[str, SubjectAnswers] = field(default_factory=dict)
    undecided: Mapping[str, int] = field(default_factory=dict)  # patterns that took too long, by subject

    @property
    def notes(self) -> list[str]:
        """What a person should know besides the scores."""
        notes = [f"{subject} was not scored on the golden set: it {reason}" for subject, reason in self.skipped.items()]
        for subject, counts in self.generation.items():
            if counts.unfinished and subject != "base":  # a base has not learnt to stop
                count = f"{counts.unfinished} of {counts.outputs}"
                notes.append(f"{subject}: {count} golden answers did not end within {counts.limit} tokens")
        for subject, patterns in self.undecided.items():
            if patterns:
                took = f"took more than {PATTERN_SECONDS:g} s in its answer and count as not found"
                notes.append(f"{subject}: {patterns} patterns of the golden set {took}")
        return notes


def metrics_for(rows: Sequence[GoldenRow], gates: Sequence[Gate], file: Path) -> list[str]:
    """The metrics to score ``rows`` with. Call it before a run begins: what it raises cannot be mended after one.

    Raises RunFailed when a gate needs a library that is missing, BadInput when one needs patterns and ``rows`` of
    ``file`` hold other targets.
    """
    metrics = choose_metrics([gate.metric for gate in gates])
    if "regex" in metrics:
        bad = check_patterns([(target, row.line) for row in rows for target in row.targets])
        if bad:
            raise BadInput([Problem(message, file=str(file), line=line) for line, message in bad])
    return metrics


def evaluate(
    run_dir: Path,
    rows: Sequence[GoldenRow],
    call: Call,
    *,
    subjects: Sequence[str],
    models: ModelRequest,
    gates: Sequence[Gate] = (),
    conversational: bool = True,
    folder: Path | None = None,
    max_new_tokens: int | None = None,
    thought_tokens: int = 0,
    shrink: bool = True,
) -> GoldenResult:
    """Score ``subjects`` of the run in ``run_dir`` (adapter/ and merged/ there), greedily, on the same prompts.

    ``models`` are the run's base and adapter; ``call`` runs a job under the trainer's python. Answers and scores go
    into ``folder`` (default: golden/ of the run). ``thought_tokens`` is how long the longest trained thought is: an
    answer follows one, and is scored without it. ``shrink``: a batch that runs out of memory is halved. Raises
    RunFailed when the worker fails.
    """
    folder = folder or run_dir / "golden"
    outputs = {subject: folder / "outputs" / f"{subject}.jsonl" for subject in subjects}
    request = GoldenRequest(
        **fields_of(models),
        merged=str(run_dir / "merged"),
        subjects=list(subjects),
        outputs={subject: str(path) for subject, path in outputs.items()},
        prompts=[row.prompt(conversational=conversational) for row in rows],
        answers=sorted({target for row in rows for target in row.targets}),
        max_new_tokens=max_new_tokens,
        thought_tokens=thought_tokens,
        shrink=shrink,
    )
    found = call(GOLDEN, request).subjects
    metrics = choose_metrics([gate.metric for gate in gates])
    scored = [subject for subject in subjects if found[subject].skipped is None]
    results = {
        subject: score_answers(rows, read_answers(outputs[subject]), metrics, folder / "scores" / f"{subject}.jsonl")
        for subject in scored
    }
    return GoldenResult(
        scores={subject: result.means for subject, result in results.items()},
        skipped={subject: reason for subject in subjects if (reason := found[subject].skipped) is not None},
        generation={subject: found[subject] for subject in scored},
        undecided={subject: result.undecided for subject, result in results.items()},
    )
