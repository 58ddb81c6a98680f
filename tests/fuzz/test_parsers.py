"""Every parser against input that nobody meant: one clear error or a result, never a traceback, never a hang."""

from __future__ import annotations

import contextlib
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples

from launcher.cli.main import main
from launcher.configs.validate import check_text
from launcher.data.inspect import inspect_data
from launcher.errors import QlError
from launcher.golden.rows import read_golden
from launcher.processes.checkpoints import SEAL, fault
from launcher.processes.events import training_facts
from launcher.runs.events import read_events
from launcher.runs.preflight.base_model import base_problems
from launcher.runs.results.summary import summarise
from launcher.runs.run import open_run
from launcher.yaml_source import parse_yaml

quick = settings(
    max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12)
)
values: Any = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def objects(*keys: str) -> Any:
    """JSON objects that have some of the keys that a parser looks for, with any values."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(keys, values) | {"x": values})


def lines(rows: Any) -> Any:
    """Files of JSON lines, some of them cut, or not JSON at all."""
    good = rows.map(lambda row: json.dumps(row).encode())
    bad = st.binary(max_size=40) | good.map(lambda line: line[: len(line) // 2]) | st.just(b"[" * 2000)
    return st.lists(good | bad, max_size=6).map(b"\n".join)


messages = st.lists(objects("role", "content", "from", "value", "tool_calls", "train"), max_size=3)
row = objects(
    "messages", "conversations", "instruction", "input", "output", "prompt", "completion", "text", "tools"
) | (st.fixed_dictionaries({"messages": messages}, optional={"tools": values}))


@quick
@given(data=lines(row) | st.binary(max_size=200) | lines(row).map(lambda text: b"[" + text.replace(b"\n", b",") + b"]"))
def test_data_rows(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_bytes(data)
        try:
            report = inspect_data(path, base=None, chat_template="chatml")
            list(report.problems("error"))
        except QlError:
            return


@quick
@given(
    data=lines(objects("input", "target", "ideal", "expected_output", "id", "metadata", "tools")), chat=st.booleans()
)
def test_golden_sets(data: bytes, chat: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden.jsonl"
        path.write_bytes(data)
        try:
            read_golden(path, conversational=chat)
        except QlError:
            return


SCRAPS = (
    "base_model: ", "adapter: lora\n", "datasets:\n  - ", "path: x\n", "? ", "- ", "[", "]", "{", "}", "&a ", "*a",
    "!!", "!!python/", "<<: ", ": ", "\n", "\t", "|\n", ">\n", "---\n", "...\n", "#", "%YAML", '"', "'", "0x",
    "2024-99-99", "1e400", ".inf", "\0", "é",
)  # fmt: skip


@quick
@given(text=st.lists(st.sampled_from(SCRAPS) | st.text(max_size=6), max_size=14).map("".join) | st.binary(max_size=80))
def test_yaml(text: str | bytes) -> None:
    with contextlib.suppress(QlError):
        parse_yaml(text, file="x.yaml")
    try:
        check_text(text, file="x.yaml", kind="axolotl")
    except QlError:
        return


@quick
@given(
    data=st.dictionaries(st.sampled_from(["base_model", "adapter", "datasets", "lora_r", "micro_batch_size"]), values)
)
def test_configs_of_any_shape(data: dict[str, Any]) -> None:
    for kind in ("axolotl", "unsloth"):
        try:
            check_text(json.dumps(data), file="x.yaml", kind=kind)  # type: ignore[arg-type]
        except QlError:
            continue


KEYS = (
    "version", "state", "plan", "stages", "changes", "repairs", "resumes", "golden_scores", "gates", "merge",
    "training", "notes", "estimate", "created", "curve", "data", "golden", "environment",
)  # fmt: skip
PLAN = {"preset": "x", "backend": "axolotl", "method": "qlora", "base_model": "b", "compute_dtype": "float16"}
whole = {
    "version": 1, "state": "finished", "plan": PLAN, "created": "2026-01-01T00:00:00",
    "stages": [{"name": "train", "state": "done", "seconds": 1.0}],
}  # fmt: skip
manifests = objects(*KEYS).map(json.dumps) | objects(*KEYS).map(lambda data: json.dumps({**data, **whole}))
odd = st.sampled_from(["", "null", "[]", "{", "[" * 50_000, '{"version": 1, "stages": [{}]}', "\ud800"])


@quick
@given(text=manifests | odd)
def test_manifests(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        path.mkdir()
        (path / "run.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        with contextlib.suppress(QlError):
            summarise(open_run(path))
        result = CliRunner().invoke(main, ["runs", "--runs-dir", folder, "--json"])
        assert result.exit_code in (0, 1, 2), result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)


events = lines(objects("event", "step", "time", "loss", "eval_loss", "tokens", "stopped", "max_steps"))


@quick
@given(data=events)
def test_telemetry(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "events.jsonl").write_bytes(data)
        assert all("event" in event for event in read_events(Path(folder)))
        try:
            training_facts(Path(folder))
        except QlError:
            return


@quick
@given(seal=objects("version", "files").map(json.dumps) | odd)
def test_seals_of_checkpoints(seal: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / SEAL).write_bytes(seal.encode("utf-8", "surrogatepass"))
        assert fault(Path(folder))


headers = st.dictionaries(st.text(max_size=6), objects("dtype", "shape", "data_offsets") | values, max_size=3)


@quick
@given(
    header=headers.map(json.dumps) | odd | values.map(json.dumps),
    length=st.none() | st.integers(0, 2**64 - 1),
    index=objects("weight_map", "metadata").map(json.dumps) | odd,
    config=objects("auto_map", "model_type").map(json.dumps) | odd,
)
def test_checkpoint_folders(header: str, length: int | None, index: str, config: str) -> None:
    raw = header.encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "model.safetensors").write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw)
        for name, text in (("model.safetensors.index.json", index), ("config.json", config)):
            (path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
        base_problems(path)
        (path / "model.safetensors.index.json").unlink()
        base_problems(path)


@quick
@given(
    config=objects(
        "peft_type", "r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "init_lora_weights"
    ).map(json.dumps)
    | odd,
    header=headers.map(json.dumps) | odd | values.map(json.dumps),
)
def test_adapters(config: str, header: str) -> None:
    pytest.importorskip("torch")
    from launcher.jobs.merge.adapter import CONFIG, WEIGHTS, read_adapter

    raw = header.encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / CONFIG).write_bytes(config.encode("utf-8", "surrogatepass"))
        (Path(folder) / WEIGHTS).write_bytes(struct.pack("<Q", len(raw)) + raw)
        try:
            read_adapter(Path(folder))
        except QlError:
            return
