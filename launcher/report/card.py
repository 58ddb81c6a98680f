"""The model card of adapter/ and merged/: what the Hugging Face hub shows of a model, made from the manifest alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal

from launcher.resources import resource

Subject = Literal["adapter", "merged"]
# Licences that the hub knows by name, of those in presets/models; any other is "other" there, with its own name.
HUB_LICENSES = ("apache-2.0", "mit", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "gemma")
# What of the plan is the recipe; the rest says how it was made to fit the card.
RECIPE = (
    "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "sequence_len", "packing", "effective_batch_size",
    "num_epochs", "max_steps", "learning_rate", "lr_scheduler", "warmup_ratio", "optimizer", "weight_decay",
    "max_grad_norm", "eval_fraction", "evals_per_epoch", "keep", "chat_template", "seed",
)  # fmt: skip


def render_card(manifest: Mapping[str, Any], subject: Subject) -> str:
    """The card's Markdown with its metadata. Paths of the machine that trained are left out: only file names stay."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(resource("templates")),
        autoescape=False,  # Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    plan, golden = manifest["plan"], manifest.get("golden")
    scores = manifest.get("golden_scores") or {}
    return environment.get_template("model_card.md.j2").render(
        name=manifest["name"],
        metadata=_metadata(manifest, subject),
        what=_what(manifest, subject),
        base=_base(manifest),
        license=_license(manifest),
        created=manifest["created"],
        ql_version=manifest.get("ql_version", "?"),
        trainer=_trainer(manifest),
        plan=plan,
        use=_use(manifest, subject),
        data=_data(manifest),
        trained="Trained on the whole text of each row."
        if not plan["conversational"]
        else "Trained on what the assistant says, each turn with the token that ends it; the rest is context.",
        recipe={key: _value(plan[key]) for key in RECIPE if plan.get(key) is not None},
        training=_training(manifest),
        repairs=[_repair(record) for record in manifest.get("repairs") or []],
        scores=scores,
        metrics=list(dict.fromkeys(metric for values in scores.values() for metric in values)),
        golden=golden and {**golden, "file": PurePath(golden["path"]).name},
        gates=manifest.get("gates") or [],
        fidelity=_fidelity(manifest) if subject == "merged" else "",
        limits=_limits(manifest, subject),
    )


def _metadata(manifest: Mapping[str, Any], subject: Subject) -> str:
    import yaml

    plan = manifest["plan"]
    license_name = _license(manifest)
    data: dict[str, Any] = {"license": license_name}
    if license_name not in HUB_LICENSES:
        data = {"license": "other", "license_name": license_name}
        if _on_hub(plan):
            data["license_link"] = f"https://huggingface.co/{plan['base_model']}"
    if _on_hub(plan):
        data["base_model"] = plan["base_model"]
        data["base_model_relation"] = "adapter" if subject == "adapter" else "finetune"
    data["library_name"] = "peft" if subject == "adapter" else "transformers"
    data["pipeline_tag"] = "text-generation"
    data["tags"] = list(dict.fromkeys([plan["method"], "lora", plan["backend"], "ql"]))
    scores = (manifest.get("golden_scores") or {}).get(subject)
    if scores:
        golden = manifest["golden"]
        data["model-index"] = [
            {
                "name": manifest["name"],
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": PurePath(golden["path"]).name, "type": "golden-set"},
                        "metrics": [{"type": metric, "value": round(value, 4)} for metric, value in scores.items()],
                    }
                ],
            }
        ]
    text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    return text


def _on_hub(plan: Mapping[str, Any]) -> bool:
    """Whether the base is named as the hub names it: ``owner/name``, and no folder of this machine."""
    base = plan["base_model"]
    return base.count("/") == 1 and not base.startswith((".", "/", "~"))


def _base(manifest: Mapping[str, Any]) -> str:
    plan = manifest["plan"]
    if _on_hub(plan):
        return f"[{plan['base_model']}](https://huggingface.co/{plan['base_model']})"
    return (
        f"{(manifest.get('model_facts') or {}).get('title') or plan['model']} (`{PurePath(plan['base_model']).name}`)"
    )


def _license(manifest: Mapping[str, Any]) -> str:
    return (manifest.get("model_facts") or {}).get("license") or "unknown"


def _trainer(manifest: Mapping[str, Any]) -> str:
    name: str = manifest["plan"]["backend"]
    version = ((manifest.get("environment") or {}).get("versions") or {}).get(name)
    return f"{name} {version}" if version else name


def _what(manifest: Mapping[str, Any], subject: Subject) -> str:
    plan, merge = manifest["plan"], manifest.get("merge") or {}
    rank = f"rank {plan['lora_r']} on {', '.join(plan['lora_target_modules'])}"
    if subject == "adapter":
        return f"A LoRA adapter ({rank}) for {_base(manifest)}, in 16 bit."
    dequantized = merge.get("base") == "dequantized" and plan["quant_type"]
    into = "the 4-bit base that it was trained on, dequantised" if dequantized else "the base's own weights"
    return f"{_base(manifest)} with a LoRA adapter ({rank}) merged into {into}, in {merge.get('dtype', 'float16')}."


def _use(manifest: Mapping[str, Any], subject: Subject) -> str:
    plan = manifest["plan"]
    if subject == "merged":
        dtype = "half" if (manifest.get("merge") or {}).get("dtype") == "float16" else "bfloat16"
        return f"`MODEL` is this folder, or the name of this repository:\n\n```\nvllm serve MODEL --dtype {dtype}\n```"
    code = ["from peft import PeftModel", "from transformers import AutoModelForCausalLM, AutoTokenizer"]
    loading = ""
    if plan["quant_type"]:
        code[1] += ", BitsAndBytesConfig"
        code += ["", "as_in_training = BitsAndBytesConfig(", "    load_in_4bit=True,"]
        code += [f'    bnb_4bit_quant_type="{plan["quant_type"]}",']
        code += [f"    bnb_4bit_use_double_quant={plan['double_quant']},", ")"]
        loading = ", quantization_config=as_in_training"
    base = plan["base_model"] if _on_hub(plan) else "BASE"
    code += [
        "",
        f'base = AutoModelForCausalLM.from_pretrained("{base}"{loading})',
        'model = PeftModel.from_pretrained(base, "ADAPTER")',
        'tokenizer = AutoTokenizer.from_pretrained("ADAPTER")',
    ]
    return "\n".join(["`ADAPTER` is this folder, or the name of this repository:", "", "```python", *code, "```"])


def _data(manifest: Mapping[str, Any]) -> dict[str, Any]:
    data = manifest["data"]
    written = data["sha256"] if isinstance(data["sha256"], dict) else {}
    return {
        "file": PurePath(data["path"]).name,
        "sha256": data.get("input_sha256") or data["sha256"],
        "format": data.get("format") or "format unknown",
        "written": written,
        "train_rows": data.get("train_rows", "?"),
        "eval_rows": data.get("eval_rows", "?"),
        "left_out": data.get("left_out", "?"),
        "excess": data.get("excess"),
    }


def _training(manifest: Mapping[str, Any]) -> str:
    found = manifest.get("training") or {}
    if not found:
        return ""
    parts = [f"{found['steps']} optimizer steps"]
    if found.get("tokens"):
        parts.append(f"{found['tokens']:,} tokens")
    if found.get("best_eval_loss") is not None:
        parts.append(f"best evaluation loss {found['best_eval_loss']:.4f}")
    return ", ".join(parts) + "."


def _repair(record: Mapping[str, Any]) -> str:
    """A measure that the launcher took by itself: it may have changed what the recipe says."""
    step = f" at step {record['step']}" if record.get("step") is not None else ""
    return f"{record['cause']}{step}: {record['action']}"


def _fidelity(manifest: Mapping[str, Any]) -> str:
    merge = manifest.get("merge") or {}
    parts = []
    if merge.get("kl") is not None:
        parts.append(
            f"Against the model that was trained (base as in training, adapter unmerged): KL {merge['kl']:.1e}, "
            f"the same most likely token at {merge['top1_agreement']:.2%} of {merge.get('tokens', 'the')} tokens."
        )
    if merge.get("delta_error") is not None:
        parts.append(f"Rounding to {merge['dtype']} changed the adapter's delta by {merge['delta_error']:.2%}.")
    return " ".join(parts)


def _limits(manifest: Mapping[str, Any], subject: Subject) -> list[str]:
    plan, training = manifest["plan"], manifest.get("training") or {}
    limits = [
        f"Trained on rows of up to {plan['sequence_len']} tokens: longer inputs were not seen.",
        "What the base gets wrong or biased, this model may too; it was scored on the golden set alone."
        if manifest.get("golden_scores")
        else "Nothing but the evaluation loss was measured.",
    ]
    if plan.get("max_steps"):
        limits.append(f"Training was stopped after {plan['max_steps']} steps: this is not a finished model.")
    if any(not gate["passed"] for gate in manifest.get("gates") or []):
        limits.append("It missed a gate: see Scores.")
    if subject == "adapter" and plan["method"] == "qlora":
        limits.append("It was trained against a 4-bit base: on the original weights it answers a little differently.")
    if training.get("skipped_steps"):
        limits.append(f"{training['skipped_steps']} optimizer steps were skipped because gradients overflowed.")
    return [*limits, *(manifest.get("notes") or [])]


def _value(value: Any) -> str:
    return (
        ", ".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
    )
