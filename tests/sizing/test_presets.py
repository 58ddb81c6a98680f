"""The named presets are exactly the pairs of card and size that fit."""

from __future__ import annotations

import pytest

from launcher.catalog import list_gpus, list_presets, load_model, load_preset
from launcher.errors import BadInput
from launcher.planning.decide import make_plan
from launcher.planning.estimate import estimate_plan_memory
from launcher.preparing.request import make_request

DEFAULT_MODELS = {
    "7b": "mistral-7b",
    "8b": "llama-3.1-8b",
    "13b": "llama-2-13b",
    "14b": "qwen2.5-14b",
    "32b": "qwen2.5-32b",
    "70b": "llama-2-70b",
}


def fits(gpu: str, model: str, backend: str) -> bool:
    request = make_request(gpu=gpu, model=model, method="qlora", backend=backend)
    try:
        return estimate_plan_memory(make_plan(request), request).fits
    except BadInput:  # such as a family that overflows fp16 on a card without bf16
        return False


@pytest.mark.parametrize("gpu", [name for name in list_gpus() if name != "cpu"])
def test_there_is_a_preset_for_every_size_that_fits_and_for_no_other(gpu: str) -> None:
    expected = {
        f"{gpu}-{size}"
        for size, model in DEFAULT_MODELS.items()
        if fits(gpu, model, "axolotl") or fits(gpu, model, "unsloth")
    }
    found = {name for name in list_presets() if load_preset(name).gpu == gpu}
    assert found == expected
    for name in found:
        preset = load_preset(name)
        assert preset.model == DEFAULT_MODELS[load_model(preset.model).size]
        request = make_request(preset=name)
        assert estimate_plan_memory(make_plan(request), request).fits, name


def test_the_presets_that_are_promised_exist() -> None:
    promised = {
        "a10g-7b",
        "a10g-13b",
        "4090-7b",
        "4090-13b",
        "a100-48gb-7b",
        "a100-48gb-70b",
        "h100-7b",
        "h100-70b",
        "cpu-tiny",
    }
    assert promised <= set(list_presets())
