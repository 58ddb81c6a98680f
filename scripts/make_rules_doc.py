"""Write docs/rules.md from the rules, and the outputs in docs/validate.md from the program.

    python scripts/make_rules_doc.py           # write both
    python scripts/make_rules_doc.py --check   # say whether they are what the program prints; exits 1 when not

In docs/validate.md a comment ``<!-- run: ql validate … -->`` stands before each code block that a command printed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml
from click.testing import CliRunner

from launcher.cli.main import main as ql
from launcher.configs.catalogue import codes, explain
from launcher.configs.rules import all_rules
from launcher.trainers.axolotl.releases import RELEASES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
NOTES = Path(__file__).with_name("axolotl_validators.yaml")
GROUPS = {
    "QL0": "The file",
    "QL1": "Keys and values",
    "QL2": "Dead keys: known, and read only under a condition",
    "QL3": "Refused combinations",
    "QL4": "Data, templates, streams",
    "QL5": "Kernels and what they need of a card",
    "QL6": "What Axolotl warns of in its log",
    "QL7": "What no trainer says",
    "QL8": "With --with-data, --golden or --gpu",
    "QL90": "The Unsloth config",
    "QL95": "The job file of `ql launch`",
}
RUN = re.compile(r"(<!-- run: (.+?) -->\n```\w*\n).*?(```\n)", re.DOTALL)


def rules_page() -> str:
    """docs/rules.md."""
    versions = ", ".join(release.name for release in RELEASES)
    lines = [
        "# The rules of `ql validate`",
        "",
        "Made by `scripts/make_rules_doc.py` from the rules themselves; `ql validate --explain CODE` prints one.",
        f"Axolotl versions with a schema: {versions}.",
        "",
        "Severities follow one principle. **error**: the trainer refuses it, drops it in silence, or reads something",
        "else than the file says; dead keys are errors. **warning**: legal and unwise, or on its way out. **note**: a",
        "default that is worth knowing. Only errors fail, and with `--strict` warnings too.",
        "",
    ]
    for prefix, title in GROUPS.items():
        lines += [f"## {title}", "", "| Code | Severity | What | Why |", "|---|---|---|---|"]
        lines += [_row(code) for code in codes() if code.startswith(prefix)]
        lines.append("")
    return "\n".join([*lines, *_validators()]) + "\n"


def _row(code: str) -> str:
    entry = explain(code)
    only = f" (Axolotl {entry.versions})" if entry.versions else ""
    return f"| {code} | {entry.severity} | {_cell(entry.title)}{only} | {_cell(entry.why)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _validators() -> Iterator[str]:
    """The table of Axolotl's own validators, each with our code or why there is none."""
    covered: dict[str, list[str]] = {}
    for rule in all_rules().values():
        for name in rule.upstream:
            covered.setdefault(name, []).append(rule.code)
    notes: dict[str, str] = yaml.safe_load(NOTES.read_text(encoding="utf-8"))
    yield "## Axolotl's own validators"
    yield ""
    recorded = ", ".join(release.name for release in RELEASES if release.pins)
    yield f"Every validator in the source of Axolotl's schemas ({recorded}; nested models included) and of the plugins"
    yield "that are on by themselves, Liger's and CutCrossEntropy's. A test misses none of them (scripts/releases/)."
    yield ""
    yield "| Axolotl | ql |"
    yield "|---|---|"
    for name in sorted({*covered, *notes}):
        yield f"| `{name}` | {', '.join(sorted(covered.get(name, []))) or notes[name]} |"


def with_outputs(page: str) -> str:
    """``page`` with what each command in it prints now, run in docs/examples."""

    def run(found: re.Match[str]) -> str:
        with contextlib.chdir(DOCS / "examples"):
            arguments = found[2].split()[1:]
            text = CliRunner(env={"COLUMNS": "110"}).invoke(ql, arguments, prog_name="ql").output
        return found[1] + text.rstrip("\n") + "\n" + found[3]

    return RUN.sub(run, page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is out of date")
    check = parser.parse_args().check
    os.environ["NO_COLOR"] = "1"
    guide = DOCS / "validate.md"
    pages = {DOCS / "rules.md": rules_page(), guide: with_outputs(guide.read_text(encoding="utf-8"))}
    for path, text in pages.items():
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            sys.exit(f"{path} is out of date: run python scripts/make_rules_doc.py")
        if not check:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
