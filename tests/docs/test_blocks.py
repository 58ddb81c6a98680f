"""Every shell block of README and docs runs, ends as it says, and shows what came out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from references.blocks import FENCE, ROOT, Block, blocks, form, pages, parses, play, same, session, shortened

# What makes a block of no language look like a shell's.
COMMAND = re.compile(r"^(\$ )?(ql|make|pip|python|vllm|axolotl) \S", re.MULTILINE)
PAGES = [path for path in pages() if any(block.is_shell for block in blocks(path))]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def check(path: Path, *, slow: bool) -> None:
    """Run a page's blocks in their order, in one folder; without ``slow`` up to what only the slow ones can do."""
    shell = [block for block in blocks(path) if block.is_shell and not block.kind.startswith(("needs", "run"))]
    with session() as folder:
        for block in shell:
            if block.kind == "slow" and not slow:
                continue
            printed = play(block, folder)
            if block.lang == "console":
                now = shortened(block.body, printed)
                assert same(block.body, printed), f"{block.where} shows other output; `make references`:\n{now}"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_the_blocks_of_a_page_run(path: Path) -> None:
    check(path, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [path for path in PAGES if any(block.kind == "slow" for block in blocks(path))], ids=name
)
def test_the_slow_blocks_of_a_page_run(path: Path) -> None:
    check(path, slow=True)


@pytest.mark.parametrize("path", pages(), ids=name)
def test_what_cannot_run_here_says_why_and_parses(path: Path) -> None:
    for block in blocks(path):
        assert not block.kind.startswith(("slow", "needs")) or block.why, f"{block.where}: say why"
        if block.is_shell:
            for command in block.commands:
                problem = parses(command)
                assert problem is None, f"{block.where}: {command}: {problem}"


@pytest.mark.parametrize("path", pages(), ids=name)
def test_commands_stand_in_shell_blocks(path: Path) -> None:
    """A block without a language is a file or a picture; a command in it would be run by nobody."""
    for block in blocks(path):
        if not block.lang and not block.kind:
            found = COMMAND.search(block.body)
            assert not found, f"{block.where}: {found and found[0]!r}: fence it as sh or console, or mark it"
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    found = re.search(r"^ {4,}(ql|make|pip) \S.*", text, re.MULTILINE)
    assert not found, f"{name(path)}: {found and found[0].strip()!r} is indented: fence it as sh or console"


def test_the_blocks_are_found_with_their_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# x\n\n<!-- needs a GPU: trains -->\n```sh\nql launch \\\n  --data x\n# a comment\n```\n\n"
        "<!-- exits 1: bad -->\n```console\n$ false\n```\n\n1. item\n\n    ```sh\n    true\n    ```\n"
    )
    one, two, three = blocks(page)
    assert (one.kind, one.why, one.line, one.commands) == ("needs a GPU", "trains", 4, ["ql launch --data x"])
    assert (two.kind, two.code, two.commands) == ("exits 1", 1, ["false"])
    assert three.commands == ["true"]


def test_a_block_that_fails_or_shows_something_else_is_found(tmp_path: Path) -> None:
    def block(body: str, code: int = 0) -> Block:
        return Block(ROOT / "README.md", 1, "console", body, 0, code=code)

    assert play(block("$ echo one; exit 1\n", 1), tmp_path) == "$ echo one; exit 1\none\n"
    with pytest.raises(AssertionError, match="ended with 1, not 0"):
        play(block("$ false\n"), tmp_path)
    assert not same("$ echo one\ntwo\n", "$ echo one\none\n")
    assert same("done in 3.1 s\n", "done in 12.4 s\n")
    assert same("a\n…\nd\n", "a\nb\nc\nd\n")
    assert not same("a\n…\nd\n", "a\nb\nc\n")
    assert shortened("a\n…\nd\n", "A\nb\nc\nD\n") == "A\n…\nD\n"
    assert form("runs/cpu-tiny-20261124-140611") == form("runs/cpu-tiny-20251124-140600")


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("ql presets a10g-7b | head", None),
        ("HF_TOKEN=x ql push latest --repo me/x", None),
        ("ql --help", None),
        ("make test", None),
        ("ql presets --no-such-option", "No such option"),
        ("ql lanch job.yaml", "no such verb"),
        ("ql push latest", "--repo"),
    ],
)
def test_a_line_is_held_against_the_program(command: str, problem: str | None) -> None:
    found = parses(command)
    assert (found is None) if problem is None else (problem in (found or ""))
