"""The shell blocks of README and docs: found, run in order, and held against the output that the page shows.

A fenced block in `sh` is commands; in `console`, lines that begin with `$ ` are commands and the rest is what they
print. All blocks of a page run in one folder that has the project's examples/, in their order. What cannot run here has
a comment on the line before its fence, with the reason:

    <!-- slow: trains the tiny model, 3 minutes -->            runs in `make test-slow` only
    <!-- needs a GPU: trains a 7B model -->                    never runs here; each `ql` line must parse
    <!-- needs the network: installs a CUDA build of torch -->
    <!-- exits 1: the point of the example -->                 runs, and must end with this code

In shown output `…` stands for anything, and what differs from run to run (times, dates, ids) is compared by its form.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELLS = ("sh", "bash", "shell", "console")
FENCE = re.compile(r"^(?P<indent> *)```(?P<lang>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
MARKER = re.compile(r"<!-- (?P<kind>slow|exits (?P<code>\d+)|needs [^:]+|run)(?:: (?P<why>.+?))? -->\s*$")
MADE = ("reference", "benchmarks.md", "test-slow", "test-slow.md")  # pages and folders that scripts make
# What no two runs print alike, and what stands for it when outputs are compared.
FORMS = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\+00:00|Z)?"), "<when>"),
    (re.compile(r"\d{8}-\d{6}"), "<when>"),
    (re.compile(r"\d+ h \d+ min|\d+ min( \d+ s)?|\d+(\.\d+)? (s|ms)\b"), "<time>"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "<hash>"),
    (re.compile(r"[\d,]+(\.\d+)? (tok/s|tokens/s|MB/s)"), "<rate>"),
    (re.compile(r"KL \d\.\de[-+]\d+"), "<kl>"),
    (re.compile(r" +"), " "),
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. ``marker`` is the comment before it: its kind (first word(s)) and reason."""

    page: Path
    line: int
    lang: str
    body: str
    start: int  # of the body, in the page's text
    kind: str = ""
    why: str = ""
    code: int = 0

    @property
    def is_shell(self) -> bool:
        return self.lang in SHELLS

    @property
    def commands(self) -> list[str]:
        """Whole commands: continued lines joined, comments and empty lines left out."""
        lines = self.body.splitlines()
        if self.lang == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
        return [line.strip() for line in joined if line.strip() and not line.strip().startswith("#")]

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """README and every page of docs/ that a person wrote."""
    docs = sorted((ROOT / "docs").rglob("*.md"))
    written = [path for path in docs if path.relative_to(ROOT / "docs").parts[0] not in MADE]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *written]


def blocks(path: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        before = text[: match.start()].rstrip("\n").rpartition("\n")[2]
        marker = MARKER.search(before)
        kind, why, code = "", "", 0
        if marker:
            kind, why, code = marker["kind"], marker["why"] or "", int(marker["code"] or 0)
        line = text.count("\n", 0, match.start()) + 1
        body = re.sub(rf"^{match['indent']}", "", match["body"], flags=re.MULTILINE)
        found.append(Block(path, line, match["lang"], body, match.start("body"), kind, why, code))
    return found


@contextmanager
def session() -> Iterator[Path]:
    """A folder as a newcomer has it: the project's examples/, `ql` on PATH, no network for anything that asks a hub."""
    with tempfile.TemporaryDirectory(prefix="ql-docs-") as name:
        folder = Path(name).resolve()
        shutil.copytree(ROOT / "examples", folder / "examples")
        shutil.copytree(ROOT / "docs" / "examples", folder / "configs")
        yield folder


def run(command: str, folder: Path) -> tuple[int, str]:
    """Exit code and everything that a command prints, both streams in their order."""
    binaries = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "110",
        "NO_COLOR": "1",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.replace(f"{folder}/", "")


def play(block: Block, folder: Path) -> str:
    """The block as it should read: its commands, and for `console` what they printed just now.

    Raises AssertionError when a command does not end as the block says it does.
    """
    if block.lang != "console":
        code, printed = run(f"set -e\n{block.body}", folder)
        assert code == block.code, f"{block.where}: ended with {code}, not {block.code}:\n{printed}"
        return block.body
    out = []
    for command in block.commands:
        code, printed = run(command, folder)
        expected = block.code if command == block.commands[-1] else 0
        assert code == expected, f"{block.where}: {command!r} ended with {code}, not {expected}:\n{printed}"
        out.append(f"$ {command}\n{printed.rstrip()}".rstrip())
    return "\n".join(out) + "\n"


def same(shown: str, printed: str) -> bool:
    """Whether shown output is what came out, up to what differs from run to run; `…` stands for anything."""
    parts = [re.escape(form(part)) for part in shown.split("…")]
    return re.fullmatch(".*".join(part.strip("\n ") for part in parts), form(printed), re.DOTALL) is not None


def form(text: str) -> str:
    for pattern, name in FORMS:
        text = pattern.sub(name, text)
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()


def shortened(shown: str, printed: str) -> str:
    """Printed output, cut where the page cuts it: at an ellipsis on a line of its own."""
    if "\n…\n" not in shown:
        return printed
    head, tail = shown.split("\n…\n", 1)
    lines = printed.splitlines()
    first, last = len(head.splitlines()), len(tail.splitlines())
    return "\n".join([*lines[:first], "…", *(lines[-last:] if last else [])]) + "\n"


def refreshed(path: Path, *, slow: bool = False) -> str:
    """The page's text with the outputs of its `console` blocks as they are now."""
    text = path.read_text(encoding="utf-8")
    shell = [block for block in blocks(path) if block.is_shell and not block.kind.startswith(("needs", "run"))]
    if not any(block.lang == "console" for block in shell):
        return text
    changes = []
    with session() as folder:
        for block in shell:
            if block.kind == "slow" and not slow:
                continue
            printed = play(block, folder)
            # A slow block was asked for by name: its times are to be those of now, though they compare as equal.
            if block.lang == "console" and (block.kind == "slow" or not same(block.body, printed)):
                changes.append((block, shortened(block.body, printed)))
    for block, now in reversed(changes):
        text = text[: block.start] + now + text[block.start + len(block.body) :]
    return text


def parses(command: str) -> str | None:
    """Why a `ql` command could not be typed so, or None; nothing is run and no file need be there."""
    import click

    from launcher.cli.main import main

    try:
        words = shlex.split(command, comments=True)
    except ValueError:  # a line of a text in a here-document
        return None
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words = words[1:]
    if not words or words[0] != "ql":
        return None
    stops = (index for index, word in enumerate(words) if re.match(r"\d?[|>&;]", word))
    words = words[1 : next(stops, None)]
    if not words or words[0].startswith("-"):
        return None
    verb, *rest = words
    group = click.Context(main, info_name="ql")
    command_object = main.get_command(group, verb)
    if command_object is None:
        return f"no such verb {verb!r}"
    try:
        command_object.make_context(verb, rest, parent=group)
    except click.exceptions.Exit:  # --help
        return None
    except click.UsageError as error:
        return error.format_message()
    return None
