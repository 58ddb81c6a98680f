"""docs/reference/presets.md: the cards, models and presets there are, from presets/, with what each preset needs."""

from __future__ import annotations

from launcher.catalog import list_gpus, list_models, list_presets, load_gpu, load_model, load_preset
from launcher.planning.forecast import plan_and_forecast
from launcher.preparing.request import make_request
from references.text import code, page, table


def presets_page() -> str:
    return page(
        "Presets, cards, models",
        "`presets/`",
        ["`ql presets NAME` shows every setting of one with its reason; `ql estimate` reckons with your data."],
        _presets(),
        _cards(),
        _models(),
    )


def _presets() -> list[str]:
    rows = []
    for name in list_presets():
        found = plan_and_forecast(make_request(preset=name))
        plan, memory = found.plan, found.memory
        budget = f"{memory.budget_gib:.1f}" if memory.budget_gib is not None else ""
        batch = f"{plan.micro_batch_size} x {plan.gradient_accumulation_steps}"
        needs = f"{memory.needed_gib:.1f} of {budget}"
        rows.append((code(name), load_preset(name).title, plan.compute_dtype, str(plan.sequence_len), batch, needs))
    return ["## Presets", "", *table(("preset", "what", "dtype", "tokens", "rows per step", "GiB"), rows)]


def _cards() -> list[str]:
    rows = []
    for gpu in (load_gpu(name) for name in list_gpus()):
        price = next((f"{price.usd_per_hour:g} ({price.source}, {price.date})" for price in gpu.prices), "")
        capability = f"{gpu.compute_capability:g}" if gpu.kind == "cuda" else ""
        rows.append((code(gpu.name), gpu.title, f"{gpu.usable_gib:.1f}", capability, gpu.compute_dtype, price))
    return ["## Cards", "", *table(("card", "name", "usable GiB", "capability", "house dtype", "USD/h"), rows)]


def _models() -> list[str]:
    rows = []
    for model in (load_model(name) for name in list_models()):
        licence = model.license + (", gated" if model.gated else "")
        size = f"{model.parameters / 1e9:.2f}"
        rows.append(
            (code(model.name), model.base_model, size, str(model.max_position_embeddings), model.chat_template, licence)
        )
    return ["## Models", "", *table(("model", "base model", "10^9 weights", "tokens", "template", "licence"), rows)]
