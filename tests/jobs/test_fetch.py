"""A base of the hub that does not come is one clear error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from launcher.errors import RunFailed
from launcher.records.jobs import FETCH, FetchRequest
from launcher.trainers.workers import call_worker
from standin_hub import standin_hub

pytest.importorskip("huggingface_hub")


def test_a_connection_that_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with standin_hub("unused") as hub:
        hub.cut = "/api/models/"
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(RunFailed, match="the hub cannot be reached") as caught:
            call_worker(sys.executable, FETCH, FetchRequest(base_model="some/thing"), tmp_path / "fetch.log")
    assert "hf download some/thing" in str(caught.value)
