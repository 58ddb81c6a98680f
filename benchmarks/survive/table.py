"""Put the figures of results/ into README.md, between its markers.

python benchmarks/survive/table.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
BEGIN, END = "<!-- figures -->", "<!-- end of the figures -->"
PLANNED = 26  # kills for each trainer
BACKENDS = ("axolotl", "unsloth")
SAME = ("merged_identical", "adapter_identical", "scores_equal")  # with an undisturbed run
STAGES = ("prepare", "train", "evaluate", "merge", "verify", "report")


def read(name: str) -> dict[str, Any] | None:
    path = RESULTS / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def head(*names: str) -> Iterator[str]:
    yield line(names)
    yield "|---" * len(names) + "|"


def of(count: int, total: int) -> str:
    return f"{count} of {total}"


def kills_of(backend: str) -> list[dict[str, Any]]:
    """The kills of one trainer, with those that came too late."""
    found: list[dict[str, Any]] = (read(f"kills-{backend}.json") or {"kills": []})["kills"]
    return found


def kills() -> Iterator[str]:
    """How many kills in each stage ended as an undisturbed run, and what those in training cost."""
    yield "### Kills"
    yield ""
    done = ", ".join(f"{name} {len(kills_of(name))}" for name in BACKENDS)
    yield f"Done of {PLANNED} planned for each trainer: {done}."
    yield ""
    yield from head("trainer", "stage", "kills", "finished", "processes left", "adapter, merged bytes and scores equal")
    made = [(backend, kill) for backend in BACKENDS for kill in kills_of(backend) if not kill.get("missed")]
    for backend, stage in product(BACKENDS, STAGES):
        here = [kill for name, kill in made if name == backend and kill["stage"] == stage]
        if here:
            same = [kill for kill in here if all(kill[key] for key in SAME)]
            finished = sum(kill["finished"] for kill in here)
            left = sum(kill["processes_left"] for kill in here)
            yield line((backend, stage, len(here), of(finished, len(here)), left, of(len(same), len(here))))
    yield ""
    yield "Kills in training, in steps of 20 with a checkpoint every 5:"
    yield ""
    yield from head(
        "trainer", "killed", "who", "last step seen", "newest complete checkpoint", "resumed from",
        "steps trained twice", "largest difference of an adapter weight",
    )  # fmt: skip
    for backend, kill in made:
        if kill["stage"] == "train":
            yield line(
                (
                    backend,
                    kill["when"],
                    kill["whom"] + (" (mended by itself)" if kill["mended_by_itself"] else ""),
                    kill["step_when_killed"],
                    kill["newest_complete_checkpoint"],
                    "-" if kill["resumed_from_step"] is None else kill["resumed_from_step"],
                    "-" if kill["steps_repeated"] is None else kill["steps_repeated"],
                    kill["adapter_max_difference"],
                )
            )


def faults() -> Iterator[str]:
    yield "### Faults"
    yield ""
    yield "| fault | wanted | axolotl | unsloth |"
    yield "|---|---|---|---|"
    found: dict[str, dict[str, str]] = {}
    wanted: dict[str, str] = {}
    for backend in BACKENDS:
        for entry in (read(f"faults-{backend}.json") or {"faults": []})["faults"]:
            wanted[entry["name"]] = "mended, finished" if entry["wanted"] == "mended" else "stopped early, named"
            said = "as wanted" if entry["as_wanted"] else f"NOT: {entry['state']}"
            found.setdefault(entry["name"], {})[backend] = said
    for name, by in found.items():
        yield f"| {name} | {wanted[name]} | {by.get('axolotl', 'not run')} | {by.get('unsloth', 'not run')} |"


def device() -> Iterator[str]:
    rows = [(name, read(f"oom-{name}.json")) for name in BACKENDS]
    if not any(data for _, data in rows):
        return
    yield "### A real out-of-memory on a GPU"
    yield ""
    yield "| trainer | card | planned, GiB | allowed, GiB | repairs | ended | seconds |"
    yield "|---|---|---|---|---|---|---|"
    for name, data in rows:
        if data is not None:
            actions = "; ".join(repair["action"] for repair in data.get("repairs") or []) or "none"
            planned = data["estimate"]["peak_gib"]
            yield line(
                (
                    name,
                    data["card"],
                    f"{planned:.1f}",
                    f"{data.get('cap_gib') or data['share'] * planned:.1f}",
                    actions,
                    data["state"] + (f" ({data['remark']})" if data.get("remark") else ""),
                    data["seconds"],
                )
            )


def inputs() -> Iterator[str]:
    data = read("bad-inputs.json")
    if data is None:
        return
    yield "### Bad inputs"
    yield ""
    total = sum(data["generated"].values())
    yield (
        f"{total:,} generated inputs to {len(data['generated'])} parsers and {data['huge']} files of 2 GB in one line: "
        f"{data['tracebacks']} tracebacks, {data['hangs']} hangs."
    )


def main() -> None:
    path = HERE / "README.md"
    text = path.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    parts = ["\n".join(part()) for part in (kills, faults, device, inputs)]
    body = "\n\n".join(part for part in parts if part)
    path.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
