"""docs/reference/releases.md: the releases of each trainer that ql knows, and what each does otherwise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher.trainers import Trainer, all_trainers
from launcher.trainers.releases import Release

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "validate" / "results"


def releases_page() -> str:
    lines = [
        "# Releases of the trainers",
        "",
        "*Made by `make references` from the entries in `launcher/trainers/`.* `ql validate` checks a config for one",
        "release: that of `--trainer-python`, else `--trainer-version`, else what ql's own environment has, else what",
        "the file's header says (`# ql: axolotl 0.20`), else the newest here. `scripts/new_release.py` makes the next.",
        "",
    ]
    for trainer in all_trainers():
        if len(trainer.releases) > 1:
            lines += _trainer(trainer)
    return "\n".join(lines)


def _trainer(trainer: Trainer) -> Iterator[str]:
    libraries = sorted({name for release in trainer.releases for name in release.pins})
    yield f"## {trainer.title}"
    yield ""
    yield f"| Release | Python | {' | '.join(libraries)} | `ql launch` | Verdicts held against its own |"
    yield "|---" * (len(libraries) + 4) + "|"
    for release in trainer.releases:
        pins = " | ".join(release.pins.get(name, "") for name in libraries)
        launched = "yes" if release.launched else "validates only"
        yield f"| {release.name} | {release.python} | {pins} | {launched} | {_held(release)} |"
    yield ""
    for release in trainer.releases:
        if release.facts or release.defaults or release.gone:
            yield f"### {trainer.title} {release.name}"
            yield ""
            yield from _otherwise(release)
            yield ""


def _held(release: Release) -> str:
    """How many configs that very release was asked about."""
    path = RESULTS / f"{release.schema}.json"
    if not path.exists():
        return "its schema alone"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return f"{found['counts']['configs']} configs, {found['examples']['counts']['configs']} published"


def _otherwise(release: Release) -> Iterator[str]:
    yield "| Otherwise than before | Seen in |"
    yield "|---|---|"
    for fact in release.facts:
        yield f"| {fact.what} | {fact.evidence} |"
    for key, changed in release.defaults.items():
        default = {None: "none", True: "true", False: "false"}.get(changed.default, changed.default)
        yield f"| `{key}` is {default} by default. | {changed.evidence} |"
    for key, gone in release.gone.items():
        instead = f"use `{gone.instead}`" if gone.instead else "nothing takes its place"
        yield f"| `{key}` is gone: {instead}. | {gone.evidence} |"
