"""``ql launch --config``: what an edited config is taken for, and what is refused, with its line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from launcher.catalog import Gpu, load_gpu
from launcher.cli.main import main
from launcher.errors import BadInput, QlError, Unreadable
from launcher.preparing.asked import Asked
from launcher.preparing.export import export
from launcher.preparing.prepare import prepare, prepare_asked
from launcher.preparing.prepared import Prepared
from launcher.preparing.request import make_request

BACKENDS = ("axolotl", "unsloth")


@pytest.fixture(scope="module", params=BACKENDS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tickets: Path) -> Path:
    """A folder that ``ql export`` wrote."""
    folder = tmp_path_factory.mktemp(request.param)
    export(prepare(make_request(preset="cpu-tiny", backend=request.param), tickets), folder)
    return folder


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy of it, to edit."""
    import shutil

    return Path(shutil.copytree(exported, tmp_path / "mine"))


def edit(folder: Path, pattern: str, text: str) -> Path:
    """Replace the one line that begins with ``pattern``."""
    path = folder / "config.yaml"
    changed, count = re.subn(rf"^{pattern}.*$", text, path.read_text(), flags=re.MULTILINE)
    assert count == 1, pattern
    path.write_text(changed)
    return path


def card_here() -> Gpu:
    """This machine has no GPU."""
    return load_gpu("cpu")


def prepared(path: Path, golden: Path | None = None, data: Path | None = None, **flags: Any) -> Prepared:
    asked: dict[str, Any] = {"preset": "cpu-tiny", **flags}
    files = {"data": data and str(data), "config": str(path), "golden": golden and str(golden)}
    return prepare_asked(Asked(**files, **asked), card_here)


def line_of(path: Path, start: str) -> int:
    return next(n for n, line in enumerate(path.read_text().splitlines(), 1) if line.startswith(start))


def test_an_exported_config_is_the_plan_it_came_from(folder: Path, tickets: Path, golden: Path) -> None:
    backend = "unsloth" if (folder / "train.py").exists() else "axolotl"
    written = prepare(make_request(preset="cpu-tiny", backend=backend), tickets)
    for data in (None, tickets):
        found = prepared(folder / "config.yaml", golden, data=data)
        wanted, given = written.plan.to_dict(), found.plan.to_dict()
        for key in set(wanted) - {"reasons", "eval_fraction"}:
            assert given[key] == wanted[key], key
        assert given["eval_fraction"] == pytest.approx(wanted["eval_fraction"], abs=0.001)
        assert found.files == {**written.files, "config.yaml": (folder / "config.yaml").read_text()}
        assert found.overlay == {}
        assert found.memory == written.memory


def test_the_run_gets_the_file_byte_for_byte(folder: Path, tmp_path: Path, tickets: Path) -> None:
    path = folder / "config.yaml"
    odd = path.read_bytes().replace(b"\n", b"\r\n") + "# é, and no end of line".encode()
    path.write_bytes(odd)
    for number, data in enumerate((None, tickets)):
        run = tmp_path / f"run{number}"
        run.mkdir()
        facts = prepared(path, data=data).write(run)
        assert (run / "config.yaml").read_bytes() == odd
        assert (run / "chat_template.jinja").read_bytes() == (folder / "chat_template.jinja").read_bytes()
        for name in ("train", "eval"):
            assert (run / f"data/{name}.jsonl").read_bytes() == (folder / f"data/{name}.jsonl").read_bytes()
        assert facts.train_rows == 190
        assert facts.eval_rows == 10
        sample = [json.loads(line) for line in (run / "data/sample.jsonl").read_text().splitlines()]
        assert len(sample) == 16
        assert all("messages" in row for row in sample)


def test_edits_reach_the_plan_with_their_line(folder: Path) -> None:
    path = edit(folder, "lora_r:", "lora_r: 4")
    edit(folder, "learning_rate:", "learning_rate: 0.001  # mine")
    plan = prepared(path).plan
    assert plan.lora_r == 4
    assert plan.learning_rate == 0.001
    assert plan.reasons["lora_r"] == f"config.yaml:{line_of(path, 'lora_r')}"


def test_keys_that_the_plan_does_not_set_are_passed_through(folder: Path) -> None:
    if (folder / "train.py").exists():
        pytest.skip("train.py reads no other keys, and its schema refuses them")
    path = folder / "config.yaml"
    path.write_text(path.read_text() + "peft_use_rslora: true\nadam_beta2: 0.95\nneftune_noise_alpha: 5\n")
    assert yaml.safe_load(prepared(path).files["config.yaml"])["neftune_noise_alpha"] == 5


def test_paths_that_mean_something_else_in_the_run_are_changed(folder: Path) -> None:
    path = edit(folder, "output_dir:", "output_dir: ./elsewhere")
    (folder / "rows").mkdir()
    (folder / "data" / "train.jsonl").rename(folder / "rows" / "mine.jsonl")
    unsloth = (folder / "train.py").exists()
    text = path.read_text().replace("data/train.jsonl", "rows/mine.jsonl").replace("chat_template.jinja", "my.jinja")
    path.write_text(text)
    (folder / "chat_template.jinja").rename(folder / "my.jinja")
    found = prepared(path)
    data = {"train_file": "data/mine.jsonl"} if unsloth else {"datasets": yaml.safe_load(text)["datasets"]}
    if not unsloth:
        data["datasets"][0]["path"] = "data/mine.jsonl"
    template = {"chat_template" if unsloth else "chat_template_jinja": "chat_template.jinja"}
    assert found.overlay == {"output_dir": "trainer", **template, **data}
    run = folder / "run"
    run.mkdir()
    found.write(run)
    assert (run / "data" / "mine.jsonl").read_bytes() == (folder / "rows" / "mine.jsonl").read_bytes()
    assert (run / "chat_template.jinja").read_bytes() == (folder / "my.jinja").read_bytes()


def test_a_data_file_that_the_trainer_would_take_for_a_pattern_gets_a_plain_name(folder: Path) -> None:
    path = folder / "config.yaml"
    (folder / "data" / "train.jsonl").rename(folder / "data" / "rows [1] $HOME.jsonl")
    path.write_text(path.read_text().replace("data/train.jsonl", '"data/rows [1] $HOME.jsonl"'))
    found = prepared(path)
    assert [item.target for item in found.rows.files if item.trains] == ["data/rows-1-HOME.jsonl"]
    assert "data/rows-1-HOME.jsonl" in str(found.overlay)


def test_a_relative_base_model_is_found_beside_the_config(folder: Path, root: Path) -> None:
    (folder / "base").symlink_to(root / "presets" / "models" / "cpu-tiny")
    path = edit(folder, "base_model:", "base_model: ./base")
    found = prepared(path)
    assert Path(found.overlay["base_model"]).is_absolute()
    assert found.plan.base_model == found.overlay["base_model"]
    assert found.base_folder == Path(found.plan.base_model)


def test_every_flag_that_contradicts_the_file_is_named_with_its_line(folder: Path) -> None:
    path = folder / "config.yaml"
    unsloth = (folder / "train.py").exists()
    settings = {"learning_rate": 1e-5, "lora_r": 8, "seed": 42}
    other = "axolotl" if unsloth else "unsloth"
    with pytest.raises(Unreadable) as error:
        prepared(path, settings=settings, method="lora", model="llama-2-7b", backend=other)
    said = [(problem.line, problem.message) for problem in error.value.problems]
    method = "load_in_4bit" if unsloth else "adapter"
    assert [line for line, _ in said] == [
        line_of(path, "learning_rate"), line_of(path, "lora_r"), None, line_of(path, method),
        line_of(path, "base_model"),
    ]  # fmt: skip
    assert said[0][1] == "learning_rate is 0.002 here, and --set learning_rate says 1e-05"
    assert all("seed" not in message for _, message in said)


def test_flags_that_agree_are_fine(folder: Path) -> None:
    backend = "unsloth" if (folder / "train.py").exists() else "axolotl"
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    settings = {"learning_rate": 0.002, "lora_target_modules": modules, "keep": "best", "compute_dtype": "float32"}
    assert prepared(folder / "config.yaml", settings=settings, method="qlora", backend=backend, model="cpu-tiny")


def test_a_flag_for_what_the_file_leaves_open_is_refused_too(folder: Path) -> None:
    with pytest.raises(Unreadable, match="max_steps") as error:
        prepared(folder / "config.yaml", settings={"max_steps": 5})
    assert "--max-steps says 5" in str(error.value)


def test_findings_of_ql_validate_stop_it(folder: Path) -> None:
    path = folder / "config.yaml"
    path.write_text(path.read_text() + "lora_rank: 8\n")
    with pytest.raises(BadInput, match="QL101") as error:
        prepared(path)
    assert error.value.problems[0].line == len(path.read_text().splitlines())


def test_data_is_always_looked_at(folder: Path, tickets: Path) -> None:
    (folder / "data" / "eval.jsonl").unlink()
    with pytest.raises(BadInput, match="QL801"):
        prepared(folder / "config.yaml")
    prepared(folder / "config.yaml", data=tickets)  # which brings its own
    (folder / "data" / "eval.jsonl").write_text('{"text": "no messages"}\n')
    with pytest.raises(BadInput, match="QL802"):
        prepared(folder / "config.yaml")


def test_speed_and_cost_are_those_of_the_file(folder: Path, tickets: Path) -> None:
    backend = "unsloth" if (folder / "train.py").exists() else "axolotl"
    written = prepare(make_request(preset="cpu-tiny", backend=backend), tickets)
    found = prepared(folder / "config.yaml", data=tickets)
    assert found.estimate == written.estimate


def test_choices_that_ql_would_not_plan_still_launch(foreign: Path) -> None:
    lines = "optimizer: lion_8bit\nattn_implementation: flash_attention_2\ngradient_checkpointing: offload\n"
    foreign.write_text(foreign.read_text().replace("bf16: false", "bf16: true") + lines)
    found = prepared(foreign, preset=None, gpu="a10g")
    assert found.plan.optimizer == "lion_8bit"
    assert found.memory.fits
    assert (found.estimate.peak_gib or 0) > 0
    assert (found.estimate.tokens_per_second or 0) > 0, "an estimate of the file, not of what ql would plan"


def test_golden_rows_in_the_training_data_are_errors(folder: Path, tmp_path: Path) -> None:
    row = json.loads((folder / "data" / "train.jsonl").read_text().splitlines()[0])
    golden = tmp_path / "golden.jsonl"
    golden.write_text(json.dumps({"input": row["messages"][:-1], "target": row["messages"][-1]["content"]}) + "\n")
    with pytest.raises(BadInput, match="QL804"):
        prepared(folder / "config.yaml", golden)
    prepared(folder / "config.yaml", golden, allow_overlap=True)


def test_data_beside_a_config_that_reads_other_files(folder: Path, tickets: Path) -> None:
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("data/train.jsonl", "data/mine.jsonl"))
    with pytest.raises(Unreadable, match=r"data/mine\.jsonl here, and --data becomes data/train\.jsonl") as error:
        prepared(path, data=tickets)
    assert error.value.problems[0].line


def test_the_config_alone_is_enough_with_data(folder: Path, tmp_path: Path, tickets: Path) -> None:
    """A config that is kept in git without its data and template."""
    alone = tmp_path / "alone" / "config.yaml"
    alone.parent.mkdir()
    alone.write_bytes((folder / "config.yaml").read_bytes())
    found = prepared(alone, data=tickets)
    assert found.files["chat_template.jinja"] == (folder / "chat_template.jinja").read_text()
    if (folder / "train.py").exists():
        assert found.files["train.py"] == (folder / "train.py").read_text()


def test_an_edited_train_py_runs_and_is_mentioned(folder: Path) -> None:
    script = folder / "train.py"
    if not script.exists():
        pytest.skip("Axolotl has no script")
    script.write_text(script.read_text() + "\n# mine\n")
    found = prepared(folder / "config.yaml")
    assert found.files["train.py"].endswith("# mine\n")
    assert any("train.py" in note for note in found.notes)


AXOLOTL = """\
base_model: {base}
adapter: lora
lora_r: 4
lora_alpha: 8
lora_target_linear: true
lora_mlp_kernel: false
lora_qkv_kernel: false
lora_o_kernel: false
lora_embedding_kernel: false
datasets:
  - path: rows.jsonl
    type: {type}
val_set_size: 0.1
evals_per_epoch: 2
eval_batch_size: 1
sequence_len: 128
learning_rate: 2e-4
num_epochs: 2
bf16: false
fp16: false
"""


@pytest.fixture
def foreign(tmp_path: Path, root: Path) -> Path:
    """A config that ql has not written."""
    rows = [{"instruction": f"say {n}", "input": "", "output": f"it is {n}"} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = tmp_path / "mine.yaml"
    path.write_text(AXOLOTL.format(base=root / "presets" / "models" / "cpu-tiny", type="alpaca"))
    return path


def test_a_config_from_elsewhere(foreign: Path, tmp_path: Path, golden: Path) -> None:
    found = prepared(foreign)
    assert (found.plan.method, found.plan.compute_dtype, found.plan.sequence_len) == ("lora", "float32", 128)
    assert (found.plan.eval_rows, found.plan.eval_fraction, found.plan.conversational) == (4, 0.1, False)
    assert found.overlay["output_dir"] == "trainer"
    assert found.overlay["datasets"] == [{"path": "data/rows.jsonl", "type": "alpaca"}]
    run = tmp_path / "run"
    run.mkdir()
    facts = found.write(run)
    assert (facts.train_rows, facts.eval_rows) == (36, 4)
    assert json.loads((run / "data" / "sample.jsonl").read_text().splitlines()[0])["text"].startswith("say 0")
    with pytest.raises(BadInput, match="alpaca builds prompts of its own"):
        prepared(foreign, golden)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rl: dpo", "not on preferences"),
        ("deepspeed: zero2.json", "one GPU"),
        ("load_in_8bit: true", "4 bit"),
        ("relora: true\njagged_restart_steps: 10", "ReLoRA"),
    ],
)
def test_what_axolotl_trains_and_a_launch_does_not(foreign: Path, line: str, said: str) -> None:
    foreign.write_text(foreign.read_text() + line + "\n")
    with pytest.raises(BadInput, match=said) as error:
        prepared(foreign)
    assert error.value.problems[0].line == 21


def test_full_fine_tuning_is_refused(foreign: Path) -> None:
    lines = [line for line in foreign.read_text().splitlines() if not line.startswith(("adapter", "lora"))]
    foreign.write_text("\n".join(lines))
    with pytest.raises(BadInput, match="no adapter"):
        prepared(foreign)


def test_data_sets_of_the_hub_are_refused_with_their_line(foreign: Path) -> None:
    foreign.write_text(foreign.read_text().replace("rows.jsonl", "tatsu-lab/alpaca"))
    with pytest.raises(BadInput, match="tatsu-lab/alpaca is not a JSONL file") as error:
        prepared(foreign)
    assert error.value.problems[0].line == 11


def test_a_run_in_which_no_row_would_be_left(foreign: Path) -> None:
    text = foreign.read_text().replace("type: alpaca", "type: chat_template\nchat_template: chatml")
    foreign.write_text(text.replace("sequence_len: 128", "sequence_len: 16"))
    rows = [{"messages": [{"role": "user", "content": "w " * 99}, {"role": "assistant", "content": "x"}]}] * 4
    (foreign.parent / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BadInput, match="no row is left to train on"):
        prepared(foreign)


@pytest.mark.parametrize(
    "text", ["", "- 1\n", "a: [\n", "gpu: a10g\nmodel: x\nrecipe: qlora\n", "a: 1\na: 2\n", "\x00"]
)
def test_what_is_no_training_config(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(QlError) as error:
        prepared(path)
    assert error.value.exit_code in (1, 2)
    assert error.value.problems


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        prepared(tmp_path / "none.yaml")


# --- the command line ---


def ql(*argv: str) -> Result:
    return CliRunner().invoke(main, list(argv))


def test_a_dry_run_prints_the_file_and_the_plan(folder: Path, golden: Path) -> None:
    path = edit(folder, "lora_r:", "lora_r: 4")
    done = ql("launch", "--config", str(path), "--gpu", "cpu", "--golden", str(golden), "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["plan"]["lora_r"] == 4
    assert facts["files"]["config.yaml"] == path.read_text()


def test_without_data_and_config_the_usage_is_wrong() -> None:
    done = ql("launch", "--preset", "cpu-tiny", "--dry-run")
    assert done.exit_code == 2
    assert "--data" in done.stderr


def test_errors_of_the_file_exit_1_and_conflicts_2(folder: Path) -> None:
    path = folder / "config.yaml"
    assert ql("launch", "--config", str(path), "--gpu", "cpu", "--dry-run", "--set", "lora_r=3").exit_code == 2
    path.write_text(path.read_text() + "lora_rank: 8\n")
    done = ql("launch", "--config", str(path), "--gpu", "cpu", "--dry-run")
    assert done.exit_code == 1
    assert "lora_rank" in done.stderr


def test_golden_prompts_that_stand_twice_become_a_note(folder: Path, tmp_path: Path) -> None:
    golden = tmp_path / "golden.jsonl"
    golden.write_text('{"input": "a", "target": "b"}\n{"input": "a", "target": "c"}\n')
    assert any("the same prompt as line 1" in note for note in prepared(folder / "config.yaml", golden).notes)
