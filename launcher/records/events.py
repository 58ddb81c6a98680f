"""What is said while a run goes: lines of events.jsonl, and messages of a job. Any key may be missing.

They are hints for people and for repairs, and one that is odd must not end a run: so they are typed mappings, which
are passed on as they came, and not decoded records.
"""

from __future__ import annotations

from typing import Any, TypedDict


class Event(TypedDict, total=False):
    """A line of events.jsonl. Times are Unix seconds, steps optimizer steps; a number that was not finite is None."""

    event: str
    time: float
    step: int | None
    # train_begin, train_end
    max_steps: int
    versions: dict[str, str]
    stopped: bool
    ended_early: bool
    best_checkpoint: str | None
    # log
    epoch: float | None
    loss: float | None
    learning_rate: float | None
    grad_norm: float | None
    loss_scale: float | None
    skipped_steps: int
    tokens: int | None
    tokens_per_second: float | None
    peak_memory_gib: float | None
    peak_allocated_gib: float | None
    device_gib: float | None
    nonfinite: list[str]
    # eval
    eval_loss: float | None
    seconds: float
    trial: bool
    # fault, crash, error
    kind: str
    evidence: dict[str, object]
    message: str
    phase: str
    out_of_memory: bool
    # eval_batch, repair, resume
    before: Any
    after: Any
    stage: str
    cause: str
    action: str
    from_step: int | None


class Answer(TypedDict):
    """What a model answered; ``finished`` is False where it ran into the limit of tokens."""

    output: str
    tokens: int
    finished: bool


class Message(TypedDict, total=False):
    """What a job says: progress, repair, ready, answer while it works; result or error at its end."""

    event: str
    text: str
    # progress
    done: int
    total: int
    fraction: float
    rate: float
    seconds_left: float
    what: str
    # repair, error
    kind: str
    before: int
    after: int
    # ready, answer
    device: str
    base: Answer
    adapter: Answer
    # result, error
    result: Any
    problems: list[dict[str, Any]]
    exit_code: int
