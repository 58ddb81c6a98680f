"""run.json as types: what any version of ql wrote comes back as it was, and the schema follows from the classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from make_run_schema import TARGET, run_schema

from launcher.errors import Unreadable
from launcher.records.codec import decode, encode
from launcher.records.quantization import QuantizationRecord
from launcher.records.run import Manifest, Stage
from net.kept_runs import RUNS, unpack

RECORDED = sorted((Path(__file__).parent.parent / "report" / "recorded").glob("*/run.json"))


def texts(tmp_path: Path) -> list[str]:
    kept = [(unpack(name, tmp_path) / "run.json").read_text(encoding="utf-8") for name in RUNS]
    return kept + [path.read_text(encoding="utf-8") for path in RECORDED]


def test_manifests_that_were_written_before_come_back_letter_by_letter(tmp_path: Path) -> None:
    found = texts(tmp_path)
    assert len(found) == len(RUNS) + 2
    for text in found:
        data = json.loads(text)
        record = decode(Manifest, data)
        assert json.dumps(encode(record), indent=2) == json.dumps(data, indent=2)
        assert record.extra == {}, "all that ql writes has a type"


def test_the_schema_is_made_from_the_classes() -> None:
    assert json.loads(TARGET.read_text(encoding="utf-8")) == run_schema(), "run scripts/make_run_schema.py"


def minimal(**more: Any) -> dict[str, Any]:
    plan = {"backend": "x", "base_model": "x", "compute_dtype": "float16", "method": "qlora"}
    stages = [{"name": "train", "state": "pending"}]
    known = {"version": 1, "name": "n", "state": "running", "created": "2026-01-01T00:00:00+00:00"}
    return {**known, "plan": plan, "stages": stages, **more}


def test_what_a_manifest_lacks_has_its_default_and_is_not_added() -> None:
    record = decode(Manifest, minimal())
    assert (record.merge_wanted, record.base_mode, record.repair_policy.stall_seconds) == (True, "dequantized", 600.0)
    assert encode(record) == minimal()


def test_what_is_not_known_stays_where_it_stood() -> None:
    data = minimal(stages=[{"name": "train", "mood": "good", "state": "pending"}], weather={"sun": True})
    record = decode(Manifest, data)
    record.stage("train").state = "done"
    assert list(encode(record)) == list(data)
    assert encode(record)["stages"] == [{"name": "train", "mood": "good", "state": "done"}]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"stages": [{"name": "train", "state": "asleep"}]}, "stages.0.state must be one of pending, running"),
        ({"data": {"path": 3, "sha256": "x"}}, "data.path must be text, not 3"),
        ({"notes": "one"}, "notes must be a list, not 'one'"),
        ({"training": {"loss": 1}}, "training.steps must be there, not missing"),
        ({"estimate": {"peak_gib": "7"}}, "estimate.peak_gib must be a number, not '7'"),
    ],
)
def test_what_is_of_a_wrong_type_is_named_by_its_place(more: dict[str, Any], said: str) -> None:
    with pytest.raises(Unreadable, match=said) as raised:
        decode(Manifest, minimal(**more), file="run.json")
    assert str(raised.value).startswith("run.json: ")


def test_what_is_forgotten_is_written_no_more() -> None:
    stage = decode(Stage, {"name": "train", "state": "failed", "error": "boom"})
    stage.forget("error")
    assert encode(stage) == {"name": "train", "state": "failed"}


def test_a_record_of_a_training_is_read() -> None:
    record = decode(QuantizationRecord, {"version": 1, "quant_type": "nf4", "quantized_modules": ["a"]})
    assert (record.double_quant, record.quantized_modules) == (False, ["a"])
