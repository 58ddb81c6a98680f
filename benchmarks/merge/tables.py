"""Build the tables of README.md here, and of docs/merge.md, from the JSON of the benchmark runs.

    python benchmarks/merge/tables.py [--check]

Each table stands between `<!-- NAME -->` and `<!-- /NAME -->`. --check changes nothing and fails where a page differs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGES = (HERE / "README.md", HERE.parents[1] / "docs" / "merge.md")
TITLES = {
    "ql": "ql",
    "axolotl default": "Axolotl, default",
    "axolotl legacy": "Axolotl, legacy",
    "peft dequantize": "peft: dequantize, merge, save",
    "cp": "`cp` of the result",
}


def best(runs: list[dict[str, Any]], key: str) -> float:
    """The least of the runs that ended well."""
    return float(min(run[key] for run in runs if run["exit_code"] == 0))


def compare(results: dict[str, Any]) -> list[str]:
    """Every contender of every size: the best of its runs, with ratios against ql's best."""
    lines = [
        "| size | merge | runs | s, until on disk | processor s | peak MB | time / ql | memory / ql | relative L2 | KL "
        "| argmax |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for size, data in results["sizes"].items():
        own = data["contenders"]["ql"]
        for name in (title for title in TITLES if title in data["contenders"]):
            runs = data["contenders"][name]
            seconds, peak = best(runs, "seconds_synced"), best(runs, "peak_mb")
            cells = [
                size,
                TITLES[name],
                str(len(runs)),
                f"{seconds:.1f}",
                f"{best(runs, 'cpu_seconds'):.1f}",
                f"{peak:,.0f}",
            ]
            cells += [f"{seconds / best(own, 'seconds_synced'):.1f}", f"{peak / best(own, 'peak_mb'):.1f}"]
            figures = data.get("fidelity", {}).get(name)
            if figures:
                cells += [f"{figures['relative_l2']:.4f}", f"{figures['kl']:.1e}", f"{figures['argmax_agreement']:.3f}"]
            else:
                cells += ["", "", ""]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def targets(results: dict[str, Any], device: dict[str, Any]) -> list[str]:
    """What was aimed at, and what was reached."""
    lines = ["| aim | reached |", "|---|---|"]
    peaks = {}
    for size, data in results["sizes"].items():
        own, axolotl = data["contenders"]["ql"], data["contenders"]["axolotl default"]
        wall = best(own, "seconds_synced") / best(axolotl, "seconds_synced")
        peaks[size] = best(own, "peak_mb")
        memory = peaks[size] / best(axolotl, "peak_mb")
        lines.append(f"| {size}: at most half of the time of Axolotl's default, better a third | {wall:.2f} |")
        lines.append(f"| {size}: at most a third of its peak memory | {memory:.2f} |")
    if {"0.7b", "3b"} <= peaks.keys():
        growth = peaks["3b"] / peaks["0.7b"] - 1
        lines.append(f"| peak memory grows by less than 10 % from 0.7 B to 3 B | {growth:.1%} |")
    for name, ratio in device["ratio_to_cp"].items():
        aim = f"{device['size']} on a GPU ({name}): at most three times a synced copy"
        lines.append(f"| {aim} | {ratio:.2f} |")
    return lines


def device(found: dict[str, Any]) -> list[str]:
    """The merge on a GPU machine, and what each of its stages was at work."""
    lines = ["| what | s, until on disk | peak MB | processor s | stages at work, s |", "|---|---|---|---|---|"]
    rows = [(name, run) for name, runs in found["runs"].items() for run in runs]
    if "killed" in found:
        rows.append(("killed half way, then this", found["killed"]["resumed"]))
    for name, run in rows:
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in (run.get("stage_seconds") or {}).items())
        cells = (name, f"{run['seconds_synced']:.1f}", f"{run['peak_mb']:,}", f"{run['cpu_seconds']:.1f}", stages)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def checks(found: dict[str, Any]) -> list[str]:
    """What was computed again, and what became of a merge that was killed."""
    again, killed = found["recomputed"], found["killed"]
    share = f"{killed['shards_equal']} of {killed['shards']} shards"
    return [
        f"Machine: {found['gpu']}, {found['cores']} cores, torch {found['torch']}.",
        f"Computed again, each tensor in one piece: {again['tensors']} tensors, {again['weights']:,} weights, "
        f"{again['differing']} different (the sum of a block may round otherwise than that of a whole matrix).",
        f"Killed and gone on: {share} with the same sha256 as those of the merge that was left alone.",
    ]


def codes(found: dict[str, Any]) -> list[str]:
    """How many codes and values the two devices disagree on."""
    lines = ["| loaded in | weights | 4-bit codes | absmax codes | values | largest relative difference of a tensor |"]
    lines.append("|---|---|---|---|---|---|")
    for name, data in found.items():
        different = data["different"]
        cells = [name, *(f"{different[key]:,}" for key in ("weights", "codes", "absmax_codes", "values"))]
        lines.append(f"| {' | '.join(cells)} | {data['largest_relative_difference_of_a_tensor']:.1e} |")
    return lines


def build() -> dict[str, str]:
    """The text of every table by its name."""
    results = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    on_gpu = json.loads((HERE / "results" / "device_merge.json").read_text(encoding="utf-8"))
    tables = {
        "compare": compare(results),
        "targets": targets(results, on_gpu),
        "device": device(on_gpu),
        "checks": checks(on_gpu),
        "codes": codes(json.loads((HERE / "results" / "device_codes.json").read_text(encoding="utf-8"))),
    }
    return {name: "\n".join(lines) for name, lines in tables.items()}


def filled(text: str, tables: dict[str, str]) -> str:
    """A page with its tables as they are now."""
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        if begin in text:
            before, _, rest = text.partition(begin)
            _, _, after = rest.partition(end)
            text = f"{before}{begin}{table}\n{end}{after}"
    return text


def main() -> int:
    tables = build()
    stale = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = filled(text, tables)
        if new != text:
            stale.append(page.name)
            if "--check" not in sys.argv:
                page.write_text(new, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"{', '.join(stale)}: not the numbers of the JSON; run python benchmarks/merge/tables.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
