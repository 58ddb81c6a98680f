"""Plan, config, estimate, export: every preset with each trainer and method, without data and with it."""

from __future__ import annotations

from net.store import Cases
from net.work import ROOT, Sections, Work, under, unfold

TRAINERS = ("axolotl", "unsloth")
METHODS = ("qlora", "lora")
EVERY = 4  # of the presets, for what takes longer and depends little on the preset
NO_PRESETS = ("fp16_overflow",)  # a table beside the presets


def presets() -> list[str]:
    return sorted(path.stem for path in (ROOT / "presets").glob("*.yaml") if path.stem not in NO_PRESETS)


def cases(work: Work) -> Cases:
    found: Cases = {"list": under("text", work.ql("presets")) | under("json", work.ql("presets", "--json"))}
    for preset in presets()[:: work.every]:
        for trainer in TRAINERS:
            for method in METHODS:
                chosen = ("--preset", preset, "--backend", trainer, "--method", method)
                found[f"{preset} {trainer} {method}"] = one(work, chosen, "few.jsonl")
        found[f"{preset} in words"] = under("presets", work.ql("presets", preset)) | under(
            "launch", work.ql("launch", "--dry-run", "--preset", preset, "--data", "few.jsonl")
        )
        found[f"{preset} chosen"] = under(
            "launch", launch(work, ("--preset", preset, "--method", "auto", "--backend", "auto"), "few.jsonl")
        )
    for preset in ["cpu-tiny", *presets()[:: EVERY * work.every]]:
        words = ("--preset", preset)
        found[f"{preset} with all tickets"] = under("launch", launch(work, words, "tickets.jsonl"))
        found[f"{preset} both methods"] = under("launch", launch(work, (*words, "--method", "both"), "few.jsonl"))
    return found


def one(work: Work, words: tuple[str, ...], data: str) -> Sections:
    """The plan without data; with data what a launch would do, and what an export writes."""
    plan = under("plan", work.ql("presets", *words, "--json"))
    return plan | under("launch", launch(work, words, data)) | export(work, words, data)


def launch(work: Work, words: tuple[str, ...], data: str) -> Sections:
    return unfold(work.ql("launch", "--dry-run", "--json", *words, "--data", data))


def export(work: Work, words: tuple[str, ...], data: str) -> Sections:
    """What the export says, and each file that it writes."""
    folder = work.clear("out")
    said = work.ql("export", *words, "--data", data, "-o", "out")
    return under("export", said | under("files", work.files(folder)))
