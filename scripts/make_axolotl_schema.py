"""Write schemas/axolotl-X.Y.json from the Axolotl that this Python can import.

    python scripts/make_axolotl_schema.py                           # the installed Axolotl
    python scripts/make_axolotl_schema.py --wheel axolotl-0.18.whl  # another version, with the installed dependencies

The schema holds what Axolotl's pydantic models accept, with four differences: keys that no model reads are refused at
every depth; the fields of the plugins that Axolotl ships are there, marked ``x-plugin`` with the plugin that reads
them; a few fields whose values Axolotl checks outside of its types (or only once training starts) have those values;
and the prose is gone: descriptions are ours, from scripts/axolotl_descriptions.yaml.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import io
import json
import os
import sys
import tempfile
import zipfile
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
DESCRIPTIONS = Path(__file__).with_name("axolotl_descriptions.yaml")
PROSE = ("title", "description", "default", "examples", "help")

Json = dict[str, Any]


def generate(extra_path: Path | None = None) -> tuple[str, Json]:
    """The version ("0.19") and the schema of the importable Axolotl; ``extra_path`` is searched first."""
    os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"
    if extra_path:
        sys.path.insert(0, str(extra_path))
    with contextlib.redirect_stdout(io.StringIO()):  # Axolotl prints a banner
        return _generate()


def _generate() -> tuple[str, Json]:
    import axolotl
    from axolotl.utils.schemas.config import AxolotlInputConfig

    package = Path(axolotl.__file__).parent
    schema = json_schema(AxolotlInputConfig)
    definitions: Json = schema.pop("$defs")
    properties: Json = schema["properties"]
    for plugin, arguments in plugin_arguments(package):
        extra = json_schema(arguments)
        definitions.update(extra.pop("$defs", {}))
        for name, value in extra["properties"].items():
            if name not in properties:
                properties[name] = {**value, "x-plugin": plugin}
    for name, field in AxolotlInputConfig.model_fields.items():  # populate_by_name: both names are read
        if field.alias and field.alias != name:
            properties[name] = properties[field.alias]
    patch_values(properties, definitions)
    conditions = dataset_models(properties, definitions)
    for model in definitions.values():
        if "properties" in model:
            model["additionalProperties"] = False
    describe(properties, definitions)
    version = ".".join(version_of(package).split(".")[:2])
    return version, {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"axolotl-{version}.json",
        "title": f"Axolotl {version} config",
        "type": "object",
        "additionalProperties": False,
        "required": sorted(schema.get("required", [])),
        "properties": dict(sorted(properties.items())),
        "allOf": conditions,
        "$defs": dict(sorted(definitions.items())),
    }


def version_of(package: Path) -> str:
    """The version in the metadata beside the package (of a wheel or an installation)."""
    [metadata] = package.parent.glob("axolotl-*.dist-info/METADATA")
    lines = metadata.read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix("Version: ") for line in lines if line.startswith("Version: "))


def json_schema(model: Any) -> Json:
    """The JSON schema of a pydantic model, with enum members that JSON lacks (torch dtypes) given by name."""
    from pydantic.json_schema import GenerateJsonSchema

    class Lenient(GenerateJsonSchema):  # type: ignore[misc]  # pydantic comes with the trainers
        def enum_schema(self, schema: Any) -> Json:
            members: list[Enum] = schema["members"]
            return {"enum": [m.value if isinstance(m.value, str | int) else m.name for m in members]}

        def default_schema(self, schema: Any) -> Json:  # a default may be a torch dtype as well
            inner: Json = self.generate_inner(schema["schema"])
            return inner

    result: Json = model.model_json_schema(schema_generator=Lenient, mode="validation")
    clean: Json = strip_prose(result)
    return clean


def strip_prose(node: Any, in_properties: bool = False) -> Any:
    """``node`` without titles, descriptions and defaults; keys of ``properties`` are names, not keywords."""
    if isinstance(node, dict):
        return {
            key: strip_prose(value, in_properties=key in ("properties", "$defs") and not in_properties)
            for key, value in node.items()
            if in_properties or key not in PROSE
        }
    return [strip_prose(item) for item in node] if isinstance(node, list) else node


def plugin_arguments(package: Path) -> list[tuple[str, Any]]:
    """(dotted name of the plugin, pydantic model of its arguments) for each plugin that Axolotl ships.

    The plugin modules import CUDA libraries, so they are read as text: a class derived from BasePlugin whose
    ``get_input_args`` returns a dotted name.
    """
    found = []
    for folder in sorted((package / "integrations").iterdir()):
        if not (folder / "args.py").exists():
            continue
        trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.py"))]
        classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
        plugins = [c for c in classes if any(getattr(base, "id", "") == "BasePlugin" for base in c.bases)]
        for plugin in plugins:
            returned = [
                n.value.value
                for f in plugin.body
                if isinstance(f, ast.FunctionDef) and f.name == "get_input_args"
                for n in ast.walk(f)
                if isinstance(n, ast.Return) and isinstance(n.value, ast.Constant) and isinstance(n.value.value, str)
            ]
            for dotted in returned:
                model = getattr(load_alone(folder / "args.py"), dotted.rsplit(".", 1)[1])
                found.append((f"axolotl.integrations.{folder.name}.{plugin.name}", model))
    return found


def load_alone(path: Path) -> Any:
    """The module in the file at ``path``, without its package, whose ``__init__`` may need what is not installed.

    The folder stands in for the package, so that the module finds its neighbours by a relative import.
    """
    package = f"axolotl_integration_{path.parent.name}"
    stand_in = sys.modules[package] = ModuleType(package)
    stand_in.__path__ = [str(path.parent)]
    return importlib.import_module(f"{package}.{path.stem}")


def patch_values(properties: Json, definitions: Json) -> None:
    """Give the fields whose values are checked outside of the types the values that Axolotl and transformers take."""
    from axolotl.utils.schemas import enums
    from axolotl.utils.schemas.validation import SUPPORTED_METRICS
    from transformers.trainer_utils import SchedulerType
    from transformers.training_args import OptimizerNames

    optimizers = {o.value for o in OptimizerNames} | {o.value for o in enums.CustomSupportedOptimizers}
    schedulers = {s.value for s in SchedulerType} | {"one_cycle", "rex"}  # core/builders/base.py knows these two
    attention = sorted(getattr(enums, "CANONICAL_ATTN_IMPLS", ()))
    values: dict[str, list[Json]] = {
        "optimizer": [{"enum": sorted(optimizers)}],
        "lr_scheduler": [{"enum": sorted(schedulers)}],
        "eval_causal_lm_metrics": [{"type": "array", "items": {"enum": sorted(SUPPORTED_METRICS)}}],
        "attn_implementation": [{"enum": attention}, {"type": "string", "pattern": "/"}] if attention else [],
        "large_head_attention": [{"enum": ["auto", "sdpa", "triton_flash"]}],
        "image_resize_algorithm": [{"enum": ["bilinear", "bicubic", "lanczos"]}, {"enum": [1, 2, 3]}],
    }
    for name, branches in values.items():
        if name in properties and branches:
            properties[name] = {"anyOf": [*branches, {"type": "null"}]}
    properties["learning_rate"] = {"type": "number"}  # typed as text too, which its validator makes a number of
    dtype = {"enum": ["int4", "int8", "float8_e4m3fn", "fp8", "float8", "nvfp4", "mxfp4", "ternary"]}
    if "TorchAOQuantDType" in definitions:
        definitions["TorchAOQuantDType"] = dtype
    fsdp = definitions["FSDPConfig"]["properties"]
    fsdp["version"] = fsdp["fsdp_version"]
    for name in list(fsdp):  # the old spelling is still read
        fsdp.setdefault(f"fsdp_{name.removeprefix('fsdp_')}", fsdp[name])


def dataset_models(properties: Json, definitions: Json) -> list[Json]:
    """Conditions that say which model Axolotl reads a data set with: by ``rl``, and by the data set's ``type``.

    Axolotl's own type is a union; which member is used is decided in utils/config (validate_config).
    """
    for name in ("datasets", "test_datasets"):
        [array] = [branch for branch in properties[name]["anyOf"] if branch.get("type") == "array"]
        properties[name] = {"type": ["array", "null"], **{k: v for k, v in array.items() if k not in ("type", "items")}}

    def read_as(items: Json) -> Json:
        return {"properties": {name: {"items": items} for name in ("datasets", "test_datasets")}}

    def model(name: str) -> Json:
        return {"$ref": f"#/$defs/{name}"}

    def rl_is(*names: str) -> Json:
        return {"properties": {"rl": {"enum": list(names)}}, "required": ["rl"]}

    supervised = model("SFTDataset")
    if "SyntheticDataset" in definitions:
        synthetic = {"properties": {"type": {"const": "_synthetic"}}, "required": ["type"]}
        supervised = {"if": synthetic, "then": model("SyntheticDataset"), "else": supervised}
    kto = {"if": rl_is("kto"), "then": read_as(model("KTODataset")), "else": read_as(supervised)}
    return [{"if": rl_is("dpo", "ipo", "simpo"), "then": read_as(model("DPODataset")), "else": kto}]


def describe(properties: Json, definitions: Json) -> None:
    """Add our descriptions; a description of a key that this version lacks is left out."""
    table: dict[str, dict[str, str]] = yaml.safe_load(DESCRIPTIONS.read_text(encoding="utf-8"))
    for model, texts in table.items():
        fields = properties if model == "config" else definitions.get(model, {}).get("properties", {})
        for name, text in texts.items():
            if name in fields:
                fields[name] = {"description": text, **fields[name]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="generate from this wheel instead of the installed Axolotl")
    parser.add_argument("--output", type=Path, default=ROOT / "schemas", help="folder (default: schemas/)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.wheel:
            zipfile.ZipFile(arguments.wheel).extractall(scratch)
        version, schema = generate(Path(scratch) if arguments.wheel else None)
    path = arguments.output / f"axolotl-{version}.json"
    path.write_text(render(schema), encoding="utf-8")
    print(f"{path}: {len(schema['properties'])} keys", file=sys.stderr)


def render(schema: Json) -> str:
    """The file's text: one key per line, so that a new Axolotl shows as a readable diff."""
    head = {key: value for key, value in schema.items() if key not in ("properties", "$defs")}
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    properties = [f"    {json.dumps(k)}: {json.dumps(v, sort_keys=True)}" for k, v in schema["properties"].items()]
    lines += ['  "properties": {', ",\n".join(properties), "  },", '  "$defs": {']
    definitions = []
    for name, definition in schema["$defs"].items():
        inner = dict(definition)
        fields = inner.pop("properties", None)
        text = json.dumps(inner, sort_keys=True)
        if fields:
            body = ",\n".join(
                f"      {json.dumps(k)}: {json.dumps(v, sort_keys=True)}" for k, v in sorted(fields.items())
            )
            text = text[:-1] + ', "properties": {\n' + body + "\n    }}"
        definitions.append(f"    {json.dumps(name)}: {text}")
    return "{\n" + "\n".join([*lines, ",\n".join(definitions), "  }"]) + "\n}\n"


if __name__ == "__main__":
    main()
