"""Put bare_export.json into README.md, between its markers.

python benchmarks/device/table.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BEGIN, END = "<!-- exports -->", "<!-- end of the exports -->"


def numbers(values: list[float] | None, join: str) -> str:
    return join.join(f"{value:.2f}" for value in values) if values else "not recorded"


def row(case: dict[str, Any]) -> str:
    ended = f"exit code {case['exit_code']} after {case['seconds']:.1f} s"
    if case["exit_code"] == -9:
        ended = f"cut off after {case['seconds']:.1f} s"
    asked = case["planned_dtype"]
    autocast = (case.get("in_the_first_layer") or {}).get("autocast") or case.get("mixed_precision")
    computed = autocast.removeprefix("torch.") if autocast else f"{asked} asked for"
    cells = (
        case["preset"],
        case["backend"],
        ended,
        case.get("steps", "not recorded"),
        {"fp16": "float16", "bf16": "bfloat16"}.get(computed, computed),
        case.get("quantised_linears", "not recorded"),
        numbers(case.get("losses"), ", "),
        numbers(case.get("eval_losses"), " → "),
        "yes" if case["adapter_written"] else "no",
    )
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def section(data: dict[str, Any]) -> str:
    cases = data["cases"]
    device = next((case["device"] for case in cases if case.get("device")), "a GPU")
    well = [case for case in cases if case["exit_code"] == 0 and case.get("all_finite")]
    head = (
        "`bare_export.py` trains what `ql export` wrote, by the trainer's own command, in a process where ql\n"
        f"cannot be imported: the shape of {data['model']} ({data['weights']:,} weights), {data['steps']} steps,\n"
        f"on one {device}, all at once. Raw: `bare_export.json`."
    )
    names = ("preset", "trainer", "ended", "steps", "computed in", "4-bit layers", "loss", "evaluation loss", "adapter")
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}", *(row(case) for case in cases)]
    tail = (
        f"{len(well)} of {len(cases)} ran to their end with finite losses. Axolotl's `allocated_gib` and\n"
        "`reserved_gib` in the file are no peaks, as above."
    )
    return "\n\n".join([head, "\n".join(lines), tail])


def main() -> None:
    path = HERE / "README.md"
    text = path.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    data = json.loads((HERE / "bare_export.json").read_text(encoding="utf-8"))
    path.write_text(f"{before}{BEGIN}\n\n{section(data)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
