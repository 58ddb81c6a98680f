"""Put the figures of results/ into README.md, between its markers.

python benchmarks/survive/table.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
BEGIN, END = "<!-- figures -->", "<!-- end of the figures -->"
PLANNED = 26  # kills for each trainer
STAGES = ("prepare", "train", "evaluate", "merge", "verify", "report")


def read(name: str) -> dict[str, Any] | None:
    path = RESULTS / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def head(*names: str) -> Iterator[str]:
    yield "| " + " | ".join(names) + " |"
    yield "|---" * len(names) + "|"


def of(count: int, total: int) -> str:
    return f"{count} of {total}"


def kills() -> Iterator[str]:
    yield "### Kills"
    yield ""
    done = {name: len((read(f"kills-{name}.json") or {"kills": []})["kills"]) for name in ("axolotl", "unsloth")}
    yield f"Done of {PLANNED} planned for each trainer: {', '.join(f'{name} {count}' for name, count in done.items())}."
    yield ""
    yield from head("trainer", "stage", "kills", "finished", "processes left", "adapter, merged bytes and scores equal")
    for backend in ("axolotl", "unsloth"):
        data = read(f"kills-{backend}.json")
        if data is None:
            continue
        done = [entry for entry in data["kills"] if not entry.get("missed")]
        for stage in STAGES:
            here = [entry for entry in done if entry["stage"] == stage]
            if here:
                same = [e for e in here if e["merged_identical"] and e["adapter_identical"] and e["scores_equal"]]
                finished = sum(entry["finished"] for entry in here)
                left = sum(entry["processes_left"] for entry in here)
                cells = (backend, stage, len(here), of(finished, len(here)), left, of(len(same), len(here)))
                yield "| " + " | ".join(str(cell) for cell in cells) + " |"
    yield ""
    yield "Kills in training, in steps of 20 with a checkpoint every 5:"
    yield ""
    yield from head(
        "trainer", "killed", "who", "last step seen", "newest complete checkpoint", "resumed from",
        "steps trained twice", "largest difference of an adapter weight",
    )  # fmt: skip
    for backend in ("axolotl", "unsloth"):
        for entry in (read(f"kills-{backend}.json") or {"kills": []})["kills"]:
            if entry["stage"] == "train" and not entry.get("missed"):
                resumed = entry["resumed_from_step"]
                cells = (
                    backend,
                    entry["when"],
                    entry["whom"] + (" (mended by itself)" if entry["mended_by_itself"] else ""),
                    entry["step_when_killed"],
                    entry["newest_complete_checkpoint"],
                    "-" if resumed is None else resumed,
                    "-" if entry["steps_repeated"] is None else entry["steps_repeated"],
                    entry["adapter_max_difference"],
                )
                yield "| " + " | ".join(str(cell) for cell in cells) + " |"


def faults() -> Iterator[str]:
    yield "### Faults"
    yield ""
    yield "| fault | wanted | axolotl | unsloth |"
    yield "|---|---|---|---|"
    found: dict[str, dict[str, str]] = {}
    wanted: dict[str, str] = {}
    for backend in ("axolotl", "unsloth"):
        for entry in (read(f"faults-{backend}.json") or {"faults": []})["faults"]:
            wanted[entry["name"]] = "mended, finished" if entry["wanted"] == "mended" else "stopped early, named"
            said = "as wanted" if entry["as_wanted"] else f"NOT: {entry['state']}"
            found.setdefault(entry["name"], {})[backend] = said
    for name, by in found.items():
        yield f"| {name} | {wanted[name]} | {by.get('axolotl', 'not run')} | {by.get('unsloth', 'not run')} |"


def device() -> Iterator[str]:
    rows = [(name, read(f"oom-{name}.json")) for name in ("axolotl", "unsloth")]
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
            cells = (
                name,
                data["card"],
                f"{planned:.1f}",
                f"{data.get('cap_gib') or data['share'] * planned:.1f}",
                actions,
                data["state"] + (f" ({data['remark']})" if data.get("remark") else ""),
                data["seconds"],
            )
            yield "| " + " | ".join(str(cell) for cell in cells) + " |"


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
