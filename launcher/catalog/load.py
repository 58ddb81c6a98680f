"""Read presets/: one file per card, model, recipe and preset, read when asked for and checked against its schema.

Every function raises Unreadable for a name that does not exist (with the nearest one) and for a file that its schema
refuses (with all problems and their lines).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from launcher.catalog.check import check
from launcher.catalog.local import BUILTIN, model_from_folder, snapshot_in_cache
from launcher.catalog.texts import State, model_named, read, state_of
from launcher.catalog.types import Gpu, Model, Preset, Price, Recipe
from launcher.errors import Problem, Unreadable, did_you_mean
from launcher.files import expand
from launcher.resources import resource
from launcher.yaml_source import parse_yaml

SIZES = "sizes"  # presets/sizes.yaml: the one file beside the named presets that is no preset


def _names(*folder: str) -> list[str]:
    return sorted(path.stem for path in resource("presets", *folder).glob("*.yaml") if folder or path.stem != SIZES)


def list_gpus() -> list[str]:
    """Names of all cards."""
    return _names("gpus")


def list_models() -> list[str]:
    """Names of all models of the catalog."""
    return _names("models")


def list_recipes() -> list[str]:
    """Names of all recipes."""
    return _names("recipes")


def list_presets() -> list[str]:
    """Names of all named presets: each card with each of its sizes, and those that have a file of their own."""
    return sorted([*_names(), *(f"{gpu}-{size}" for gpu in list_gpus() for size in _of_gpu(gpu)["sizes"])])


def _read(path: Path, schema: str) -> dict[str, Any]:
    """The file's data, to be copied and not changed: it is parsed once, and again when the file was written to."""
    return _read_as_of(path, schema, state_of(path))


@cache
def _read_as_of(path: Path, schema: str, state: State) -> dict[str, Any]:
    data, positions = parse_yaml(read(path), file=str(path))
    problems = check(data, schema, file=str(path), positions=positions)
    if problems:
        raise Unreadable(problems)
    found: dict[str, Any] = data
    return found


def _load(kind: str, name: str, folder: tuple[str, ...], schema: str) -> dict[str, Any]:
    known = _names(*folder)
    if name not in known:
        raise Unreadable(f"no such {kind}: {name!r}", hint=did_you_mean(name, known))
    return {"name": name, **_read(resource("presets", *folder, f"{name}.yaml"), schema)}


def load_gpu(name: str) -> Gpu:
    """The card ``name``, such as "a10g"."""
    data = _load("GPU", name, ("gpus",), "gpu.json")
    data = {key: value for key, value in data.items() if key not in ("presets", "stand_in")}
    prices = tuple(Price(**price) for price in data.pop("prices", ()))
    return Gpu(**data | {"match": tuple(data["match"]), "prices": prices})


def find_gpu(device_name: str) -> Gpu | None:
    """The card whose name the driver reports as ``device_name``, or None. A budget on other cards is never it."""
    for name in list_gpus():
        gpu = load_gpu(name)
        if gpu.matches(device_name) and not gpu.is_budget:
            return gpu
    return None


def load_recipe(name: str) -> Recipe:
    """The recipe ``name``: "qlora" or "lora"."""
    return Recipe(**_load("recipe", name, ("recipes",), "recipe.json"))


def load_preset(name: str) -> Preset:
    """The named preset ``name``, such as "a10g-7b"."""
    if name in _names():
        return Preset(**_load("preset", name, (), "preset.json"))
    gpu, _, size = name.rpartition("-")
    if gpu not in list_gpus() or size not in _of_gpu(gpu)["sizes"]:
        raise Unreadable(f"no such preset: {name!r}", hint=did_you_mean(name, list_presets()))
    return _preset_of(gpu, size)


def _preset_of(gpu: str, size: str) -> Preset:
    """A card and a size; what the pair needs comes before what the size sets."""
    known = _read(resource("presets", f"{SIZES}.yaml"), "sizes.json")
    if size not in known["sizes"]:
        file = str(resource("presets", "gpus", f"{gpu}.yaml"))
        raise Unreadable(
            Problem(f"no size {size!r}", file), hint=f"presets/{SIZES}.yaml has {', '.join(known['sizes'])}"
        )
    name, of_size = f"{gpu}-{size}", known["sizes"][size]
    parts = [known.get("pairs", {}).get(name, {}), of_size]
    settings, reasons = (
        {key: value for part in parts for key, value in part.get(kind, {}).items()} for kind in ("settings", "reasons")
    )
    title = f"{size.upper()} QLoRA on {_of_gpu(gpu)['said']}"
    return Preset(name, title, gpu, of_size["model"], "qlora", settings, reasons)


def _of_gpu(name: str) -> Mapping[str, Any]:
    """What a card's file says of its presets: how the card is called in their titles, and the sizes."""
    found: Mapping[str, Any] = _load("GPU", name, ("gpus",), "gpu.json").get("presets", {"sizes": []})
    return found


def stand_in_gpu() -> str:
    """The card that is planned for while the real one is still to be put in: it refuses nothing."""
    return next(name for name in list_gpus() if _load("GPU", name, ("gpus",), "gpu.json").get("stand_in"))


def load_model(name: str) -> Model:
    """The model that ``name`` means, looked for in this order.

    A name of the catalog; a folder with a config.json; a hub name ("org/name") of a catalog model; a hub name whose
    config.json is in the local Hugging Face cache.
    """
    known = list_models()
    if name in known:
        return _load_catalog_model(name)
    if expand(name).is_dir():
        return model_from_folder(expand(name), base_model=whole_name(name))
    if name.startswith(("/", "./", "../", "~")):
        raise Unreadable(f"no such folder: {name}", hint="a base model is a folder with a config.json, or a hub name")
    if "/" not in name:
        raise Unreadable(f"no such model: {name!r}", hint=did_you_mean(name, known))
    if (found := model_named(name)) is not None:
        return _load_catalog_model(found)
    snapshot = snapshot_in_cache(name)
    if snapshot:
        return model_from_folder(snapshot, base_model=name)
    hint = (
        f"download it first (`hf download {name}`) or give the folder that holds it; known without: {', '.join(known)}"
    )
    raise Unreadable(
        f"the architecture of {name!r} is not known here: it is neither in the catalog nor in the local cache",
        hint=hint,
    )


def whole_name(name: str) -> str:
    """A model's name that holds wherever it is read: a folder by its whole path, since the trainer runs in another."""
    folder = expand(name)
    return str(folder.absolute()) if name not in list_models() and folder.is_dir() else name


def _load_catalog_model(name: str) -> Model:
    data = _load("model", name, ("models",), "model.json")
    if "linear_modules" in data:
        data["linear_modules"] = tuple(data["linear_modules"])
    return Model(**data)


def resolve_base(model: Model) -> str:
    """What a trainer is given as base model: ``builtin:`` names become the folder that ql ships, others stay."""
    if not model.base_model.startswith(BUILTIN):
        return model.base_model
    folder = model.base_model.removeprefix(BUILTIN)
    try:
        return str(resource("presets", "models", folder))
    except FileNotFoundError as error:
        raise Unreadable(Problem(str(error))) from None
