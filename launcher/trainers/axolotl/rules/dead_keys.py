"""Keys that Axolotl knows but reads only under a condition. Where the condition is not met they do nothing."""

from __future__ import annotations

from collections.abc import Iterator

from launcher.rules.base import Hit
from launcher.trainers.axolotl.config import AxolotlConfig, rule

LORA_PREFIXES = ("lora_", "loraplus_", "peft_")
LORA_WITHOUT_ADAPTER = ("lora_on_cpu", "lora_model_dir", "lora_dropout")  # merging and inference read the first two
CHAT_KEYS = ("field_messages", "message_property_mappings", "roles", "roles_to_train", "train_on_eos", "train_on_eot")
PLAIN_TYPES = ("alpaca", "completion", "input_output", "gpteacher", "reflection", "context_qa", "pretrain")


@rule("QL201", "error")
def plugin_key_without_plugin(c: AxolotlConfig) -> Iterator[Hit]:
    """A key of a plugin that `plugins:` does not list.

    Axolotl reads `liger_*`, `cut_cross_entropy` and the like only when the plugin is listed; otherwise it drops them
    in silence and trains without the kernel.
    """
    properties = c.schema.get("properties", {})
    for key, value in c.data.items():
        plugin = properties.get(key, {}).get("x-plugin") if isinstance(key, str) else None
        is_on = plugin in c.release.always_on or (plugin and c.lists_plugin(plugin))
        if plugin and value is not None and value is not False and not is_on:
            yield c.key(key, f"{key} is read only by the plugin {plugin}", f"add to plugins: {plugin}")


@rule("QL202", "error")
def bnb_key_at_top_level(c: AxolotlConfig) -> Iterator[Hit]:
    """A `bnb_4bit_*` key at the top level.

    It never reaches bitsandbytes: Axolotl drops it in silence and quantises with its own settings (NF4, double
    quantisation, compute in the training dtype). Only `bnb_config_kwargs` is passed on.
    """
    for key, value in c.data.items():
        if isinstance(key, str) and key.startswith("bnb_4bit_"):
            shown = str(value).lower() if isinstance(value, bool) else value
            yield c.key(key, f"{key} at the top level is never read", f"bnb_config_kwargs: {{{key}: {shown}}}")


@rule("QL203", "error")
def lora_key_without_adapter(c: AxolotlConfig) -> Iterator[Hit]:
    """A `lora_*` or `peft_*` key without `adapter`.

    Without an adapter Axolotl trains all weights and reads none of these keys.
    """
    if c.adapter:
        return
    for key, value in c.data.items():
        if not isinstance(key, str) or not key.startswith(LORA_PREFIXES) or key in LORA_WITHOUT_ADAPTER:
            continue
        if value and key in c.schema.get("properties", {}):
            yield c.key(key, f"{key} does nothing without an adapter", "add adapter: qlora or adapter: lora")


@rule("QL204", "error")
def evaluation_without_eval_set(c: AxolotlConfig) -> Iterator[Hit]:
    """Evaluations are asked for and there is nothing to evaluate on.

    Without `val_set_size` or `test_datasets` Axolotl skips `evals_per_epoch` in silence; what the person takes for a
    watched run is not watched, and no best checkpoint can be kept.
    """
    if c.has_eval_set or (c.get("val_set_size") == 0 and c.any_of("eval_steps", "eval_strategy")):
        return  # the second is QL312: Axolotl refuses it
    for key in c.any_of("evals_per_epoch", "eval_steps", "eval_strategy"):
        if c.get(key) != "no":
            yield c.key(key, f"{key} without an evaluation set", "add val_set_size: 0.05, or test_datasets")


@rule("QL205", "error")
def eval_setting_without_eval_set(c: AxolotlConfig) -> Iterator[Hit]:
    """A setting of the evaluation without an evaluation set.

    Nothing reads it: there is no evaluation and no metric to choose a checkpoint by.
    """
    if c.has_eval_set:
        return
    for key in c.any_of("eval_sample_packing", "eval_batch_size", "load_best_model_at_end", "metric_for_best_model"):
        yield c.key(key, f"{key} does nothing without an evaluation set", "add val_set_size: 0.05, or remove it")


@rule("QL206", "error")
def bnb_config_without_qlora(c: AxolotlConfig) -> Iterator[Hit]:
    """`bnb_config_kwargs` on a base that is not quantised to 4 bits.

    Axolotl hands it to bitsandbytes only for `adapter: qlora` with `load_in_4bit: true`.
    """
    if c.get("bnb_config_kwargs") and not c.quantises:
        yield c.key("bnb_config_kwargs", "bnb_config_kwargs is read only with adapter: qlora and load_in_4bit: true")


@rule("QL207", "error")
def lora_with_4bit_base(c: AxolotlConfig) -> Iterator[Hit]:
    """`adapter: lora` with `load_in_4bit: true`.

    Axolotl quantises to 4 bits only for `adapter: qlora`. Here it loads the base in 16 bits without a word: four
    times the memory that the file promises.
    """
    if c.adapter == "lora" and c.get("load_in_4bit"):
        yield c.at("load_in_4bit", "load_in_4bit does nothing with adapter: lora", "adapter: qlora quantises the base")


@rule("QL208", "error")
def both_compute_dtypes(c: AxolotlConfig) -> Iterator[Hit]:
    """`bf16` and `fp16` are both true.

    bf16 wins and fp16 is dropped in silence, so the file says something else than what is trained.
    """
    if c.get("fp16") is True and c.get("bf16") is True:
        yield c.at("fp16", "fp16: true does nothing beside bf16: true", "keep the one that is meant")


@rule("QL209", "error")
def checkpointing_options_without_checkpointing(c: AxolotlConfig) -> Iterator[Hit]:
    """`gradient_checkpointing_kwargs` without `gradient_checkpointing`.

    Axolotl's default is off, and the options of something that is off are not read.
    """
    if c.get("gradient_checkpointing_kwargs") and not c.any_of("gradient_checkpointing", "activation_offloading"):
        message = "gradient_checkpointing_kwargs does nothing while gradient_checkpointing is off"
        yield c.key("gradient_checkpointing_kwargs", message, "add gradient_checkpointing: true")


@rule("QL210", "error")
def jinja_template_not_chosen(c: AxolotlConfig) -> Iterator[Hit]:
    """`chat_template_jinja` beside another `chat_template`.

    Axolotl reads the Jinja text only for `chat_template: jinja`; here the named template is used.
    """
    if c.get("chat_template_jinja") and c.get("chat_template") not in (None, "jinja"):
        chosen = c.get("chat_template")
        message = f"chat_template_jinja is not read with chat_template: {chosen}"
        yield c.key("chat_template_jinja", message, "chat_template: jinja")
    for index, data_set in c.datasets():
        if data_set.get("chat_template_jinja") and data_set.get("chat_template") not in (None, "jinja"):
            path = ("datasets", index, "chat_template_jinja")
            yield c.key(path, f"not read with chat_template: {data_set['chat_template']}", "chat_template: jinja")


@rule("QL211", "error")
def chat_key_on_plain_data(c: AxolotlConfig) -> Iterator[Hit]:
    """A key of chat data on a data set whose type is no chat.

    `roles_to_train`, `train_on_eos` and the like are read by `type: chat_template` only; other types decide by
    themselves which tokens are trained.
    """
    for index, data_set in c.datasets():
        kind = data_set.get("type")
        if isinstance(kind, str) and kind.split(".")[0].split(":")[0] in PLAIN_TYPES:
            for key in CHAT_KEYS:
                if data_set.get(key):
                    yield c.key(("datasets", index, key), f"{key} is not read by type: {kind}", "type: chat_template")


@rule("QL212", "error")
def text_column_on_chat_data(c: AxolotlConfig) -> Iterator[Hit]:
    """`field` on chat data.

    `field` names the text column of `type: completion`; `type: chat_template` looks at `field_messages`.
    """
    for index, data_set in c.datasets():
        if data_set.get("type") == "chat_template" and data_set.get("field"):
            path = ("datasets", index, "field")
            yield c.key(path, "field is not read by type: chat_template", "the column of the messages: field_messages")


@rule("QL213", "error")
def cosine_option_without_cosine(c: AxolotlConfig) -> Iterator[Hit]:
    """An option of the cosine schedule with another schedule.

    Axolotl looks at `cosine_min_lr_ratio` and `cosine_constant_lr_ratio` only when `lr_scheduler` is cosine.
    """
    if c.get("lr_scheduler", "cosine") == "cosine":
        return
    for key in c.any_of("cosine_min_lr_ratio", "cosine_constant_lr_ratio"):
        yield c.key(key, f"{key} is not read with lr_scheduler: {c.get('lr_scheduler')}", "lr_scheduler: cosine")


@rule("QL214", "error", upstream="AxolotlInputConfig.check_fp32_norms")
def norm_classes_without_fp32_norms(c: AxolotlConfig) -> Iterator[Hit]:
    """`fp32_norm_classes` without `fp32_norms: true`.

    The list of classes is read only when their norms are to stay in fp32.
    """
    if c.get("fp32_norm_classes") and not c.get("fp32_norms"):
        yield c.key("fp32_norm_classes", "fp32_norm_classes does nothing without fp32_norms: true")


@rule("QL215", "error", upstream="AxolotlInputConfig.check_sdpa_varlen")
def varlen_without_packing(c: AxolotlConfig) -> Iterator[Hit]:
    """`sdpa_varlen` without `sample_packing`.

    The kernel is for packed rows only.
    """
    if c.get("sdpa_varlen") and not c.get("sample_packing"):
        yield c.key("sdpa_varlen", "sdpa_varlen does nothing without sample_packing: true")


@rule("QL216", "error")
def loraplus_embedding_without_ratio(c: AxolotlConfig) -> Iterator[Hit]:
    """`loraplus_lr_embedding` without `loraplus_lr_ratio`.

    LoRA+ is on only with its ratio; without it all parameters have one learning rate.
    """
    if c.adapter and c.get("loraplus_lr_embedding") and not c.get("loraplus_lr_ratio"):
        yield c.key("loraplus_lr_embedding", "loraplus_lr_embedding does nothing without loraplus_lr_ratio")


@rule("QL217", "error")
def wandb_without_project(c: AxolotlConfig) -> Iterator[Hit]:
    """A `wandb_*` key without `wandb_project`.

    Axolotl logs to Weights & Biases only when the project is named (or `use_wandb` is true).
    """
    if c.any_of("wandb_project", "use_wandb"):
        return
    for key in c.any_of("wandb_entity", "wandb_name", "wandb_run_id", "wandb_watch", "wandb_log_model"):
        yield c.key(key, f"{key} does nothing without wandb_project", "add wandb_project, or remove it")


@rule("QL218", "error")
def relora_option_without_relora(c: AxolotlConfig) -> Iterator[Hit]:
    """A `relora_*` key without `relora: true`.

    The options are read only when ReLoRA is on.
    """
    if not c.get("relora"):
        for key in c.any_of("relora_prune_ratio", "relora_prune_method", "relora_cpu_offload"):
            yield c.key(key, f"{key} does nothing without relora: true")


@rule("QL219", "error")
def compile_option_without_compile(c: AxolotlConfig) -> Iterator[Hit]:
    """`torch_compile_backend` or `torch_compile_mode` without `torch_compile`.

    Nothing is compiled, so the options are not read.
    """
    if not c.get("torch_compile"):
        for key in c.any_of("torch_compile_backend", "torch_compile_mode"):
            yield c.key(key, f"{key} does nothing without torch_compile: true")


@rule("QL220", "error")
def hub_option_without_hub(c: AxolotlConfig) -> Iterator[Hit]:
    """`hub_strategy` or `hub_revision` without `hub_model_id`.

    Nothing is pushed, so there is nothing to push by that strategy.
    """
    if not c.get("hub_model_id"):
        for key in c.any_of("hub_strategy", "hub_revision"):
            yield c.key(key, f"{key} does nothing without hub_model_id")
