"""Build docs/memory.md and its plot from the committed results; --check fails when they are out of date.

python benchmarks/sizing/report.py [--check]
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.sizing import blind, since
from benchmarks.sizing.residuals import HELD_OUT, HERE, Case, published, read, summary

DOCS = HERE.parents[1] / "docs"
FIGURES = ("allocated", "device", "evaluation device", "loading device")
SIZE, EDGE = 520, 56
COLOURS = {"axolotl": "#1f6feb", "unsloth": "#d9480f"}


def settings(case: Case) -> str:
    plan = case.raw["plan"]
    parts = [case.raw["method"], "+".join(plan["kernels"]) or ("stock" if case.raw["trainer"] == "axolotl" else "")]
    parts += [] if plan["gradient_checkpointing"] else ["no checkpointing"]
    parts += ["offload"] if plan["activation_offload"] else []
    parts += ["fp16"] if plan["compute_dtype"] == "float16" else []
    return ", ".join(part for part in parts if part)


def row(case: Case, peers: dict[str, dict[str, float]]) -> str:
    shape = case.raw["shape"]
    cells = [
        case.raw["trainer"],
        case.raw["model"] + (" **held out**" if case.held_out else ""),
        settings(case),
        f"{shape['sequence_len']} x {shape['micro_batch_size']}",
    ]
    for figure in FIGURES:
        measured, predicted = case.figures[figure]
        cells.append(f"{measured:.2f} / {predicted:.2f} ({case.error(figure):+.1%})")
    device = case.figures["device"][0]
    for peer in peers:
        value = peers[peer][case.name]
        cells.append(f"{value:.1f} ({value / device - 1:+.0%})")
    return f"| {' | '.join(cells)} |"


def table(cases: list[Case], peers: dict[str, dict[str, float]]) -> str:
    heads = ["trainer", "model", "settings", "tokens x rows", *FIGURES, *peers]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(row(case, peers) for case in cases)])


def totals(cases: list[Case], peers: dict[str, dict[str, float]]) -> str:
    lines = ["| trainer | models | figure | cases | mean error | worst | lowest |", "|---|---|---|---|---|---|---|"]
    for trainer, names in HELD_OUT.items():
        for held in (True, False):
            chosen = [c for c in published(cases) if c.raw["trainer"] == trainer and c.held_out == held]
            who = f"held out: {', '.join(names)}" if held else "the others"
            for figure in ("allocated", "device", "evaluation", "evaluation device", "loading device"):
                s = summary(chosen, figure)
                numbers = f"{s['cases']} | {s['mean']:.1%} | {s['worst']:+.1%} | {s['lowest']:+.1%}"
                lines.append(f"| {trainer} | {who} | {figure} | {numbers} |")
    for peer, predicted in peers.items():
        errors = [predicted[case.name] / case.figures["device"][0] - 1 for case in published(cases)]
        mean = sum(map(abs, errors)) / len(errors)
        numbers = f"{len(errors)} | {mean:.1%} | {max(errors, key=abs):+.1%} | {min(errors):+.1%}"
        lines.append(f"| both | all | device, by {peer} | {numbers} |")
    return "\n".join(lines)


def plot(cases: list[Case], blind_pairs: dict[str, tuple[str, float, float]]) -> str:
    """Device memory, predicted against measured, both axes logarithmic, as SVG; ``blind_pairs`` as of that function."""
    low, high = 4.0, 64.0

    def at(gib: float) -> float:
        return EDGE + (SIZE - 2 * EDGE) * math.log(gib / low) / math.log(high / low)

    def words(name: str, measured: float, predicted: float) -> str:
        return f"<title>{name}: {measured:.2f} measured, {predicted:.2f} predicted</title>"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIZE} {SIZE}" font-family="sans-serif" font-size="12">',
        f'<rect width="{SIZE}" height="{SIZE}" fill="white"/>',
        f'<line x1="{at(low)}" y1="{SIZE - at(low)}" x2="{at(high)}" y2="{SIZE - at(high)}" stroke="#999"/>',
    ]
    for gib in (4, 8, 16, 32, 64):
        x = at(gib)
        parts.append(f'<line x1="{x}" y1="{EDGE}" x2="{x}" y2="{SIZE - EDGE}" stroke="#eee"/>')
        parts.append(f'<line x1="{EDGE}" y1="{SIZE - x}" x2="{SIZE - EDGE}" y2="{SIZE - x}" stroke="#eee"/>')
        parts.append(f'<text x="{x}" y="{SIZE - EDGE + 18}" text-anchor="middle">{gib}</text>')
        parts.append(f'<text x="{EDGE - 8}" y="{SIZE - x + 4}" text-anchor="end">{gib}</text>')
    for case in published(cases):
        measured, predicted = case.figures["device"]
        colour = COLOURS[case.raw["trainer"]]
        fill = colour if case.held_out else "none"
        parts.append(
            f'<circle cx="{at(measured):.1f}" cy="{SIZE - at(predicted):.1f}" r="4" stroke="{colour}" fill="{fill}">'
            f"{words(case.name, measured, predicted)}</circle>"
        )
    for name, (trainer, measured, predicted) in blind_pairs.items():
        parts.append(
            f'<rect x="{at(measured) - 3.5:.1f}" y="{SIZE - at(predicted) - 3.5:.1f}" width="7" height="7" '
            f'fill="{COLOURS[trainer]}" fill-opacity="0.6">{words(name, measured, predicted)}</rect>'
        )
    for index, (trainer, colour) in enumerate(COLOURS.items()):
        parts.append(f'<text x="{EDGE + 12}" y="{EDGE + 16 + 16 * index}" fill="{colour}">{trainer}</text>')
    for index, line in enumerate(("filled circles: held out", "squares: the blind test")):
        parts.append(f'<text x="{EDGE + 12}" y="{EDGE + 48 + 16 * index}">{line}</text>')
    parts.append(f'<text x="{SIZE / 2}" y="{SIZE - 14}" text-anchor="middle">measured on the device, GiB</text>')
    parts.append(
        f'<text x="16" y="{SIZE / 2}" text-anchor="middle" transform="rotate(-90 16 {SIZE / 2})">predicted, GiB</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def blind_pairs() -> dict[str, tuple[str, float, float]]:
    """Of each measured case of the blind test: trainer, GiB measured on the device, GiB predicted beforehand."""
    said, found = blind.committed()["cases"], {}
    for name, raw in blind.read().items():
        pairs = blind.errors(said[name], raw)
        if "device" in pairs:
            found[name] = (raw["trainer"], *pairs["device"])
    return found


def build() -> dict[Path, str]:
    cases = read()
    peers = json.loads((HERE / "peers.json").read_text(encoding="utf-8"))
    order = sorted(published(cases), key=lambda case: (case.raw["trainer"], not case.held_out, case.name))
    text = f"""# The memory model against real runs

Made by `benchmarks/sizing/report.py` from `benchmarks/sizing/results/`; do not edit. How it was measured, and on which
machine: [the memory model](benchmarks.md#the-memory-model).

Figures are GiB, measured / predicted, and by how much the prediction is off: with a plus it is too high, on the safe
side. "Mean error" is that of the absolute values, "worst" the largest of them with its sign, "lowest" the one furthest
below the measurement. **Held out** are models that the constants were not fitted to. "accelerate" and "soup-cli" are
what `accelerate estimate-memory` and `soup profile` say of the same jobs.

| figure | meaning |
|---|---|
| allocated | tensors at the peak of training, as torch counts them |
| device | what the device shows in training (`nvidia-smi`): torch's reserve, fragments and CUDA context included |
| evaluation, evaluation device | the same two during an evaluation |
| loading device | what the device shows while the base is loaded and the adapter made |

![device memory, predicted against measured, in GiB](assets/memory-residuals.svg)

{totals(cases, peers)}

## A blind test

{blind.section(blind.committed(), blind.read())}

### What the model says of them by now

{since.section(blind.read())}

## Every case

{table(order, peers)}
"""
    return {DOCS / "memory.md": text, DOCS / "assets" / "memory-residuals.svg": plot(cases, blind_pairs())}


def main() -> None:
    stale = []
    for path, text in build().items():
        if "--check" in sys.argv:
            stale += [] if path.exists() and path.read_text(encoding="utf-8") == text else [path.name]
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.exit(f"out of date: {', '.join(stale)}; run python benchmarks/sizing/report.py")


if __name__ == "__main__":
    main()
