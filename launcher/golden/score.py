"""Scores of answers: one line for each prompt, and the mean of each metric."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.data.content import after_thought
from launcher.errors import RunFailed
from launcher.files import read_json_lines, write_atomic
from launcher.golden.metrics import score_answer
from launcher.golden.rows import GoldenRow


def read_answers(path: Path) -> dict[str, dict[str, object]]:
    """What the worker `golden` wrote, by prompt id. Raises RunFailed when the file cannot be read."""
    try:
        return {record["id"]: record for record in read_json_lines(path)}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunFailed(f"{path}: the answers cannot be read: {error}") from error


@dataclass(frozen=True)
class Scored:
    """The mean of each metric over the prompts, and how many patterns took too long to be decided."""

    means: dict[str, float]
    undecided: int


def score_answers(
    rows: Sequence[GoldenRow], answers: Mapping[str, Mapping[str, Any]], metrics: Sequence[str], path: Path
) -> Scored:
    """Score every answer; ``path`` gets a line for each prompt with input, targets, answer and its scores.

    A thought before an answer is no part of it, unless the targets have one.

    Raises RunFailed when a prompt has no answer.
    """
    missing = [row.id for row in rows if row.id not in answers]
    if missing:
        raise RunFailed(f"{len(missing)} golden prompts have no answer, {missing[0]} among them")
    lines: list[str] = []
    undecided: list[str] = []
    totals = dict.fromkeys(metrics, 0.0)
    for row in rows:
        output = answers[row.id]["output"]
        thinks = any("</think>" in target for target in row.targets)  # then the thought is asked for, too
        scores = score_answer(output if thinks else after_thought(output), row.targets, metrics, undecided)
        for name, value in scores.items():
            totals[name] += value
        line = {"id": row.id, "input": row.input, "targets": row.targets, "output": output, **scores}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(lines))
    return Scored({name: round(total / len(rows), 6) for name, total in totals.items()}, len(undecided))
