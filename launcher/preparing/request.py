"""What the person asked for, looked up in the catalogue: names become a card, a model, a preset and recipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from launcher.catalog import load_gpu, load_model, load_preset, load_recipe, model_by_hand, resolve_base
from launcher.catalog.check import check
from launcher.data.facts import DataFacts
from launcher.data.template_names import require_known
from launcher.errors import Problem, Unreadable, did_you_mean
from launcher.planning.plan import SETTINGS
from launcher.planning.request import AUTO, Request
from launcher.preparing.calibrations import corrections_for


def parse_settings(pairs: Sequence[str]) -> dict[str, object]:
    """``["learning_rate=1e-4", …]`` as checked settings; values are YAML.

    Raises Unreadable with every bad pair: no ``=``, an unknown key (with the nearest), a value its schema refuses.
    """
    import yaml

    problems: list[Problem] = []
    settings: dict[str, object] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip()
        if not equals:
            example = key if key in SETTINGS else "learning_rate"
            problems.append(Problem(f"--set {pair!r} is not key=value", hint=f"such as --set {example}=VALUE"))
        elif key not in SETTINGS:
            problems.append(Problem(f"--set: unknown key {key!r}", hint=did_you_mean(key, SETTINGS)))
        else:
            try:
                value = yaml.safe_load(text)
            except (yaml.YAMLError, RecursionError, ValueError):
                problems.append(Problem(f"--set {key}: {text!r} is not a YAML value"))
                continue
            settings[key] = _number(value)
    known = {key: value for key, value in settings.items() if key in SETTINGS}
    problems += [Problem(f"--set {problem.message}", hint=problem.hint) for problem in check(known, "settings.json")]
    if problems:
        raise Unreadable(problems)
    return settings


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-4 as text; a person who types it on a command line means the number."""
    if isinstance(value, str) and value[:1] in "0123456789.-+":
        try:
            return float(value)
        except ValueError:
            pass
    return value


def _check_settings(overrides: Mapping[str, object]) -> None:
    """Raises Unreadable for a chat template that nobody knows, and settings of which nothing would come."""
    problems: list[Problem] = []
    if "chat_template" in overrides:
        try:
            require_known(str(overrides["chat_template"]))
        except Unreadable as error:
            problems += error.problems
    if overrides.get("method") == "lora":
        said = "lora keeps the base in 16 bit: {} {} would change nothing"
        given = [key for key in ("quant_type", "double_quant") if overrides.get(key)]
        problems += [Problem(said.format(key, overrides[key]), hint=f"leave {key} out, or take qlora") for key in given]
    if overrides.get("keep") == "best" and overrides.get("eval_fraction") == 0:
        said = "keep best goes by the evaluation loss, and with eval_fraction 0 there is none"
        problems.append(Problem(said, hint="leave one of the two out"))
    if problems:
        raise Unreadable(problems)


def _check_enough(gpu: str | None, model: str | None) -> None:
    """Raises Unreadable, with what is missing, unless both are named: without a preset both are needed."""
    if gpu is None and model is None:
        hint = "give --preset NAME (`ql presets` lists them), or --gpu and --model: --gpu a10g --model mistral-7b"
        raise Unreadable("nothing to plan for", hint=hint)
    if model is None:
        hint = "such as --model mistral-7b; or give --preset NAME, which names both (`ql presets` lists them)"
        raise Unreadable("no base model is named: --model is missing", hint=hint)
    if gpu is None:
        hint = "such as --gpu a10g; or give --preset NAME, which names both (`ql presets` lists them)"
        raise Unreadable("no card is named: --gpu is missing", hint=hint)


def make_request(
    *,
    preset: str | None = None,
    gpu: str | None = None,
    model: str | None = None,
    method: str | None = None,
    backend: str | None = None,
    settings: Mapping[str, object] | None = None,
    data: DataFacts | None = None,
    architecture: str | None = None,
) -> Request:
    """Look up names in the catalog. ``preset`` or both of ``gpu`` and ``model`` are needed; flags win over a preset.
    ``architecture`` gives a model's numbers by hand, instead of ``model``.

    Raises Unreadable: a name that does not exist, too little to plan with, or settings of which nothing would come.
    """
    from launcher.catalog.families import described

    if architecture is not None and model is not None:
        raise Unreadable("--architecture and --model are two ways of saying the same: give one")
    if preset is None:
        _check_enough(gpu, model or architecture)
    named = load_preset(preset) if preset else None
    if named is not None:
        gpu, model = gpu or named.gpu, model or named.model
    assert gpu is not None
    overrides = dict(settings or {})
    if backend not in (None, AUTO):
        overrides["backend"] = backend
    if method not in (None, AUTO):
        overrides["method"] = method
    _check_settings(overrides)
    found = model_by_hand(architecture) if architecture is not None else load_model(model or "")
    card = load_gpu(gpu)
    return Request(
        gpu=card,
        model=found,
        base_model=resolve_base(found),
        recipes={name: load_recipe(name) for name in ("qlora", "lora")},
        preset=named,
        overrides=overrides,
        overflow=described(found.model_type).fp16,
        auto_method=method == AUTO,
        auto_backend=backend == AUTO,
        data=data,
        corrections=corrections_for(card),
    )
