"""Axolotl's config as a file: data sets of many kinds, templates by name, and what a launch does not do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from launcher.data.chat import OWN_TEMPLATE
from launcher.errors import Problem
from launcher.rules.base import Config
from launcher.trainers.config_file import ConfigFile, Named, Refusal

# What Axolotl trains and a launch does not: more than one GPU, other losses, bases that the merge cannot rebuild.
_ONE_GPU = "ql launch trains on one GPU"
_BASES = "ql launch trains on a base in 4 bit (adapter: qlora) or in 16 bit (adapter: lora)"
_NOT_LAUNCHED: Mapping[str, str] = {
    "rl": "ql launch trains on right answers, not on preferences",
    "deepspeed": _ONE_GPU,
    "fsdp": _ONE_GPU,
    "fsdp_config": _ONE_GPU,
    "use_ray": _ONE_GPU,
    "load_in_8bit": _BASES,
    "gptq": _BASES,
    "relora": "ReLoRA merges while it trains: there would be no one adapter to ship",
    "pretraining_dataset": "ql launch trains on the files in datasets",
}


class AxolotlFile(ConfigFile):
    train_key, eval_key, template_key = "datasets", "test_datasets", "chat_template_jinja"
    folders = ("base_model", "base_model_config", "tokenizer_config", "processor_config", "lora_model_dir")

    def is_chat(self, c: Config) -> bool:
        sets = [item for _, item in c.datasets()]
        return bool(sets) and all(item.get("type") == "chat_template" for item in sets)

    def is_text(self, c: Config) -> bool:
        return all(item.get("type") == "completion" for _, item in c.datasets())

    def template_name(self, c: Config) -> str | None:
        if c.get("chat_template") == "jinja":
            return None
        return str(c.get("chat_template") or OWN_TEMPLATE)

    def asks_otherwise(self, c: Config) -> Refusal | None:
        if self.is_chat(c) or self.is_text(c):
            return None
        index, item = next((i, d) for i, d in c.datasets() if d.get("type") != "chat_template")
        message = f"type: {item.get('type')} builds prompts of its own, in which a golden set cannot be asked"
        hint = "type: chat_template, or completion; or leave --golden out"
        return ("datasets", index, "type"), Problem(message, hint=hint)

    def refusals(self, c: Config) -> Iterator[Refusal]:
        said = [key for key in _NOT_LAUNCHED if c.get(key)]
        yield from (((key,), Problem(_NOT_LAUNCHED[key])) for key in said)
        if not c.is_lora and not said:
            adapter = f"adapter: {c.adapter}" if c.adapter else "no adapter"
            yield ("adapter",), Problem(f"{adapter}: ql launch trains adapters", hint="adapter: qlora, or lora")

    def held_out(self, c: Config) -> float:
        return float(c.get("val_set_size", 0.0))

    def files(self, c: Config) -> Iterator[Named]:
        for key in (self.train_key, self.eval_key):
            for index, data_set in c.datasets(key):
                files = data_set.get("data_files")
                if isinstance(files, str):
                    yield Named((key, index, "data_files"), files, key == self.train_key)
                elif isinstance(files, list):
                    for number, name in enumerate(files):
                        yield Named((key, index, "data_files", number), str(name), key == self.train_key)
                else:
                    yield Named((key, index, "path"), str(data_set.get("path")), key == self.train_key)

    def main_files(self, c: Config) -> Iterator[Named]:
        for key in (self.train_key, self.eval_key):
            for index, data_set in c.datasets(key):
                yield Named((key, index, "path"), data_set.get("path"), key == self.train_key)


CONFIG_FILE = AxolotlFile()
