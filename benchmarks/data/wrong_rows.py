"""Time `ql check` and `ql launch --dry-run` on files whose rows are all wrong, by kind of fault and number of rows.

    python benchmarks/data/wrong_rows.py -o benchmarks/data/wrong_rows.json

Wall time and peak resident memory are those of the process, as the kernel counts them (wait4); so is what is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SIZES = (500, 50_000)
TURNS = [{"role": "user", "content": "Which queue?"}, {"role": "assistant", "content": "login"}]


def _lines(row: Callable[[int], Any], indent: int | None = None) -> Callable[[int], Iterator[str]]:
    return lambda count: (f"{json.dumps(row(number), indent=indent)}\n" for number in range(count))


def _table(count: int) -> Iterator[str]:
    yield "question,answer\n"
    yield from (f"Which queue {number}?,login\n" for number in range(count))


# Name of the file, and its lines for so many rows: one after the other, since a child begins with its parent's memory.
FAULTS: dict[str, tuple[str, Callable[[int], Iterator[str]]]] = {
    "other names": ("rows.jsonl", _lines(lambda n: {"question": f"Which queue {n}?", "answer": "login"})),
    "pretty-printed": ("rows.jsonl", _lines(lambda n: {"messages": TURNS}, indent=2)),
    "Python literals": ("rows.jsonl", lambda count: (f"{ {'messages': TURNS} }\n" for _ in range(count))),
    "text for turns": ("rows.jsonl", _lines(lambda n: {"messages": f"Which queue {n}?"})),
    "preferences": ("rows.jsonl", _lines(lambda n: {"prompt": f"a {n}", "chosen": "b", "rejected": "c"})),
    "numbers for answers": ("rows.jsonl", _lines(lambda n: {"prompt": f"a {n}", "completion": n})),
    "a table of other names": ("rows.csv", _table),
}
VERBS: dict[str, list[str]] = {
    "check": ["check"],
    "launch": ["launch", "--preset", "a10g-7b", "--dry-run", "--data"],
}


def run(words: list[str], folder: Path) -> dict[str, Any]:
    """One command: seconds, MiB, lines and errors printed, exit code."""
    out = folder / "out.txt"
    start = time.perf_counter()
    with out.open("w") as stream:
        command = [sys.executable, "-m", "launcher", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    said = out.read_text(encoding="utf-8").splitlines()
    return {
        "seconds": wall,
        "peak_mib": usage.ru_maxrss / 1024,
        "lines": len(said),
        "errors": sum(line.startswith("error: ") for line in said),
        "exit_code": process.returncode,
    }


def measure(words: list[str], folder: Path, repeat: int) -> dict[str, Any]:
    """The same command several times: the median time, the highest memory, what was printed."""
    runs = [run(words, folder) for _ in range(repeat)]
    return {
        "seconds": round(statistics.median(one["seconds"] for one in runs), 2),
        "peak_mib": round(max(one["peak_mib"] for one in runs), 1),
        **{key: runs[0][key] for key in ("lines", "errors", "exit_code")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    measured: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for fault, (file, text) in FAULTS.items():
            for size in SIZES:
                with (folder / file).open("w", encoding="utf-8") as stream:
                    stream.writelines(text(size))
                for verb, words in VERBS.items():
                    found = measure([*words, file], folder, asked.repeat)
                    measured.append({"fault": fault, "rows": size, "verb": verb, **found})
                    print(json.dumps(measured[-1]), flush=True)
    facts = {"date": str(date.today()), "machine": platform.machine(), "cores": os.cpu_count()}
    python = {"python": platform.python_version(), "repeat": asked.repeat}
    asked.out.write_text(json.dumps({**facts, **python, "measured": measured}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
