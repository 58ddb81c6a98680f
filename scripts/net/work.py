"""A working folder with small inputs, and `ql` called in it, in this process: what it says and writes, as texts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from launcher import __version__

ROOT = Path(__file__).resolve().parents[2]
FEW = 48  # rows of the example: enough for every decision, few enough for a thousand runs
WHOLE = 60_000  # bytes; a larger text is recorded by its hash

RECORDED_WITH = {"axolotl": (0, 19)}  # by distribution; what the environment of a test has is no matter

Sections = dict[str, str]


@dataclass(frozen=True)
class Work:
    """The folder that everything is run in: few.jsonl, tickets.jsonl, golden.jsonl, and what a case puts there."""

    folder: Path
    every: int = 1  # of presets and settings: which are looked at where all would take long

    def ql(self, *argv: str | Path, stdin: str | None = None) -> Sections:
        """What `ql ARGV` says: its exit code, stdout and stderr, empty ones left out."""
        return {name: self.plain(text) for name, text in call(self.folder, [str(word) for word in argv], stdin).items()}

    def files(self, folder: Path) -> Sections:
        """Every file under ``folder``."""
        found = {}
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            found[path.relative_to(folder).as_posix()] = self.plain(read(path))
        return found

    def plain(self, text: str) -> str:
        """The text without what differs from machine to machine."""
        for path, name in ((self.folder, "<work>"), (ROOT, "<root>")):
            text = text.replace(str(path), name)
        return text.replace(f'"{__version__}"', '"<version>"').replace(f"version {__version__}", "version <version>")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def clear(self, name: str) -> Path:
        """The path ``name``, with nothing at it."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path


def make_work(folder: Path) -> Work:
    """``folder`` filled with the inputs that the cases name."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    tickets = (ROOT / "examples" / "tickets.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    work = Work(folder)
    work.write("few.jsonl", "".join(tickets[:FEW]))
    work.write("tickets.jsonl", "".join(tickets))
    shutil.copy(ROOT / "examples" / "golden.jsonl", folder / "golden.jsonl")
    return work


def call(folder: Path, argv: Sequence[str], stdin: str | None = None) -> Sections:
    """`ql ARGV` in ``folder``. The one place where the program is entered."""
    from click.testing import CliRunner

    from launcher.cli.main import main

    with _settled(folder), _argv(["ql", *argv]):
        result = CliRunner().invoke(main, list(argv), prog_name="ql", input=stdin)
    said = {"exit": f"{result.exit_code}\n", "stdout": result.stdout, "stderr": result.stderr}
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        said["exception"] = f"{type(result.exception).__name__}: {result.exception}\n"
    return {name: text for name, text in said.items() if text}


@contextlib.contextmanager
def _settled(folder: Path) -> Iterator[None]:
    """No home, no cache, no calibration of this machine, and the release of each trainer that was recorded with; a
    terminal of fixed width; ``folder`` as where we are.
    """
    empty = folder / ".home"
    environment = {
        "HOME": str(empty), "HF_HOME": str(empty / "hf"), "HF_HUB_OFFLINE": "1", "XDG_CONFIG_HOME": str(empty),
        "QL_CALIBRATION": str(empty / "no-calibration.json"), "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb",
    }  # fmt: skip
    gone = ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_TOKEN", "CI", "GITHUB_ACTIONS", "XDG_CACHE_HOME", "FORCE_COLOR")
    before, where = dict(os.environ), Path.cwd()
    os.environ.update(environment)
    for name in gone:
        os.environ.pop(name, None)
    os.chdir(folder)
    try:
        with warnings.catch_warnings(), mock.patch("launcher.trainers.installed.here", RECORDED_WITH.get):
            yield
    finally:
        os.chdir(where)
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _argv(argv: list[str]) -> Iterator[None]:
    before, sys.argv = sys.argv, argv
    try:
        yield
    finally:
        sys.argv = before


def read(path: Path) -> str:
    """A file as text; a large one, or one that is no text, by its hash."""
    content = path.read_bytes()
    with contextlib.suppress(UnicodeDecodeError):
        if len(content) <= WHOLE:
            return content.decode()
    return f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}\n"


def unfold(said: Sections) -> Sections:
    """The JSON on stdout with its member ``files`` as sections of their own, so that a difference is one of lines."""
    try:
        facts: Any = json.loads(said["stdout"])
    except (KeyError, ValueError):
        return said
    files = facts.pop("files", {}) if isinstance(facts, dict) else {}
    if not isinstance(files, Mapping):  # a list of names, as `ql export` prints
        facts["files"], files = files, {}
    texts = {f"files/{name}": text for name, text in files.items()}
    return said | {"stdout": json.dumps(facts, indent=2, ensure_ascii=False) + "\n"} | texts


def under(prefix: str, sections: Sections) -> Sections:
    """The sections, each name after ``prefix``."""
    return {f"{prefix}/{name}": text for name, text in sections.items()}
