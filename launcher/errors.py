"""The one way a person learns that something is wrong: problems collected, printed at once, one exit code.

Exit codes: 1 the thing checked is bad, 2 usage or unreadable input, 3 the run could not start or failed,
130 stopped by SIGINT, 143 stopped by SIGTERM.
"""

from __future__ import annotations

import errno
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, what, and what would be right."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text}\n  {self.hint}" if self.hint else text

    def to_dict(self) -> dict[str, object]:
        """What every problem has, as JSON."""
        return {item.name: getattr(self, item.name) for item in fields(Problem)}


class QlError(Exception):
    """A failure that is explained to the person; never shown as a traceback."""

    exit_code = 3

    def __init__(self, problems: str | Problem | Iterable[Problem], *, hint: str | None = None) -> None:
        if isinstance(problems, str):
            problems = [Problem(problems, hint=hint)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems: list[Problem] = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class BadInput(QlError):
    """The thing checked is bad: error findings, unusable rows, a gate missed, a run that does not fit."""

    exit_code = 1


class Unreadable(QlError):
    """Wrong usage, or an input that cannot be read: no such file or preset, not YAML."""

    exit_code = 2


class RunFailed(QlError):
    """The run could not start, or a stage of it failed."""

    exit_code = 3


# What a word of other trainers and tools is here: spelling alone would lead from "lr" to "lr_scheduler". Of these the
# value keeps its meaning.
SAME_SETTING: dict[str, str] = {
    "cutoff_len": "sequence_len",
    "epochs": "num_epochs",
    "lora_rank": "lora_r",
    "lr": "learning_rate",
    "lr_scheduler_type": "lr_scheduler",
    "max_seq_len": "sequence_len",
    "max_seq_length": "sequence_len",
    "max_sequence_length": "sequence_len",
    "num_train_epochs": "num_epochs",
    "optim": "optimizer",
    "per_device_eval_batch_size": "eval_batch_size",
    "per_device_train_batch_size": "micro_batch_size",
    "rank": "lora_r",
    "sequence_length": "sequence_len",
    "target_modules": "lora_target_modules",
}
ELSEWHERE: dict[str, str] = SAME_SETTING | {
    "alpha": "lora_alpha",
    "batch_size": "effective_batch_size",
    "bf16": "compute_dtype",
    "dropout": "lora_dropout",
    "dtype": "compute_dtype",
    "fp16": "compute_dtype",
    "gradient_accumulation": "gradient_accumulation_steps",
    "max_len": "sequence_len",
    "max_length": "sequence_len",
    "r": "lora_r",
    "sample_packing": "packing",
    "seq_len": "sequence_len",
    "seq_length": "sequence_len",
    "use_gradient_checkpointing": "gradient_checkpointing",
    "val_set_size": "eval_fraction",
    "warmup_steps": "warmup_ratio",
    # verbs
    "cost": "estimate",
    "diff": "compare",
    "evaluate": "eval",
    "finetune": "launch",
    "fine_tune": "launch",
    "generate": "chat",
    "inference": "chat",
    "lint": "validate",
    "list": "runs",
    "ls": "runs",
    "plan": "presets",
    "run": "launch",
    "score": "eval",
    "show": "runs",
    "status": "runs",
    "train": "launch",
    "upload": "push",
}


def known_elsewhere(word: str, known: Sequence[str]) -> str | None:
    """The known word that means what ``word`` means in another trainer or tool, or None."""
    here = ELSEWHERE.get(word.casefold().replace("-", "_"))
    return here if here in known else None


def counted(count: int, one: str) -> str:
    """A number of things in words: 1 row, 2,000 rows."""
    return f"{count:,} {one}" + ("" if count == 1 else "s")


def remedy(error: OSError) -> str:
    """What to do about an error of the file system."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "whoever runs ql must be allowed to write there"
    return "make room, or mend what it says"


_NEAR = 0.7  # of difflib's ratio: two letters in ten may differ, and half of a word may not


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word most like `word`, whatever the case of either; None when nothing is close."""
    import difflib  # slow to import, and most runs of ql misspell nothing

    names = {name.casefold(): name for name in reversed(list(known))}  # of two that differ in case alone, the first
    meant = word.casefold()
    like = [name for name in names if _same_numbers(meant, name)]
    close = difflib.get_close_matches(meant, like, n=1, cutoff=_NEAR)
    return names[close[0]] if close else None


def _same_numbers(one: str, other: str) -> bool:
    """Whether one has no number that the other lacks: a 5090 is no misspelled 4090, a 70b no 7b."""
    first, second = (Counter(re.findall(r"\d+", text)) for text in (one, other))
    return first <= second or second <= first


def candidates(word: str, known: Sequence[str]) -> list[str]:
    """The known words that ``word`` may mean, the likeliest first: what it is called here, else the nearest one.

    Of the nearest ones, those that begin so come first. Empty when nothing is close.
    """
    if same := known_elsewhere(word, known):
        return [same]
    longer = sorted(name for name in known if word and name.casefold().startswith(word.casefold()))
    guess = nearest(word, longer or known) or next(iter(longer), None)
    return [] if guess is None else [guess, *(name for name in longer if name != guess)]


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A hint for an unknown word: the known ones that it may mean, else the whole list."""
    found = candidates(word, known)
    if not found:
        return "known: " + ", ".join(sorted(known))
    guess, *others = found
    return f"did you mean {guess!r}?" + (f" There are also {', '.join(others)}" if others else "")
