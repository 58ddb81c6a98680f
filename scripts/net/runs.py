"""What is made of runs that an earlier version of the program left: shown, reported, compared, served; not resumed."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

from net.kept_runs import RUNS, unpack
from net.store import Cases
from net.work import ROOT, Sections, Work, under

# Two finished runs of one job, of which manifest, telemetry and scores are kept.
RECORDED = ROOT / "tests" / "report" / "recorded"


def cases(work: Work) -> Cases:
    folder = work.folder / "runs"
    for name in RUNS:
        unpack(name, folder)
    for name in ("qlora", "lora"):
        shutil.copytree(RECORDED / name, folder / name)
    found: Cases = {"list": under("text", work.ql("runs")) | under("json", work.ql("runs", "--json"))}
    names = [*RUNS, "qlora", "lora"]
    for name in names:
        found[f"{name} shown"] = under("text", work.ql("runs", name)) | under("json", work.ql("runs", name, "--json"))
        found[f"{name} reported"] = work.ql("report", name, "--json") | _file(work, folder / name / "report.html")
        found[f"{name} checked"] = work.ql("validate", f"runs/{name}/run.json", "--format", "json")
        found[f"{name} served"] = under("text", work.ql("serve", name, "--print")) | under(
            "json", work.ql("serve", name, "--json")
        )
        found[f"{name} adapter served"] = work.ql("serve", name, "--adapter", "--json")
        for what in ((), ("--adapter",)):
            words = ("push", name, "--repo", "me/tickets", "--dry-run", *what)
            found[f"{name} pushed {' '.join(what)}"] = _changing(r"[\d.]+ MB", work.ql(*words))
        found[f"{name} as files"] = {"names": "".join(f"{path}\n" for path in _names(folder / name))}
    for pair in itertools.permutations(names, 2):
        found[f"{pair[0]} against {pair[1]}"] = compared(work, *pair)
    found["all compared"] = compared(work, *names)
    found["finished resumed"] = work.ql("resume", "finished")
    for name in names:
        if name.startswith("stopped"):
            found[f"{name} with another config"] = _changed(work, folder / name)
    return found


def compared(work: Work, *names: str) -> Sections:
    """The comparison in words, as JSON and as a page."""
    text = under("text", work.ql("compare", *names))
    said = under("json", work.ql("compare", *names, "--json", "--html", "page.html"))
    return text | said | _file(work, work.folder / "page.html")


def _file(work: Work, path: Path) -> Sections:
    if not path.is_file():
        return {}
    text = work.plain(path.read_text(encoding="utf-8"))
    path.unlink()
    return {path.name: text}


def _changed(work: Work, run: Path) -> Sections:
    """A resume of a run whose config was edited meanwhile."""
    path = run / "config.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    return _changing(r"(?<=sha256 )[0-9a-f]{12}", work.ql("resume", run.name))


def _changing(pattern: str, said: Sections) -> Sections:
    """Without the sizes or hashes of files that name this machine's folders."""
    return {name: re.sub(pattern, "…", text) for name, text in said.items()}


def _names(run: Path) -> list[str]:
    return sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
