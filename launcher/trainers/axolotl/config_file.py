"""Axolotl's config as a file: data sets of many kinds, templates by name, and what a launch does not do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from launcher.data.template_names import OWN_TEMPLATE
from launcher.errors import Problem
from launcher.rules.base import KeyPath, Version
from launcher.trainers.axolotl.columns import row_columns
from launcher.trainers.axolotl.config import ATTENTION_FLAGS, INIT_HINT, SAFE_INITS, AxolotlConfig
from launcher.trainers.axolotl.releases import RELEASES
from launcher.trainers.config_file import ConfigFile, Named, Refusal, RowFile

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
    "quantize_moe_experts": "the merge makes 4-bit linear layers again as they were trained on, and no 4-bit experts",
}
_BACKEND = "the merge makes the base again as bitsandbytes quantised it, and not as another backend did"


LOCAL = (".json", ".jsonl", ".csv", ".parquet", ".arrow", ".txt")
WORDS = {  # of other tools
    "modules_to_save": "lora_modules_to_save",
    "use_dora": "peft_use_dora",
    "use_rslora": "peft_use_rslora",
    "packing": "sample_packing",
    "context_parapllel_size": "context_parallel_size",
    "train_on_split": "split",
}


class AxolotlFile(ConfigFile[AxolotlConfig]):
    train_key, eval_key, template_key = "datasets", "test_datasets", "chat_template_jinja"
    folders = ("base_model", "base_model_config", "tokenizer_config", "processor_config", "lora_model_dir")

    template_hint = "the name of a .jinja file, or the template itself"
    config = AxolotlConfig
    words = WORDS

    def explains(self, key: str) -> bool:
        """Of bitsandbytes' settings, and of what Axolotl has removed."""
        from launcher.trainers.axolotl.rules.deprecated import REMOVED

        return key.startswith("bnb_4bit_") or key in REMOVED or key in ATTENTION_FLAGS

    def has_foreign_keys(self, data: Mapping[Any, Any]) -> bool:
        plugins = data.get("plugins")
        return isinstance(plugins, list) and any(not str(item).startswith(RELEASES[-1].plugins) for item in plugins)

    def as_read(self, data: dict[Any, Any], version: Version) -> dict[Any, Any]:
        """From 0.21 on the diffusion plugin mends two old ways of writing before anything is checked
        (integrations/diffusion/plugin.py).
        """
        plugins = data.get("plugins")
        listed = isinstance(plugins, list) and any(str(item).endswith(".DiffusionPlugin") for item in plugins)
        if version < (0, 21) or not listed or (data.get("diffusion_lm") and not data.get("diffusion")):
            return data
        read = dict(data)
        if read.get("save_strategy") == "best" and read.get("metric_for_best_model") is None:
            read["metric_for_best_model"] = "eval_loss"
        warmup = read.get("warmup_steps")
        if isinstance(warmup, float) and 0 < warmup < 1 and read.get("warmup_ratio") in (None, warmup):
            read |= {"warmup_ratio": warmup, "warmup_steps": None}
        return read

    def is_chat(self, c: AxolotlConfig) -> bool:
        sets = [item for _, item in c.datasets()]
        return bool(sets) and all(item.get("type") == "chat_template" for item in sets)

    def is_text(self, c: AxolotlConfig) -> bool:
        return all(item.get("type") == "completion" for _, item in c.datasets())

    def template_name(self, c: AxolotlConfig) -> str | None:
        if c.get("chat_template") == "jinja":
            return None
        return str(c.get("chat_template") or OWN_TEMPLATE)

    def asks_otherwise(self, c: AxolotlConfig) -> Refusal | None:
        if self.is_chat(c) or self.is_text(c):
            return None
        index, item = next((i, d) for i, d in c.datasets() if d.get("type") != "chat_template")
        message = f"type: {item.get('type')} builds prompts of its own, in which a golden set cannot be asked"
        hint = "type: chat_template, or completion; or leave --golden out"
        return ("datasets", index, "type"), Problem(message, hint=hint)

    def refusals(self, c: AxolotlConfig) -> Iterator[Refusal]:
        said = [key for key in _NOT_LAUNCHED if c.get(key)]
        yield from (((key,), Problem(_NOT_LAUNCHED[key])) for key in said)
        if c.get("nf4_backend", "bitsandbytes") != "bitsandbytes":
            yield ("nf4_backend",), Problem(_BACKEND, hint="nf4_backend: bitsandbytes, or remove it")
        init = c.get("peft_init_lora_weights")
        if init not in SAFE_INITS:
            message = f"peft_init_lora_weights: {init} takes its part out of the base, and the adapter lacks that part"
            yield ("peft_init_lora_weights",), Problem(message, hint=f"{INIT_HINT}: ql could not merge it")
        if not c.is_lora and not said:
            adapter = f"adapter: {c.adapter}" if c.adapter else "no adapter"
            yield ("adapter",), Problem(f"{adapter}: ql launch trains adapters", hint="adapter: qlora, or lora")

    def evaluates(self, c: AxolotlConfig) -> bool:
        return bool(c.get(self.eval_key))

    def held_out(self, c: AxolotlConfig) -> float:
        return float(c.get("val_set_size", 0.0))

    def files(self, c: AxolotlConfig) -> Iterator[Named]:
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

    def main_files(self, c: AxolotlConfig) -> Iterator[Named]:
        for key in (self.train_key, self.eval_key):
            for index, data_set in c.datasets(key):
                yield Named((key, index, "path"), data_set.get("path"), key == self.train_key)

    def rows(self, c: AxolotlConfig) -> Iterator[RowFile]:
        for key in (self.train_key, self.eval_key):
            for index, data_set in c.datasets(key):
                asked = row_columns(data_set)
                for part, name in named_files(data_set):
                    yield RowFile(
                        (key, index, part),
                        name,
                        key == self.train_key,
                        asked.columns,
                        asked.declared,
                        name.endswith(LOCAL),
                        asked.optional,
                        asked.turns,
                    )

    def templates(self, c: AxolotlConfig) -> Iterator[tuple[KeyPath, str]]:
        key = self.template_key
        places: list[tuple[KeyPath, Any]] = [((key,), c.get(key))]
        places += [(("datasets", index, key), data_set.get(key)) for index, data_set in c.datasets()]
        yield from ((path, value) for path, value in places if isinstance(value, str) and "{" not in value)


def named_files(data_set: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The names of a data set that may be files, each with the key that has it."""
    files = data_set.get("data_files")
    listed = files if isinstance(files, list) else [files]
    for key, name in [("path", data_set.get("path")), *(("data_files", one) for one in listed)]:
        if isinstance(name, str) and "://" not in name:
            yield key, name


CONFIG_FILE = AxolotlFile()
