"""Exported folders run under the bare trainers, where ql cannot be imported; launched ones give the same adapter."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.catalog import list_presets, load_gpu, load_model
from launcher.configs.render import render_config
from launcher.planning.decide import make_plan
from launcher.preparing.export import export
from launcher.preparing.prepare import prepare
from launcher.preparing.request import make_request
from launcher.records.codec import decode, encode
from launcher.records.run import Training
from launcher.trainers import get_trainer

pytestmark = pytest.mark.acceptance

STEPS, ROWS = 30, 16  # optimizer steps, and rows in each
OFF = {
    "HF_HUB_OFFLINE": "1",
    "AXOLOTL_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "OMP_NUM_THREADS": "1",  # sums are taken in one order, so that two runs can be compared bit for bit
}
# An editable install of ql would be found anywhere: importing it is made an error. So is recomputing a layer, which
# the preset switches off: a trainer may not hear that. (What is checkpointed beside layers are the chunks of a loss.)
GUARD = """
import runpy, sys, torch.utils.checkpoint
sys.modules["launcher"] = None
sys.argv[:] = sys.argv[1:]
checkpoint = torch.utils.checkpoint.checkpoint
def no_layer(function, *arguments, **options):
    assert not hasattr(function, "func"), f"recomputes {function.func}"
    return checkpoint(function, *arguments, **options)
torch.utils.checkpoint.checkpoint = no_layer
"""
# Bare Axolotl draws the adapter's first weights unseeded: two of its runs differ. A launched run seeds them.
SEEDED = "torch.manual_seed(42)\n"
# And on a CPU with AVX512-BF16 it loses gradients from its first evaluation on (`keep_trainable` in launcher/inject).
TRAINABLE = "import bitsandbytes.nn.modules as modules; modules.has_avx512bf16 = lambda: False\n"
BARE = {
    "axolotl": (
        GUARD + SEEDED + TRAINABLE + "runpy.run_module('axolotl.cli.main', run_name='__main__')",
        ["axolotl", "train", "config.yaml", "--launcher", "python"],
    ),
    "unsloth": (GUARD + "runpy.run_path('train.py', run_name='__main__')", ["train.py", "config.yaml"]),
}


@dataclass(frozen=True)
class Trained:
    """One exported folder, trained bare, and a copy of it, launched."""

    backend: str
    bare: Path
    launched: Path
    outcome: Training
    heard: list[dict[str, Any]]


@pytest.fixture(scope="module", params=["axolotl", "unsloth"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tickets: Path) -> Trained:
    backend: str = request.param
    settings = {"max_steps": STEPS, "evals_per_epoch": 2, "effective_batch_size": ROWS, "micro_batch_size": ROWS // 2}
    prepared = prepare(make_request(preset="cpu-tiny", backend=backend, settings=settings), tickets)
    assert prepared.plan.seed == 42
    folder = tmp_path_factory.mktemp(backend)
    for name in ("bare", "launched"):
        export(prepared, folder / name)
    script, arguments = BARE[backend]
    with pytest.MonkeyPatch.context() as patch:
        for key, value in OFF.items():
            patch.setenv(key, value)
        done = subprocess.run(
            [sys.executable, "-P", "-c", script, *arguments],
            cwd=folder / "bare",
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        heard: list[dict[str, Any]] = []
        outcome = get_trainer(backend).launch.train(
            folder / "launched", python=sys.executable, memory_fraction=None, on_event=heard.append
        )
    return Trained(backend, folder / "bare", folder / "launched", outcome, heard)


def tensors(folder: Path) -> dict[str, tuple[str, list[int], bytes]]:
    """Every tensor of the folder's adapter: dtype, shape, bytes."""
    data = (folder / "trainer" / "adapter_model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length :]
    return {
        name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])]) for name, entry in header.items()
    }


def test_bare_and_launched_give_equal_adapters(trained: Trained) -> None:
    bare, launched = tensors(trained.bare), tensors(trained.launched)
    assert sorted(bare) == sorted(launched)
    assert [name for name in bare if bare[name] != launched[name]] == []


def test_the_adapter_is_trained_in_float32_on_every_linear_layer(trained: Trained) -> None:
    adapter = tensors(trained.bare)
    assert {dtype for dtype, _, _ in adapter.values()} == {"F32"}
    assert len(adapter) == 4 * 7 * 2  # layers, linears, A and B
    moved = [name for name, (_, _, data) in adapter.items() if "lora_B" in name and any(data)]
    assert len(moved) == 4 * 7  # B starts at zero


def test_the_bare_folder_holds_what_serving_needs(trained: Trained) -> None:
    output = trained.bare / "trainer"
    for name in ("adapter_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (output / name).is_file(), name
    assert (output / "chat_template.jinja").read_text() == (trained.bare / "chat_template.jinja").read_text()
    eos = yaml.safe_load((trained.bare / "config.yaml").read_text())
    eos = eos["special_tokens"]["eos_token"] if trained.backend == "axolotl" else eos["eos_token"]
    assert json.loads((output / "tokenizer_config.json").read_text())["eos_token"] == eos


def test_nothing_is_written_beside_the_output(trained: Trained) -> None:
    given = {"config.yaml", "chat_template.jinja", "data", "trainer", get_trainer(trained.backend).schema}
    assert {path.name for path in trained.bare.iterdir()} == given | (
        {"train.py"} if trained.backend == "unsloth" else set()
    )


def test_the_adapter_is_trained_in_float32(trained: Trained) -> None:
    assert {dtype for dtype, _, _ in tensors(trained.launched).values()} == {"F32"}


def test_the_loss_is_finite_and_falls(trained: Trained) -> None:
    losses = [event["loss"] for event in trained.heard if event["event"] == "log"]
    evaluated = [event["eval_loss"] for event in trained.heard if event["event"] == "eval"]
    assert len(losses) == STEPS
    assert None not in losses + evaluated  # null stands for a number that is not finite
    # The launcher tries an evaluation after the first step, long before the first one that is planned.
    assert [event["step"] for event in trained.heard if event["event"] == "eval"] == [0, 1, STEPS // 2, STEPS]
    assert evaluated[0] > evaluated[-1]
    assert sum(losses[:5]) > sum(losses[-5:])


def test_telemetry_says_what_happened(trained: Trained) -> None:
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for event in trained.heard:
        by_kind.setdefault(event["event"], []).append(event)
    assert "error" not in by_kind
    # Saved: what the launcher tries after the first step, and what is planned.
    assert [len(by_kind[kind]) for kind in ("train_begin", "log", "save", "train_end")] == [1, STEPS, 3, 1]
    (begin,), (end,) = by_kind["train_begin"], by_kind["train_end"]
    assert begin["max_steps"] == STEPS
    assert begin["trainable_parameters"] == sum(len(data) // 4 for _, _, data in tensors(trained.launched).values())
    assert begin["versions"][trained.backend]
    assert (end["step"], end["stopped"]) == (STEPS, False)
    for event in by_kind["log"]:
        assert {"epoch", "loss", "learning_rate", "grad_norm", "tokens_per_second", "peak_memory_gib"} <= set(event)
        assert event["tokens_per_second"] > 0
        assert 0.1 < event["peak_memory_gib"] < 8
    best = min(event["eval_loss"] for event in by_kind["eval"][1:])
    assert end["best_eval_loss"] == pytest.approx(best)
    on_disk = [json.loads(line) for line in (trained.launched / "events.jsonl").read_text().splitlines()]
    assert on_disk == trained.heard


def test_tokens_are_counted_without_padding(trained: Trained) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(trained.launched / "trainer" / "tokenizer.json"))
    rows = (trained.launched / "data" / "train.jsonl").read_text().splitlines()
    contents = ["".join(message["content"] for message in json.loads(row)["messages"]) for row in rows]
    lengths = [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in contents]
    counted = [event["tokens"] for event in trained.heard if event["event"] == "log"]
    # Each row has a few tokens of the template around its contents.
    for tokens in counted:
        assert ROWS * min(lengths) < tokens <= ROWS * (max(lengths) + 32)
    assert len(set(counted)) > 1


def test_the_outcome_is_for_the_manifest(trained: Trained) -> None:
    outcome = trained.outcome
    assert outcome.steps == STEPS
    assert outcome.seconds > 0
    assert outcome.best_checkpoint in {f"checkpoint-{STEPS // 2}", f"checkpoint-{STEPS}"}
    assert decode(Training, json.loads(json.dumps(encode(outcome)))) == outcome


def test_the_quantisation_is_recorded(trained: Trained) -> None:
    record = json.loads((trained.launched / "trainer" / "quantization.json").read_text())
    assert (record["version"], record["backend"], record["method"]) == (1, trained.backend, "qlora")
    assert (record["quant_type"], record["double_quant"], record["block_size"]) == ("nf4", True, 64)
    assert (record["compute_dtype"], record["load_dtype"], record["storage_dtype"]) == ("float32", "float32", "uint8")
    linears = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
    linears += ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
    assert record["quantized_modules"] == sorted(f"model.layers.{n}.{linear}" for n in range(4) for linear in linears)
    assert record["skipped_modules"] == ["lm_head"]
    assert not (trained.bare / "trainer" / "quantization.json").exists()


def test_the_overlay_says_all_that_was_added(trained: Trained) -> None:
    overlay = yaml.safe_load((trained.launched / "overlay.yaml").read_text())
    assert overlay["environment"]["QL_EVENTS"].endswith("events.jsonl")
    assert overlay["command"][0] == sys.executable
    assert (trained.launched / "config.yaml").read_bytes() == (trained.bare / "config.yaml").read_bytes()


# --- every preset through Axolotl's own loader ---

LOAD = """
import json, sys
from axolotl.cli import config as loader

for line in sys.stdin:
    job = json.loads(line)
    loader.gpu_capabilities = lambda: (job["capabilities"], {"torch_version": "2.11.0"})
    try:
        loaded = loader.load_cfg(job["path"])
        lost = {key: value for key, value in job["config"].items() if key not in loaded}
        out = {"error": None, "lost": lost, "loaded": {key: loaded[key] for key in job["config"] if key in loaded}}
    except Exception as error:
        out = {"error": f"{type(error).__name__}: {error}"}
    print("RESULT " + json.dumps({"preset": job["preset"], **out}, default=str))
"""
# Read, and then replaced by Axolotl: the plugins' paths, and "auto" by what this machine has.
REWRITTEN = {"datasets", "test_datasets", "tf32", "chat_template_jinja", "base_model", "dataset_prepared_path"}


def test_every_preset_passes_axolotls_own_loader(tmp_path: Path) -> None:
    jobs = []
    for preset in list_presets():
        plan = make_plan(make_request(preset=preset, backend="axolotl"))
        gpu, model = load_gpu(plan.gpu), load_model(plan.model)
        folder = tmp_path / preset
        folder.mkdir()
        architecture = {
            "model_type": model.model_type,
            "architectures": [f"{model.model_type.capitalize()}ForCausalLM"],
            "hidden_size": model.hidden_size,
            "intermediate_size": model.intermediate_size,
            "num_hidden_layers": model.num_layers,
            "num_attention_heads": model.num_attention_heads,
            "num_key_value_heads": model.num_key_value_heads,
            "vocab_size": model.vocab_size,
            "max_position_embeddings": model.max_position_embeddings,
        }
        (folder / "config.json").write_text(json.dumps(architecture))  # the loader reads the model's architecture
        text = render_config(plan, {"eos": "</s>", "eot": "</s>", "pad": "<unk>"})["config.yaml"]
        config = yaml.safe_load(text) | {"base_model": str(folder), "output_dir": str(folder / "trainer")}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / "chat_template.jinja").write_text("{{ messages }}")
        capability = f"sm_{gpu.compute_capability:.1f}".replace(".", "") if gpu.kind == "cuda" else None
        capabilities = {"bf16": gpu.supports_bf16, "fp8": False, "tf32": gpu.compute_capability >= 8, "n_gpu": 1}
        jobs.append(
            {
                "preset": preset,
                "path": str(folder / "config.yaml"),
                "config": config,
                "capabilities": capabilities | {"compute_capability": capability},
            }
        )
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOAD],
        input="".join(json.dumps(job) + "\n" for job in jobs),
        env=os.environ | OFF,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    results = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert len(results) == len(jobs), done.stderr[-4000:]
    wrong = [
        f"{found['preset']}: {found['error'] or found['lost']}" for found in results if found["error"] or found["lost"]
    ]
    assert not wrong, "\n".join(wrong)
    for job, result in zip(jobs, results, strict=True):
        loaded = result["loaded"]
        changed = {
            key: (value, loaded[key])
            for key, value in job["config"].items()
            if key not in REWRITTEN and loaded[key] != value
        }
        assert changed == {}, job["preset"]
