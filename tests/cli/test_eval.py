"""`ql eval` and `ql chat` on a run directory made by hand: the tiny Llama, a random adapter, no training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from launcher.cli.chat import Asker
from launcher.cli.main import main
from launcher.files import write_json
from launcher.records.codec import encode
from launcher.resources import resource
from manifests import new_manifest

LINEAR = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
]
MODULES = [f"model.layers.{layer}.{name}" for layer in range(4) for name in [*LINEAR, "mlp.down_proj"]]
MAKE_ADAPTER = """
import sys, torch, peft
from transformers import AutoModelForCausalLM, AutoTokenizer
base = AutoModelForCausalLM.from_pretrained(sys.argv[1])
config = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
peft.get_peft_model(base, config).save_pretrained(sys.argv[2])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
tokenizer.eos_token = "<|im_end|>"
tokenizer.save_pretrained(sys.argv[2])
"""


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose adapter changes nothing."""
    pytest.importorskip("peft")
    path = tmp_path_factory.mktemp("runs") / "tiny"
    base = resource("presets", "models", "cpu-tiny")
    subprocess.run([sys.executable, "-W", "ignore", "-c", MAKE_ADAPTER, base, path / "adapter"], check=True)
    shutil.copyfile(resource("templates", "chat", "chatml.jinja"), path / "chat_template.jinja")
    plan = {
        "backend": "axolotl", "method": "qlora", "base_model": str(base),
        "conversational": True, "compute_dtype": "float32", "on_cpu": True,
    }  # fmt: skip
    record = {
        "quant_type": "nf4",
        "double_quant": True,
        "load_dtype": "bfloat16",
        "storage_dtype": "uint8",
        "quantized_modules": MODULES,
        "skipped_modules": ["lm_head"],
    }
    facts = {"base_folder": str(base), "trainer_python": sys.executable, "state": "finished"}
    manifest = new_manifest(name="tiny", plan=plan, quantization=record, golden=None, **facts)
    write_json(path / "run.json", encode(manifest))
    return path


@pytest.fixture
def golden_file(tmp_path: Path) -> Path:
    path = tmp_path / "golden.jsonl"
    rows = [{"input": "Say sales.", "target": "sales"}, {"input": "Say billing.", "target": ["sales", "login"]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def ql(*arguments: Any, stdin: str | None = None) -> Any:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def test_a_run_is_scored_again_and_its_gates_judged(run_dir: Path, golden_file: Path) -> None:
    gates = ["--gate", "exact_match>=base", "--gate", "adapter.exact_match>base"]
    done = ql("eval", run_dir, "--golden", golden_file, *gates, "--json")
    assert done.exit_code == 1, done.output  # the second gate is missed
    facts = json.loads(done.stdout)
    assert {subject: scores["exact_match"] for subject, scores in facts["golden"].items()} == {
        "base": 0.5,
        "adapter": 0.5,
    }
    assert [gate["passed"] for gate in facts["gates"]] == [True, False]
    folder = Path(facts["folder"])
    assert folder.parent == run_dir / "eval"
    assert json.loads((folder / "eval.json").read_text())["golden"] == facts["golden"]
    assert len((folder / "scores" / "adapter.jsonl").read_text().splitlines()) == 2
    shown = ql("eval", run_dir, "--golden", golden_file, *gates).stdout  # the answers are there already
    assert "2 prompts  exact_match" in shown
    assert "MISSED (adapter exact_match 0.5 misses > 0.5)" in shown


def test_what_cannot_be_scored_is_said_before_a_model_is_loaded(
    run_dir: Path, golden_file: Path, tmp_path: Path
) -> None:
    for arguments, code, said in (
        (("latest", "--golden", golden_file, "--runs-dir", tmp_path), 2, "no run 'latest'"),
        ((run_dir, "--golden", tmp_path / "absent.jsonl"), 2, "no such data file"),
        ((run_dir, "--golden", golden_file, "--gate", "exact_mach>0"), 2, "did you mean 'exact_match'"),
        ((run_dir, "--golden", golden_file, "--gate", "merged.chrf>0"), 1, "asks for merged"),
    ):
        done = ql("eval", *arguments)
        assert (done.exit_code, said in done.stderr) == (code, True), done.output
        assert "Traceback" not in done.output


def test_a_run_without_an_adapter_cannot_be_asked(run_dir: Path, golden_file: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copyfile(run_dir / "run.json", bare / "run.json")
    for done in (ql("eval", bare, "--golden", golden_file), ql("chat", bare, "--prompt", "Say sales.")):
        assert done.exit_code == 3
        assert "not trained to its end" in done.stderr


def test_chat_answers_one_prompt(run_dir: Path) -> None:
    done = ql("chat", run_dir, "--prompt", "Say sales.", "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["prompt"] == "Say sales."
    assert answer["base"] == answer["adapter"] == {"output": "sales", "tokens": 1, "finished": True}


def test_chat_reads_questions_until_they_end(run_dir: Path) -> None:
    done = ql("chat", run_dir, stdin="Say sales.\n\n/reset\nSay login.")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == ["base:    sales", "adapter: sales", "base:    login", "adapter: login"]


def test_an_empty_prompt_is_refused(run_dir: Path) -> None:
    assert ql("chat", run_dir, "--prompt", " ").exit_code == 2


def test_a_terminal_shows_both_answers_side_by_side(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asker = Asker(os.open(os.devnull, os.O_WRONLY), "Which?", as_json=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    answer = {"tokens": 2, "finished": True}
    asker.show(
        {"base": {**answer, "output": "[bold]sales"}, "adapter": {**answer, "output": "login", "finished": False}}
    )
    asker.close()
    [row] = [line for line in capsys.readouterr().out.splitlines() if "sales" in line]
    assert row.index("[bold]sales") < row.index("login …")
