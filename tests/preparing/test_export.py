"""An exported folder: everything that its trainer and an editor need, or nothing at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from launcher.errors import Unreadable
from launcher.json_schema import check
from launcher.preparing.export import export
from launcher.preparing.prepare import prepare
from launcher.preparing.prepared import Prepared
from launcher.preparing.request import make_request


@pytest.fixture(scope="module", params=["axolotl", "unsloth"])
def prepared(request: pytest.FixtureRequest, tickets: Path) -> Prepared:
    return prepare(make_request(preset="a10g-7b", backend=request.param), tickets)


def test_every_file_that_is_named_is_there(prepared: Prepared, tmp_path: Path) -> None:
    written = export(prepared, tmp_path / "out")
    assert written == sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    text = (tmp_path / "out" / "config.yaml").read_text()
    modeline = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert modeline
    for name in (modeline[1], "chat_template.jinja", "data/train.jsonl", "data/eval.jsonl"):
        assert name in written
    assert "ql" not in re.findall(r"[a-z_]+", text.lower())  # nothing of ours is needed to run it
    assert check(yaml.safe_load(text), modeline[1].removesuffix(".json")).errors == []


@pytest.mark.parametrize("name", ["config.yaml", "chat_template.jinja"])
def test_a_taken_name_leaves_the_folder_as_it_is(name: str, prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(Unreadable, match=f"already has {re.escape(name)}"):
        export(prepared, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_place_that_cannot_be_written_is_one_error(prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreadable, match="cannot write to"):
        export(prepared, tmp_path / "file" / "out")
