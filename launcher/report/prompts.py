"""The golden set prompt by prompt: every answer with its scores, what differs marked, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from launcher.errors import Unreadable
from launcher.golden.gates import parse_gate
from launcher.records.run import SUBJECTS, Manifest
from launcher.report.difference import segments

ANSWER_FACTS = ("id", "input", "targets", "output")
SHORT = 160  # characters of a prompt that its line shows

Scored = dict[str, Any]  # id, input, targets, output, and a number for each metric
Answers = Mapping[str, Sequence[Scored]]  # subject -> lines of golden/scores/<subject>.jsonl


def main_metric(record: Manifest) -> str:
    """The metric that says right or wrong: that of the first gate, else exact_match."""
    for text in record.golden.gates if record.golden else ():
        try:
            return parse_gate(text).metric
        except Unreadable:  # of another version of ql
            continue
    return "exact_match"


def compare_prompts(answers: Answers, metric: str) -> list[dict[str, Any]]:
    """Each prompt for the page, worst first: by what would be served, then by what training made worse."""
    by_subject = {subject: {row["id"]: row for row in answers[subject]} for subject in SUBJECTS if subject in answers}
    if not by_subject:
        return []
    shipped = "merged" if "merged" in by_subject else "adapter" if "adapter" in by_subject else "base"
    shared = shared_start([prompt_text(row["input"]) for row in by_subject[shipped].values()])
    found = []
    for identity, row in by_subject[shipped].items():
        given = {subject: rows[identity] for subject, rows in by_subject.items() if identity in rows}
        found.append((_badness(given, shipped, metric), _prompt(row, given, shared, metric)))
    return [prompt for _, prompt in sorted(found, key=lambda pair: pair[0])]


def _badness(given: Mapping[str, Mapping[str, Any]], shipped: str, metric: str) -> tuple[float, float, float]:
    """Sorts the worst first: low score, low mean of all metrics, and a base that did better."""
    row = given[shipped]
    scores = [value for key, value in row.items() if key not in ANSWER_FACTS]
    base = given.get("base", row)
    return (row.get(metric, 0.0), sum(scores) / len(scores) if scores else 0.0, -base.get(metric, 0.0))


def _prompt(row: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]], shared: int, metric: str) -> dict[str, Any]:
    score, before = row.get(metric, 0.0), given.get("base", row).get(metric, 0.0)
    adapter, merged = given.get("adapter"), given.get("merged")
    differs = adapter is not None and merged is not None and adapter["output"] != merged["output"]
    text = prompt_text(row["input"])
    return {
        "id": row["id"],
        "input": text,
        "short": " ".join(text[shared:].split())[:SHORT],
        "targets": [str(target) for target in row["targets"]],
        "right": "yes" if score >= 1 else "no",
        "change": "better" if score > before else "worse" if score < before else "same",
        "merged": "differs" if differs else "same",
        "marks": [_mark(subject, one, metric) for subject, one in given.items()],
        "answers": [_answer(subject, one, given) for subject, one in given.items()],
    }


def shared_start(texts: Sequence[str]) -> int:
    """How many characters every prompt begins with alike, to the end of a line or a word: they tell none apart."""
    if len(texts) < 2:
        return 0
    common = 0
    for characters in zip(*texts, strict=False):
        if len(set(characters)) > 1:
            break
        common += 1
    return max(texts[0].rfind(" ", 0, common), texts[0].rfind("\n", 0, common)) + 1


def prompt_text(asked: Any) -> str:
    """A prompt as text; of a conversation, each message behind its role."""
    if isinstance(asked, str):
        return asked
    return "\n".join(f"{message.get('role')}: {message.get('content')}" for message in asked)


def _mark(subject: str, row: Mapping[str, Any], metric: str) -> dict[str, str]:
    score = row.get(metric)
    if score is None:
        return {"subject": subject, "text": "–", "mood": "soft"}
    text = "✓ right" if score == 1 else "✗ wrong" if score == 0 else f"{score:.2f}"
    return {"subject": subject, "text": text, "mood": "good" if score == 1 else "bad" if score == 0 else "warn"}


def _answer(subject: str, row: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    before = {"adapter": "base", "merged": "adapter"}.get(subject, "")
    output = row["output"]
    pieces = segments(output, given[before]["output"]) if before in given else [("same", output)]
    scores = ", ".join(f"{key} {value:.2f}" for key, value in row.items() if key not in ANSWER_FACTS)
    same = before in given and output == given[before]["output"]
    title = f"{subject}, the same as {before}" if same else subject
    return {"subject": title, "segments": pieces, "scores": scores}
