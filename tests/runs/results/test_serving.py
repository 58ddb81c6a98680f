"""The vLLM command lines: what is served follows from what the run has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import BadInput
from launcher.records.run import DataRecord
from launcher.runs.results.serving import serving_commands
from launcher.runs.run import Run
from manifests import new_manifest


def run(folder: Path, *has: str, **changes: Any) -> Run:
    for name in has:
        (folder / name).mkdir(parents=True)
    plan = {"base_model": "org/base", "lora_r": 16, "compute_dtype": "float16", "method": "qlora", "sequence_len": 2048}
    data = {"plan": plan | changes, "merge": {"dtype": "bfloat16"}, "max_position_embeddings": 8192}
    return Run(folder, new_manifest(**data))


def after(argv: list[str], option: str) -> str:
    return argv[argv.index(option) + 1]


def test_merged_is_served_in_the_dtype_it_is_stored_in(tmp_path: Path) -> None:
    argv = serving_commands([run(tmp_path, "merged", "adapter")])["merged"]
    assert argv[:3] == ["vllm", "serve", str(tmp_path / "merged")]
    assert after(argv, "--dtype") == "bfloat16"
    assert after(argv, "--max-model-len") == "8192"


def test_the_adapter_is_served_on_the_base_it_was_trained_on(tmp_path: Path) -> None:
    argv = serving_commands([run(tmp_path, "adapter", lora_r=24)])["adapter"]
    assert argv[2] == "org/base"
    assert after(argv, "--max-lora-rank") == "32"
    assert after(argv, "--dtype") == "half"
    assert after(argv, "--quantization") == "bitsandbytes"
    assert after(argv, "--lora-modules") == f"{tmp_path.name}={tmp_path / 'adapter'}"


def test_a_16_bit_base_is_not_quantised_for_serving(tmp_path: Path) -> None:
    assert "--quantization" not in serving_commands([run(tmp_path, "adapter", method="lora")])["adapter"]


def test_several_adapters_share_a_base(tmp_path: Path) -> None:
    runs = [run(tmp_path / name, "adapter", "merged") for name in ("one", "two")]
    commands = serving_commands(runs)
    assert list(commands) == ["adapter"]
    assert after(commands["adapter"], "--max-loras") == "2"
    assert f"two={tmp_path / 'two' / 'adapter'}" in commands["adapter"]


@pytest.mark.parametrize("name", ["lr=1e-4", "a,b"])
def test_a_path_that_vllm_would_split_is_given_as_json(name: str, tmp_path: Path) -> None:
    argv = serving_commands([run(tmp_path / name, "adapter")])["adapter"]
    value = after(argv, "--lora-modules")
    assert json.loads(value) == {"name": name, "path": str(tmp_path / name / "adapter")}
    assert "," in value, "by which vLLM knows JSON"


def test_adapters_of_different_bases_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="different base models"):
        serving_commands([run(tmp_path / "a", "adapter"), run(tmp_path / "b", "adapter", base_model="org/other")])


def test_a_run_with_nothing_to_serve_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing to serve"):
        serving_commands([run(tmp_path)])


def test_a_rank_beyond_what_vllm_serves_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="512"):
        serving_commands([run(tmp_path, "adapter", lora_r=1024)])


def test_merged_is_served_where_the_adapter_cannot_be(tmp_path: Path) -> None:
    with_both = run(tmp_path, "merged", "adapter", lora_r=1024)
    assert list(serving_commands([with_both])) == ["merged"]
    with pytest.raises(BadInput, match="512"):
        serving_commands([with_both], adapter_only=True)


def test_the_adapter_alone_can_be_asked_for(tmp_path: Path) -> None:
    assert list(serving_commands([run(tmp_path, "merged", "adapter")], adapter_only=True)) == ["adapter"]
    with pytest.raises(BadInput, match="no adapter/"):
        serving_commands([run(tmp_path / "b", "merged")], adapter_only=True)


def test_the_server_asks_as_the_rows_were_written(tmp_path: Path) -> None:
    made = run(tmp_path, "merged", "adapter")
    assert "--default-chat-template-kwargs" not in str(serving_commands([made]))
    made.record.data = DataRecord(path="x", sha256="y", template_settings={"enable_thinking": False})
    for argv in serving_commands([made]).values():
        assert after(argv, "--default-chat-template-kwargs") == '{"enable_thinking": false}'
