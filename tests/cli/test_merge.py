"""``ql merge`` from the command line, with the job in a process of its own as always."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")


def ql(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "launcher", "merge", *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, root: Path) -> dict[str, Path]:
    """The tiny Llama that ql ships and a random adapter for it, with the record of a QLoRA run."""
    import torch
    from safetensors.torch import load_file, save_file

    from launcher.resources import resource

    base = resource("presets", "models", "cpu-tiny")
    folder = tmp_path_factory.mktemp("trained")
    adapter = folder / "adapter"
    adapter.mkdir()
    weights = {}
    for path in base.glob("*.safetensors"):
        weights |= load_file(path)
    generator = torch.Generator().manual_seed(0)
    lora = {}
    modules = [name.removesuffix(".weight") for name in weights if name.endswith("_proj.weight")]
    for module in modules:
        out, into = weights[f"{module}.weight"].shape
        for part, shape in (("lora_A", (4, into)), ("lora_B", (out, 4))):
            lora[f"base_model.model.{module}.{part}.weight"] = 0.05 * torch.randn(*shape, generator=generator)
    save_file(lora, adapter / "adapter_model.safetensors")
    targets = sorted({module.rsplit(".", 1)[-1] for module in modules})
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": targets}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    record: dict[str, Any] = {
        "version": 1,
        "quant_type": "nf4",
        "double_quant": True,
        "block_size": 64,
        "load_dtype": "bfloat16",
        "quantized_modules": modules,
        "device": "cpu",
    }
    (adapter / "quantization.json").write_text(json.dumps(record))
    return {"base": base, "adapter": adapter}


def test_merges_a_bare_adapter_and_checks_it(trained: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "merged"
    done = ql(
        "--base", trained["base"], "--adapter", trained["adapter"], "--out", out, "--verify", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["base"] == "dequantized"
    assert result["dtype"] == "float16"
    assert result["quantization"]["source"] == "recorded by the training run"
    assert 0 < result["delta_error"] < 0.01
    assert result["kl"] < 1e-5
    assert result["top1_agreement"] > 0.99
    assert not list(tmp_path.glob(".*"))

    checked = ql("--check", out)
    assert checked.returncode == 0
    assert "every sha256 as written" in checked.stdout
    shard = next(out.glob("*.safetensors"))
    with shard.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\xff")
    damaged = ql("--check", out)
    assert damaged.returncode == 1
    assert shard.name in damaged.stderr


def test_says_by_which_rule_a_bare_adapter_was_merged(trained: dict[str, Path], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (bare / name).write_bytes((trained["adapter"] / name).read_bytes())
    done = ql("--base", trained["base"], "--adapter", bare, "--out", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    assert "assumed: nf4, double quantisation, block 64" in done.stdout
    assert "the adapter has no record of it" in done.stdout


def test_an_adapter_for_another_base_is_refused(trained: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    other.mkdir()
    (other / "adapter_config.json").write_bytes((trained["adapter"] / "adapter_config.json").read_bytes())
    lora = load_file(trained["adapter"] / "adapter_model.safetensors")
    save_file({name: tensor.repeat(1, 2) for name, tensor in lora.items() if "lora_A" in name}
              | {name: tensor for name, tensor in lora.items() if "lora_B" in name},
              other / "adapter_model.safetensors")  # fmt: skip
    done = ql("--base", trained["base"], "--adapter", other, "--out", tmp_path / "merged")
    assert done.returncode == 1
    assert "is this the base it was trained on?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "merged").exists()
    assert not list(tmp_path.glob(".*"))


def test_merges_a_run_and_records_it(trained: dict[str, Path], tmp_path: Path) -> None:
    from launcher.records.codec import plain
    from launcher.runs.run import open_run
    from manifests import finished_run

    record = json.loads((trained["adapter"] / "quantization.json").read_text())
    facts = {"base_folder": str(trained["base"]), "base_mode": "dequantized", "quantization": record}
    run = finished_run(tmp_path / "runs", "cpu-tiny", trainer_python=sys.executable, **facts)
    for name in ("adapter", "merged"):
        shutil.rmtree(run.path / name)
    for name in ("trainer", "adapter"):
        (run.path / name).mkdir()
        for path in [*trained["adapter"].iterdir(), *trained["base"].glob("token*")]:
            (run.path / name / path.name).write_bytes(path.read_bytes())
    (run.path / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")

    done = ql("latest", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    merged = run.path / "merged"
    assert (merged / "chat_template.jinja").read_text() == "{{ messages[0]['content'] }}"
    kept = open_run(run.path)
    assert plain(kept.record.merge.shards) == json.loads(done.stdout)["shards"]
    assert kept.stage("merge").state == "done"

    kept.record.merge.amend({"kl": 0.25, "top1_agreement": 0.5, "relative_l2": 0.125, "tokens": 9})
    kept.save()
    again = ql("latest", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert open_run(run.path).record.merge.kl == 0.25, "the same weights: what they were verified to be holds"

    other = ql("latest", "--base-mode", "original", cwd=tmp_path)
    assert other.returncode == 2
    assert "the output folder is not empty" in other.stderr
    assert ql("latest", "--base-mode", "original", "--out", tmp_path / "other", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "give a RUN, or --base, --adapter, --out as well"),
        (["no-such-run"], 2, "no run 'no-such-run'"),
        (["--check", "nowhere"], 2, "merge.json"),
        (
            ["--base", "nowhere", "--adapter", "nowhere", "--out", "merged"],
            2,
            "nowhere: no such folder",
        ),
    ],
)
def test_wrong_usage(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = ql(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_does_not_import_torch(root: Path) -> None:
    code = "import sys, launcher.cli.merge, launcher.merge.manifest; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
