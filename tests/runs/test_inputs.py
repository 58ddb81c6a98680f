"""A resume on other inputs than the run began with is refused, and says what changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.errors import BadInput
from launcher.runs import inputs
from launcher.runs.inputs import check_unchanged, digest, fingerprint
from launcher.runs.run import Run, create_run
from manifests import new_manifest


@pytest.fixture
def run(tmp_path: Path) -> Run:
    for name in ("rows.jsonl", "golden.jsonl"):
        (tmp_path / name).write_text("{}\n")
    base = tmp_path / "base"
    base.mkdir()
    (base / "model.safetensors").write_bytes(bytes(1000))
    (base / "config.json").write_text("{}")
    (base / "README.md").write_text("not read by anything")
    plan = {"preset": "cpu-tiny", "backend": "axolotl", "method": "qlora", "base_model": str(base)}
    run = create_run(
        tmp_path / "runs",
        "x",
        new_manifest(
            plan=plan,
            notes=[],
            data={"path": str(tmp_path / "rows.jsonl"), "sha256": "0"},
            golden={"path": str(tmp_path / "golden.jsonl"), "sha256": "0", "rows": 1, "gates": []},
            base_folder=str(base),
        ),
    )
    (run.path / "data").mkdir()
    (run.path / "data" / "train.jsonl").write_text("{}\n")
    (run.path / "config.yaml").write_text("seed: 1\n")
    run.stage("prepare").state = "done"
    run.record.inputs = fingerprint(run)
    return run


CHANGES: dict[str, Callable[[Run, Path], object]] = {
    "rows.jsonl": lambda run, folder: (folder / "rows.jsonl").write_text('{"more": 1}\n'),
    "golden.jsonl": lambda run, folder: (folder / "golden.jsonl").write_text('{"more": 1}\n'),
    "config.yaml": lambda run, folder: (run.path / "config.yaml").write_text("seed: 2\n"),
    "train.jsonl": lambda run, folder: (run.path / "data" / "train.jsonl").write_text("[]\n"),
    "model.safetensors": lambda run, folder: (folder / "base" / "model.safetensors").write_bytes(bytes(999) + b"\1"),
    "generation_config.json": lambda run, folder: (folder / "base" / "generation_config.json").write_text("{}"),
}


def test_unchanged_inputs_pass(run: Run, tmp_path: Path) -> None:
    assert check_unchanged(run, accept=False) == []
    (tmp_path / "base" / "README.md").write_text("changed")
    assert check_unchanged(run, accept=False) == []


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_refused_by_name_and_can_be_accepted(run: Run, tmp_path: Path, name: str) -> None:
    CHANGES[name](run, tmp_path)
    with pytest.raises(BadInput, match=name) as caught:
        check_unchanged(run, accept=False)
    assert "--accept-changes" in str(caught.value)
    assert len(check_unchanged(run, accept=True)) == 1
    assert check_unchanged(run, accept=False) == []  # what was accepted is what holds now


def test_the_data_of_an_edited_config_is_known_by_the_names_it_kept(run: Run, tmp_path: Path) -> None:
    copy = run.path / "data" / "mine.jsonl"
    copy.write_text("{}\n")
    run.record.data.sha256 = {"data/mine.jsonl": digest(copy)}
    run.record.inputs = fingerprint(run)
    copy.write_text("[]\n")
    with pytest.raises(BadInput, match=r"mine\.jsonl"):
        check_unchanged(run, accept=False)
    (tmp_path / "rows.jsonl").write_text("[]\n")
    assert len(check_unchanged(run, accept=True)) == 2
    assert run.record.data.sha256 == {"data/mine.jsonl": digest(copy)}
    assert run.record.data.input_sha256 == digest(tmp_path / "rows.jsonl")
    assert check_unchanged(run, accept=False) == []
    copy.unlink()
    with pytest.raises(BadInput, match=r"mine\.jsonl: it is gone"):
        check_unchanged(run, accept=False)


def test_all_changes_are_said_at_once(run: Run, tmp_path: Path) -> None:
    for change in CHANGES.values():
        change(run, tmp_path)
    with pytest.raises(BadInput) as caught:
        check_unchanged(run, accept=False)
    assert all(name in str(caught.value) for name in CHANGES)


def test_the_original_data_may_go_once_the_run_has_its_copy(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").unlink()
    assert check_unchanged(run, accept=False) == []
    (tmp_path / "golden.jsonl").unlink()
    with pytest.raises(BadInput, match="it is gone"):
        check_unchanged(run, accept=False)


def test_a_large_file_counts_by_its_size_and_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "WHOLE", 1000)
    monkeypatch.setattr(inputs, "PIECE", 10)
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(5000))
    before = digest(path)
    assert before.startswith("sampled:")
    for changed in (bytes(5001), b"\1" + bytes(4999), bytes(4999) + b"\1"):
        path.write_bytes(changed)
        assert digest(path) != before
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (blobs / ("a" * 64)).write_bytes(bytes(5000))
    link = tmp_path / "link.safetensors"
    link.symlink_to(blobs / ("a" * 64))
    assert digest(link) == "a" * 64
