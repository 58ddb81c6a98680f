"""A list of cases that takes hours: each result is saved as it comes, and a later call goes on with what is left."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.survive.pipeline import save

RESULTS = Path(__file__).resolve().parent / "results"


def read_options(description: str | None, cases: str) -> argparse.Namespace:
    """What a person chooses; ``work`` comes back as the trainer's own folder, made. ``cases``: what they are called."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("axolotl", "unsloth"), required=True)
    parser.add_argument("--work", type=Path, required=True, help="a folder that is kept between calls")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds")
    parser.add_argument("--only", help=f"a part of the name of the {cases}")
    options = parser.parse_args()
    options.work = options.work.resolve() / options.backend
    options.work.mkdir(parents=True, exist_ok=True)
    return options


def read_results(kind: str, backend: str, **first: Any) -> tuple[Path, dict[str, Any]]:
    """results/KIND-BACKEND.json and what is in it so far: ``first`` and an empty list of ``kind`` at the beginning."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{kind}-{backend}.json"
    return path, json.loads(path.read_text()) if path.exists() else {"backend": backend, **first, kind: []}


def go_on(
    path: Path,
    results: dict[str, Any],
    kind: str,
    cases: Mapping[str, Any],
    measure: Callable[[Any], dict[str, Any]],
    *,
    only: str | None,
    budget: float,
    shown: Sequence[str],
) -> None:
    """Measure each of the named ``cases`` that has no result yet; ``shown`` are the keys of a result to print.

    Nothing new is begun once ``budget`` seconds are over.
    """
    begin = time.monotonic()
    done = {entry["name"] for entry in results[kind]}
    more = ""
    for name, case in cases.items():
        if name in done or (only and only not in name):
            continue
        if time.monotonic() - begin > budget:
            more = "; call again to go on"
            break
        found = measure(case)
        results[kind].append(found)
        save(path, results)
        print(json.dumps({key: found.get(key) for key in shown}), flush=True)
    print(f"{len(results[kind])} of {len(cases)} done{more}")
