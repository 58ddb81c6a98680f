"""The model card of adapter/ and merged/: what the Hugging Face hub shows of a model, made from the manifest alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Literal

from launcher.records.codec import encode
from launcher.records.run import Manifest, Repair
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


def render_card(record: Manifest, subject: Subject) -> str:
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
    plan, golden = record.plan, record.golden
    scores = record.golden_scores
    return environment.get_template("model_card.md.j2").render(
        name=record.name,
        metadata=_metadata(record, subject),
        what=_what(record, subject),
        base=_base(record),
        license=_license(record),
        created=record.created,
        ql_version=record.ql_version or "?",
        trainer=_trainer(record),
        plan=plan,
        use=_use(record, subject),
        data=_data(record),
        trained="Trained on the whole text of each row."
        if not plan["conversational"]
        else "Trained on what the assistant says, each turn with the token that ends it; the rest is context.",
        recipe={key: _value(plan[key]) for key in RECIPE if plan.get(key) is not None},
        training=_training(record),
        repairs=[_repair(repair) for repair in record.repairs],
        scores=scores,
        metrics=list(dict.fromkeys(metric for values in scores.values() for metric in values)),
        golden=golden and {**encode(golden), "file": PurePath(golden.path).name},
        gates=record.gates,
        fidelity=_fidelity(record) if subject == "merged" else "",
        limits=_limits(record, subject),
    )


def _metadata(record: Manifest, subject: Subject) -> str:
    import yaml

    plan = record.plan
    license_name = _license(record)
    data: dict[str, object] = {"license": license_name}
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
    scores = record.golden_scores.get(subject)
    if scores and record.golden:
        data["model-index"] = [
            {
                "name": record.name,
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": PurePath(record.golden.path).name, "type": "golden-set"},
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


def _base(record: Manifest) -> str:
    plan = record.plan
    if _on_hub(plan):
        return f"[{plan['base_model']}](https://huggingface.co/{plan['base_model']})"
    return f"{record.model_facts.title or plan['model']} (`{PurePath(plan['base_model']).name}`)"


def _license(record: Manifest) -> str:
    return record.model_facts.license or "unknown"


def _trainer(record: Manifest) -> str:
    name: str = record.plan["backend"]
    version = record.environment.versions.get(name)
    return f"{name} {version}" if version else name


def _what(record: Manifest, subject: Subject) -> str:
    plan, merge = record.plan, record.merge
    rank = f"rank {plan['lora_r']} on {', '.join(plan['lora_target_modules'])}"
    if subject == "adapter":
        return f"A LoRA adapter ({rank}) for {_base(record)}, in 16 bit."
    dequantized = merge is not None and merge.base == "dequantized" and plan["quant_type"]
    dtype = merge.dtype if merge else "float16"
    into = "the 4-bit base that it was trained on, dequantised" if dequantized else "the base's own weights"
    return f"{_base(record)} with a LoRA adapter ({rank}) merged into {into}, in {dtype}."


def _use(record: Manifest, subject: Subject) -> str:
    plan = record.plan
    if subject == "merged":
        dtype = "half" if record.merge and record.merge.dtype == "float16" else "bfloat16"
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


def _data(record: Manifest) -> dict[str, object]:
    data = record.data
    assert data is not None
    return {
        "file": PurePath(data.path).name,
        "sha256": data.given,
        "format": data.format or "format unknown",
        "written": data.written,
        "train_rows": _or_unknown(data.train_rows),
        "eval_rows": _or_unknown(data.eval_rows),
        "left_out": _or_unknown(data.left_out),
        "excess": data.excess,
    }


def _or_unknown(count: int | None) -> int | str:
    return "?" if count is None else count


def _training(record: Manifest) -> str:
    found = record.training
    if not found:
        return ""
    parts = [f"{found.steps} optimizer steps"]
    if found.tokens:
        parts.append(f"{found.tokens:,} tokens")
    if found.best_eval_loss is not None:
        parts.append(f"best evaluation loss {found.best_eval_loss:.4f}")
    return ", ".join(parts) + "."


def _repair(repair: Repair) -> str:
    """A measure that the launcher took by itself: it may have changed what the recipe says."""
    step = f" at step {repair.step}" if repair.step is not None else ""
    return f"{repair.cause}{step}: {repair.action}"


def _fidelity(record: Manifest) -> str:
    merge = record.merge
    if merge is None:
        return ""
    parts = []
    tokens = "the" if merge.tokens is None else merge.tokens
    if merge.kl is not None and merge.top1_agreement is not None:
        parts.append(
            f"Against the model that was trained (base as in training, adapter unmerged): KL {merge.kl:.1e}, "
            f"the same most likely token at {merge.top1_agreement:.2%} of {tokens} tokens."
        )
    if merge.delta_error is not None:
        parts.append(f"Rounding to {merge.dtype} changed the adapter's delta by {merge.delta_error:.2%}.")
    return " ".join(parts)


def _limits(record: Manifest, subject: Subject) -> list[str]:
    plan, training = record.plan, record.training
    limits = [
        f"Trained on rows of up to {plan['sequence_len']} tokens: longer inputs were not seen.",
        "What the base gets wrong or biased, this model may too; it was scored on the golden set alone."
        if record.golden_scores
        else "Nothing but the evaluation loss was measured.",
    ]
    if plan.get("max_steps"):
        limits.append(f"Training was stopped after {plan['max_steps']} steps: this is not a finished model.")
    if any(not gate.passed for gate in record.gates):
        limits.append("It missed a gate: see Scores.")
    if subject == "adapter" and plan["method"] == "qlora":
        limits.append("It was trained against a 4-bit base: on the original weights it answers a little differently.")
    if training and training.skipped_steps:
        limits.append(f"{training.skipped_steps} optimizer steps were skipped because gradients overflowed.")
    return [*limits, *record.warnings, *record.notes]


def _value(value: Any) -> str:
    return (
        ", ".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
    )
