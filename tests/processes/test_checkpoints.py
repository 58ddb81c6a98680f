"""Which checkpoint is gone on from: the newest whose every byte is as it was written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.processes.checkpoints import SEAL, discard_after, fault, newest_complete, without

INJECT = Path(__file__).resolve().parents[2] / "launcher" / "inject"


@pytest.fixture(scope="module")
def seal() -> Iterator[Callable[[Path], None]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(INJECT))
        from ql_checkpoint import seal

        yield seal
    sys.modules.pop("ql_checkpoint", None)


@pytest.fixture
def trainer(tmp_path: Path, seal: Callable[[Path], None]) -> Path:
    for step in (5, 10, 15):
        folder = tmp_path / f"checkpoint-{step}"
        (folder / "nested").mkdir(parents=True)
        (folder / "trainer_state.json").write_text(json.dumps({"max_steps": 20, "global_step": step}))
        (folder / "adapter_model.safetensors").write_bytes(bytes(100))
        (folder / "scaler.pt").write_bytes(b"scale")
        (folder / "nested" / "more").write_text("x")
        seal(folder)
    return tmp_path


def test_the_newest_is_taken_and_reads_its_state(trainer: Path) -> None:
    found = newest_complete(trainer)
    assert found is not None
    assert found.step == 15
    assert found.state().global_step == 15
    limited = newest_complete(trainer, upto=14)
    assert limited is not None
    assert limited.step == 10
    assert newest_complete(trainer, upto=4) is None
    assert newest_complete(trainer / "nowhere") is None


def half_written(folder: Path) -> None:
    (folder / SEAL).unlink()


def cut(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(bytes(99))


def flipped(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(bytes(99) + b"\1")


def missing(folder: Path) -> None:
    (folder / "nested" / "more").unlink()


def linked(folder: Path) -> None:
    (folder / "scaler.pt").unlink()
    (folder / "scaler.pt").symlink_to("/etc/hostname")


def outside(folder: Path) -> None:
    data = json.loads((folder / SEAL).read_text())
    data["files"]["../../etc/passwd"] = {"bytes": 1, "sha256": "0"}
    (folder / SEAL).write_text(json.dumps(data))


def no_seal(folder: Path) -> None:
    (folder / SEAL).write_text("{")


def wrong_seal(folder: Path) -> None:
    (folder / SEAL).write_text('{"version": 1, "files": {"trainer_state.json": 3}}')


@pytest.mark.parametrize("spoil", [half_written, cut, flipped, missing, linked, outside, no_seal, wrong_seal])
def test_one_that_is_not_complete_is_found_out_and_the_one_before_is_used(
    trainer: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(trainer / "checkpoint-15")
    bad = []
    found = newest_complete(trainer, on_bad=lambda path, reason: bad.append((path.name, reason)))
    assert found is not None
    assert found.step == 10
    assert [name for name, _ in bad] == ["checkpoint-15"]
    assert bad[0][1]


def test_a_link_to_another_runs_checkpoint_is_not_followed(trainer: Path, tmp_path: Path) -> None:
    (trainer / "checkpoint-20").symlink_to(trainer / "checkpoint-15")
    assert fault(trainer / "checkpoint-20") is not None
    found = newest_complete(trainer)
    assert found is not None
    assert found.step == 15


def test_a_copy_without_some_files_leaves_the_original_alone(trainer: Path) -> None:
    found = newest_complete(trainer)
    assert found is not None
    assert without(found, ["absent.pt"]) == found
    copy = without(found, ["scaler.pt"])
    assert copy.step == 15
    assert not (copy.path / "scaler.pt").exists()
    assert (copy.path / "nested" / "more").read_text() == "x"
    assert (copy.path / "trainer_state.json").samefile(found.path / "trainer_state.json")
    assert fault(found.path) is None
    assert without(found, ["scaler.pt"]) == copy  # again, over the first


def test_what_came_after_a_fault_is_discarded(trainer: Path) -> None:
    discard_after(trainer, 10)
    assert sorted(path.name for path in trainer.iterdir()) == ["checkpoint-10", "checkpoint-5"]
