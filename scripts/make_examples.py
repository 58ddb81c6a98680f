"""Write the example data: ``python scripts/make_examples.py [FOLDER]`` (default: examples/). Same bytes every time.

tickets.jsonl   1,020 chat rows, 85 for each of twelve queues
golden.jsonl    120 rows with the right queue, 10 for each, none of their tickets in tickets.jsonl
formats/        twelve rows in each of the other formats that ql reads
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tickets import INSTRUCTION, QUEUES, balanced

TRAINING_PER_QUEUE = 85
GOLDEN_PER_QUEUE = 10


def question(text: str) -> str:
    return f"{INSTRUCTION}\n{text}"


def as_messages(text: str, queue: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question(text)}, {"role": "assistant", "content": queue}]}


FORMATS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "alpaca": lambda text, queue: {"instruction": INSTRUCTION, "input": text, "output": queue},
    "sharegpt": lambda text, queue: {
        "conversations": [{"from": "human", "value": question(text)}, {"from": "gpt", "value": queue}]
    },
    "prompt_completion": lambda text, queue: {"prompt": question(text), "completion": queue},
    "text": lambda text, queue: {"text": f"Ticket: {text}\nQueue: {queue}"},
}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main(folder: Path) -> None:
    golden = balanced(GOLDEN_PER_QUEUE, random.Random("golden"))
    held_out = frozenset(text for text, _ in golden)
    training = balanced(TRAINING_PER_QUEUE, random.Random("training"), without=held_out)
    write(folder / "tickets.jsonl", [as_messages(text, queue) for text, queue in training])
    write(
        folder / "golden.jsonl",
        [
            {"id": f"ticket-{number:03}", "input": question(text), "target": queue}
            for number, (text, queue) in enumerate(golden, start=1)
        ],
    )
    for name, convert in FORMATS.items():
        write(folder / "formats" / f"{name}.jsonl", [convert(text, queue) for text, queue in training[: len(QUEUES)]])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent / "examples")
