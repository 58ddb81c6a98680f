"""docs/benchmarks.md and its plots: the tables of benchmarks/*/README.md, and plots drawn from the committed JSON."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
ASSETS = ROOT / "docs" / "assets"
TITLES = {
    "merge": "Merging",
    "validate": "Validating",
    "device": "Presets on a GPU",
    "sizing": "The memory model",
    "survive": "Surviving",
    "compare": "QLoRA against LoRA on a GPU",
    "report": "Opening a report",
}
INTRO = [
    "# Benchmarks",
    "",
    "*Made by `make references` from `benchmarks/`.* Every number is in a committed JSON file, with the machine, the",
    "versions and the date; the scripts that measured it stand beside it. Plots are drawn from the same files.",
    "",
]


def benchmark_pages() -> dict[Path, str]:
    """The page and each plot, by path."""
    plots = {name: svg for name, draw in PLOTS.items() if (svg := draw()) is not None}
    folders = sorted(path.parent for path in BENCHMARKS.glob("*/README.md"))
    lines = list(INTRO)
    named = {folder.name for folder in folders} | {name.partition("-")[0] for name in plots}
    for name in sorted(named, key=lambda name: (list(TITLES).index(name) if name in TITLES else 99, name)):
        lines += [f"## {TITLES.get(name, name.capitalize())}", ""]
        for plot, (_, alt) in plots.items():
            if plot.partition("-")[0] == name:
                lines += [f"![{alt}](assets/bench-{plot}.svg)", ""]
        if (BENCHMARKS / name / "README.md").is_file():
            lines += [*_readme(BENCHMARKS / name / "README.md"), ""]
    files = {ASSETS / f"bench-{plot}.svg": svg for plot, (svg, _) in plots.items()}
    return {ROOT / "docs" / "benchmarks.md": "\n".join(lines).rstrip() + "\n", **files}


def _readme(path: Path) -> list[str]:
    """A benchmark's own page: its title goes, its headings move down, links to files beside it become their names,
    those to docs/ stay links."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\A# .*\n+", "", text)
    text = re.sub(r"^(#+) ", r"#\1 ", text, flags=re.MULTILINE)
    text = re.sub(r"!\[([^\]]*)\]\((?!http)[^)]+\)", r"*\1*", text)
    text = re.sub(r"\[([^\]]+)\]\((?!http|#)([^)]+)\)", _link, text)
    return text.rstrip().splitlines()


def _link(found: re.Match[str]) -> str:
    words, target = found.groups()
    page = target.removeprefix("../../docs/")
    return f"{words} (`{target}`)" if page == target else f"[{words}]({page})"


def _read(*parts: str) -> Any:
    path = BENCHMARKS.joinpath(*parts)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def merge_plot() -> tuple[str, str] | None:
    """Time and peak memory of each way to merge, the largest size that all were run at."""
    data = _read("merge", "results.json")
    if data is None:
        return None
    size, found = max(data["sizes"].items(), key=lambda item: item[1]["layers"])
    ways = {name: runs for name, runs in found["contenders"].items() if all(run["exit_code"] == 0 for run in runs)}
    seconds = {name: median(run["seconds_synced"] for run in runs) for name, runs in ways.items()}
    memory = {name: median(run["peak_mb"] for run in runs) / 1e3 for name, runs in ways.items()}
    title = f"Merging a {size} model on {data['cores']} cores ({data['date']})"
    return _bars(title, {"seconds": seconds, "peak memory, GB": memory}), f"{title}: seconds and peak memory"


def validate_plot() -> tuple[str, str] | None:
    """Processor seconds of checking one file."""
    data = _read("validate", "bench.json")
    if data is None:
        return None
    one = {name: run["cpu_seconds_min"] for name, run in data["results"].items() if "500 files" not in name}
    memory = {name: run["peak_mib"] for name, run in data["results"].items() if name in one}
    title = f"Checking one config ({data['machine']['date']})"
    return _bars(title, {"processor seconds": one, "peak memory, MiB": memory}), f"{title}: processor time and memory"


PLOTS: Mapping[str, Callable[[], tuple[str, str] | None]] = {"merge-time": merge_plot, "validate-time": validate_plot}


def _bars(title: str, panels: Mapping[str, Mapping[str, float]]) -> str:
    """Horizontal bars side by side, each with its number; the same bytes for the same numbers."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    names: Sequence[str] = list(reversed(list(next(iter(panels.values())))))
    settings = {"svg.hashsalt": "ql", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}
    with matplotlib.rc_context(settings):
        figure, axes = pyplot.subplots(1, len(panels), figsize=(9, 0.5 + 0.42 * len(names)), sharey=True)
        for axis, (label, values) in zip(axes, panels.items(), strict=True):
            numbers = [values[name] for name in names]
            colours = ["#2f7d78" if name.startswith("ql") else "#9aa4af" for name in names]
            bars = axis.barh(names, numbers, color=colours)
            axis.bar_label(bars, labels=[f"{number:.3g}" for number in numbers], padding=3)
            axis.set_xlabel(label)
            axis.margins(x=0.2)
            axis.spines[["top", "right"]].set_visible(False)
        figure.suptitle(title, fontsize=11)
        figure.tight_layout()
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
