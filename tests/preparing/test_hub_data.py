"""A data set of the hub by its name and split, through the library `datasets`; a hub out of reach is one error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rows_hub import NAME, rows_hub

from launcher.cli.main import main
from launcher.preparing.hub_data import HubData, hub_data

pytest.importorskip("datasets")


def lines(word: str, count: int) -> bytes:
    rows = [{"prompt": f"{word} {number}", "completion": "x", "empty": None} for number in range(count)]
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


FILES = {"README.md": b"---\n---\n", "train.jsonl": lines("asked", 40), "test.jsonl": lines("tested", 3)}
CONFIGS = """---
configs:
- config_name: easy
  data_files: [{split: only, path: train.jsonl}]
- config_name: hard
  data_files: [{split: only, path: test.jsonl}]
---
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches of this test alone, and no file that a name could be."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with rows_hub(FILES) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        yield


def ql(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("org/name", HubData("org/name", None, None)),
        ("org/name:test", HubData("org/name", None, "test")),
        ("org/name:main:test", HubData("org/name", "main", "test")),
        ("org/name.v2", HubData("org/name.v2", None, None)),
        ("rows", None),
        ("org/rows.jsonl", None),
        ("org/rows.csv.gz", None),
        ("/org/name", None),
        ("./name", None),
        ("a/b/c", None),
        ("here/name", None),
        ("here", None),
    ],
)
def test_what_is_a_name_of_the_hub(text: str, found: HubData | None, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    assert hub_data(text) == found


@pytest.mark.parametrize(("split", "rows", "other"), [("", 40, "test"), (":train", 40, "test"), (":test", 3, "train")])
def test_check_reads_a_split(hub: None, split: str, rows: int, other: str) -> None:
    done = ql("check", f"{NAME}{split}")
    assert done.exit_code == 0, done.output
    assert f"prompt_completion, {rows} usable rows of {rows}, 0 errors" in done.stdout
    name = split[1:] or "train"
    source = f"the rows are those of {NAME} of the hub, configuration default, split {name}; {other} not read"
    assert f"note: {source}" in done.stdout


def test_every_verb_that_reads_rows_takes_it(hub: None, tmp_path: Path) -> None:
    preset = ("--preset", "cpu-tiny", "--data", NAME)
    for words in (
        ("launch", *preset, "--dry-run"),
        ("export", *preset, "-o", "out"),
        ("estimate", *preset),
        ("init", *preset, "--yes", "--out", "job.yaml"),
    ):
        done = ql(*words)
        assert done.exit_code == 0, done.output
        assert f"the rows are those of {NAME} of the hub" in done.stderr, words
    assert f"data: {NAME}\n" in (tmp_path / "job.yaml").read_text()
    assert ql("launch", "job.yaml", "--dry-run").exit_code == 0
    assert ql("split", NAME, "--golden", 5).exit_code == 0
    assert len((tmp_path / f"{NAME.replace('/', '--')}.golden.jsonl").read_text().splitlines()) == 5, "where one is"
    (tmp_path / "mine.yaml").write_text(f"preset: cpu-tiny\ndata: {NAME}\n")
    assert ql("launch", "mine.yaml", "--dry-run").exit_code == 0


def test_configurations_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with rows_hub({**FILES, "README.md": CONFIGS.encode()}) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        done = ql("check", NAME)
        assert done.exit_code == 2
        assert f"{NAME}: configuration: there are several: easy, hard\n  name one: {NAME}:NAME" in done.stderr
        for name in (f"{NAME}:hard:only", f"{NAME}:hard"):
            done = ql("check", name)
            assert "3 usable rows" in done.stdout, done.stderr
        wrong = ql("check", f"{NAME}:hrad:only")
        assert (wrong.exit_code, "did you mean 'hard'?" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"{NAME}:tset", f"{NAME}: split 'tset' is not there\n  did you mean 'test'?"),
        ("org/none", "the hub has no data set org/none"),
    ],
)
def test_what_the_hub_does_not_have(hub: None, name: str, said: str) -> None:
    done = ql("check", name)
    assert (done.exit_code, said in done.stderr) == (2, True), done.output


@pytest.mark.parametrize("verb", [("check",), ("launch", "--preset", "cpu-tiny", "--dry-run", "--data")])
@pytest.mark.parametrize("variable", [("HF_ENDPOINT", "http://127.0.0.1:9"), ("HF_HUB_OFFLINE", "1")])
def test_a_hub_out_of_reach_is_one_error(
    verb: tuple[str, ...], variable: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*variable)
    done = ql(*verb, NAME)
    assert done.exit_code == 3
    assert done.stderr.count("error:") == 1
    assert f"the data set {NAME} cannot be fetched, since the hub is out of reach" in done.stderr
