# ruff: noqa: E501 - the table of faults has one row a line
"""A corpus of Axolotl configs: valid ones, and each mutated by one known fault. The same on every machine.

Nothing here is copied from anywhere: the valid ones are drawn from the settings that a QLoRA or LoRA run on one GPU has.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

LIGER = "axolotl.integrations.liger.LigerPlugin"
Data = dict[str, Any]
ABSENT = object()


@dataclass(frozen=True)
class Case:
    """One config. ``fault`` is None for a valid one, else the name of the fault; ``code`` is what ql should say."""

    name: str
    text: str
    fault: str | None = None
    code: str | None = None


def valid_configs(count: int, seed: int = 20) -> Iterator[tuple[str, Data]]:
    """``count`` valid configs, drawn with a fixed seed."""
    draw = random.Random(seed)
    for number in range(count):
        method = ("qlora", "lora", "lora8")[number % 3]
        base = draw.choice(["meta-llama/Llama-2-7b-hf", "mistralai/Mistral-7B-v0.3", "example-org/model-1b"])
        data: Data = {"base_model": base, "adapter": "qlora" if method == "qlora" else "lora"}
        data |= {"load_in_4bit": True} if method == "qlora" else {"load_in_8bit": True} if method == "lora8" else {}
        data |= {"lora_r": draw.choice([8, 16, 64]), "lora_alpha": draw.choice([16, 32, 64]), "lora_dropout": 0.0}
        data |= draw.choice([{"lora_target_linear": True}, {"lora_target_modules": ["q_proj", "k_proj", "v_proj"]}])
        data["datasets"] = [draw.choice(DATA_SETS)()]
        data |= {"sequence_len": draw.choice([512, 2048, 4096]), "excess_length_strategy": "truncate"}
        data |= draw.choice([{}, {"sample_packing": True, "pad_to_sequence_len": True}])
        data |= {"attn_implementation": draw.choice(["sdpa", "flash_attention_2", "eager", "flex_attention"])}
        data |= {"micro_batch_size": draw.choice([1, 2, 4]), "gradient_accumulation_steps": draw.choice([4, 8, 16])}
        data |= {
            "learning_rate": draw.choice([0.0002, 1e-4, "3e-4"]),
            "lr_scheduler": draw.choice(["cosine", "linear"]),
        }
        data |= {"optimizer": draw.choice(["paged_adamw_8bit", "adamw_bnb_8bit", "adamw_torch_fused"])}
        data |= draw.choice([{"warmup_steps": 10}, {"warmup_ratio": 0.03}, {}])
        data |= {"num_epochs": draw.choice([1, 2, 3]), "seed": 7, "output_dir": "out"}
        data |= draw.choice(
            [{"bf16": True, "tf32": True}, {"fp16": True}, {"bf16": "auto"}, {"bf16": False, "fp16": True}]
        )
        if data["attn_implementation"] == "flex_attention":
            data |= {"bf16": True, "fp16": None}
        data |= draw.choice([{"gradient_checkpointing": True}, {}])
        data |= draw.choice(EVALUATIONS)
        if method == "qlora":
            data |= draw.choice([{}, {"bnb_config_kwargs": {"bnb_4bit_quant_storage": "uint8"}}])
        data |= draw.choice([{}, {"plugins": [LIGER], "liger_rope": True, "liger_rms_norm": True}])
        if method != "lora8":
            on = draw.choice([True, False])
            data |= dict.fromkeys(("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel"), on)
        yield f"valid-{number:03}-{method}", {key: value for key, value in data.items() if value is not None}


def _chat() -> Data:
    return {
        "path": "data/train.jsonl",
        "ds_type": "json",
        "type": "chat_template",
        "field_messages": "messages",
        "message_property_mappings": {"role": "role", "content": "content"},
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }


def _alpaca() -> Data:
    return {"path": "data/train.jsonl", "ds_type": "json", "type": "alpaca"}


def _completion() -> Data:
    return {"path": "data/train.jsonl", "ds_type": "json", "type": "completion", "field": "text"}


DATA_SETS = (_chat, _alpaca, _completion)
EVALUATIONS: tuple[Data, ...] = (
    {},
    {"val_set_size": 0.05, "evals_per_epoch": 4, "saves_per_epoch": 4, "eval_batch_size": 1},
    {"val_set_size": 0.05, "eval_steps": 0.05, "save_steps": 0.05, "early_stopping_patience": 3},
    {"test_datasets": [{"path": "data/eval.jsonl", "type": "completion", "split": "train"}], "eval_strategy": "epoch"},
)


@dataclass(frozen=True)
class Fault:
    """A change that makes a valid config bad: keys to set (ABSENT removes one), data set keys, and our code."""

    name: str
    code: str
    change: Data
    data_set: Data | None = None
    adapter: str | None = None  # only for bases with this adapter
    drop: tuple[str, ...] = ()

    def apply(self, data: Data) -> Data | None:
        """A changed copy, or None when the fault cannot be in such a config."""
        if self.adapter and data["adapter"] != self.adapter:
            return None
        out = copy.deepcopy(data)
        for key in self.drop:
            out.pop(key, None)
        for key, value in self.change.items():
            if value is ABSENT:
                out.pop(key, None)
            else:
                out[key] = copy.deepcopy(value)
        if self.data_set is not None:
            out["datasets"][0] |= copy.deepcopy(self.data_set)
        return out


NO_EVAL = (
    "val_set_size",
    "eval_steps",
    "save_steps",
    "evals_per_epoch",
    "saves_per_epoch",
    "eval_strategy",
    "test_datasets",
    "early_stopping_patience",
    "eval_batch_size",
)
KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")
PLUGINS = ("plugins", "liger_rope", "liger_rms_norm")

FAULTS: tuple[Fault, ...] = (
    # unknown keys, wrong types and values
    Fault("typo at the top", "QL101", {"lora_rr": 16}),
    Fault("key of another trainer", "QL101", {"max_seq_length": 2048}, drop=("sequence_len",)),
    Fault("typo in a data set", "QL101", {}, {"roles_to_trian": ["assistant"]}),
    Fault("typo in special_tokens", "QL101", {"special_tokens": {"pad_tokn": "<pad>"}}),
    Fault("typo in trl", "QL101", {"trl": {"beta_": 1}}),
    Fault("text for a number", "QL102", {"lora_r": "sixteen"}),
    Fault("fraction for an integer", "QL102", {"lora_r": 16.5}),
    Fault("list for a text", "QL102", {"base_model": ["a"]}),
    Fault("number for a text", "QL102", {"output_dir": 7}),
    Fault("text for a list", "QL102", {"datasets": "data.jsonl"}),
    Fault("text for a boolean", "QL102", {"load_in_4bit": "maybe"}),
    Fault("mapping for a number", "QL102", {"sequence_len": {"a": 1}}),
    Fault("null for a number", "QL102", {"num_epochs": None}),
    Fault("text for a list of modules", "QL102", {"lora_modules_to_save": "lm_head"}),
    Fault("wrong member", "QL103", {"chat_template": "chatlm"}),
    Fault("wrong attention", "QL103", {"attn_implementation": "flash_attn"}),
    Fault("short attention", "QL103", {"attn_implementation": "flash"}),
    Fault("wrong bf16", "QL103", {"bf16": "full-time"}),
    Fault("wrong train_on_eos", "QL103", {}, {"train_on_eos": "sometimes"}),
    Fault("wrong rl", "QL103", {"rl": "dpoo"}),
    Fault("wrong merge method", "QL103", {"merge_method": "fast"}),
    Fault("wrong excess strategy", "QL103", {"excess_length_strategy": "cut"}),
    Fault("wrong optimizer", "QL103", {"optimizer": "adamw_8bits"}),
    Fault("wrong schedule", "QL103", {"lr_scheduler": "cosin"}),
    Fault("empty list of data", "QL104", {"datasets": []}),
    Fault("no base model", "QL105", {"base_model": ABSENT}),
    Fault("no learning rate", "QL105", {"learning_rate": ABSENT}),
    Fault("learning rate is text", "QL102", {"learning_rate": "2e-4x"}),
    Fault("no data", "QL401", {"datasets": ABSENT}),
    # removed, renamed, given twice
    Fault("max_packed_sequence_len", "QL107", {"max_packed_sequence_len": 2048}),
    Fault("rope_scaling", "QL107", {"rope_scaling": {"type": "linear", "factor": 2}}),
    Fault("unsloth kernels", "QL107", {"unsloth_lora_mlp": True}),
    Fault("s2_attention", "QL107", {"s2_attention": True}),
    Fault("flash_attn_rms_norm", "QL107", {"flash_attn_rms_norm": True}),
    Fault("rpo_alpha", "QL107", {"rpo_alpha": 0.0}),
    Fault("neftune twice", "QL109", {"noisy_embedding_alpha": 5.0, "neftune_noise_alpha": 5.0}),
    Fault("attention twice", "QL111", {"flash_attention": True}),
    Fault("message fields contradict", "QL114", {}, {"message_field_role": "from", "message_property_mappings": {"role": "r"}}),
    Fault("safetensors off", "QL120", {"save_safetensors": False}),
    Fault("neftune of zero", "QL119", {"neftune_noise_alpha": 0.0}),
    Fault("target is no regex", "QL121", {"lora_target_modules": ["q_proj", "[bad"]}, drop=("lora_target_linear",)),
    Fault("compile option", "QL122", {"torch_compile": True, "torch_compile_options": {"fast": True}}),
    Fault("processor revision", "QL123", {"processor_kwargs": {"revision": "main"}}),
    # out of bounds: Axolotl takes them
    Fault("rank of zero", "QL115", {"lora_r": 0}),
    Fault("dropout of one", "QL115", {"lora_dropout": 1.0}, drop=KERNELS),
    Fault("no batch", "QL115", {"micro_batch_size": 0}),
    Fault("no epochs", "QL116", {"num_epochs": 0}, drop=NO_EVAL),
    Fault("all rows held out", "QL117", {"val_set_size": 1, "evals_per_epoch": 4, "num_epochs": 2}, drop=NO_EVAL),
    # dead keys
    Fault("liger without plugin", "QL201", {"liger_rope": True, "plugins": ABSENT}),
    Fault("cce without plugin", "QL201", {"cut_cross_entropy": True, "plugins": ABSENT}, drop=PLUGINS),
    Fault("bnb at the top", "QL202", {"bnb_4bit_quant_type": "nf4"}),
    Fault("bnb dtype at the top", "QL202", {"bnb_4bit_compute_dtype": "float16"}),
    Fault("lora keys, no adapter", "QL203", {"adapter": ABSENT, "load_in_4bit": False, "load_in_8bit": False}),
    Fault("evals without a set", "QL204", {"evals_per_epoch": 4}, drop=NO_EVAL),
    Fault("eval batch without a set", "QL205", {"eval_batch_size": 2}, drop=NO_EVAL),
    Fault("bnb kwargs in 16 bit", "QL206", {"bnb_config_kwargs": {"bnb_4bit_quant_type": "nf4"}}, adapter="lora"),
    Fault("lora in 4 bit", "QL207", {"load_in_4bit": True, "load_in_8bit": ABSENT}, adapter="lora"),
    Fault("two dtypes", "QL208", {"bf16": True, "fp16": True}),
    Fault("checkpointing options", "QL209", {"gradient_checkpointing": False, "gradient_checkpointing_kwargs": {"use_reentrant": False}}),
    Fault("jinja not chosen", "QL210", {"chat_template": "chatml", "chat_template_jinja": "{{ x }}"}),
    Fault("chat key on alpaca", "QL211", {"datasets": [_alpaca() | {"roles_to_train": ["assistant"]}]}),
    Fault("text column on chat", "QL212", {"datasets": [_chat() | {"field": "text"}]}),
    Fault("cosine option", "QL213", {"lr_scheduler": "linear", "cosine_min_lr_ratio": 0.1}),
    Fault("loraplus embedding", "QL216", {"loraplus_lr_embedding": 1e-5}),
    Fault("wandb without project", "QL217", {"wandb_entity": "team"}),
    Fault("relora option", "QL218", {"relora_prune_ratio": 0.5}),
    Fault("compile mode", "QL219", {"torch_compile_mode": "default"}),
    Fault("hub strategy", "QL220", {"hub_strategy": "end"}),
    # refused combinations
    Fault("qlora in 16 bit", "QL301", {"load_in_4bit": False, "bnb_config_kwargs": ABSENT}, adapter="qlora"),
    Fault("qlora in 8 bit", "QL302", {"load_in_8bit": True}, adapter="qlora"),
    Fault("qlora of gptq", "QL302", {"gptq": True}, adapter="qlora"),
    Fault("4 bit, no adapter", "QL304", {"adapter": ABSENT, "load_in_4bit": True}),
    Fault("unknown adapter", "QL305", {"adapter": "loha"}, drop=PLUGINS),
    Fault("dropout on parameters", "QL306", {"lora_target_parameters": ["experts.w1"], "lora_dropout": 0.1}, drop=KERNELS),
    Fault("two quantisations", "QL307", {"model_quantization_config": "Mxfp4Config"}, adapter="qlora"),
    Fault("two memory limits", "QL308", {"max_memory": {0: "20GiB"}, "gpu_memory_limit": 20}),
    Fault("gptq revision", "QL309", {"gptq": True, "revision_of_model": "main"}, adapter="lora"),
    Fault("fused mlp", "QL310", {"flash_attn_fuse_mlp": True}),
    Fault("one bit", "QL311", {"use_onebitllms": True}),
    Fault("evaluation of no rows", "QL312", {"val_set_size": 0, "eval_steps": 10}, drop=NO_EVAL),
    Fault("strategy of no rows", "QL312", {"val_set_size": 0, "eval_strategy": "epoch"}, drop=NO_EVAL),
    Fault("eval strategy", "QL313", {"val_set_size": 0.1, "eval_strategy": "epoch", "eval_steps": 5}, drop=NO_EVAL),
    Fault("eval strategy 2", "QL313", {"val_set_size": 0.1, "eval_strategy": "epoch", "evals_per_epoch": 5}, drop=NO_EVAL),
    Fault("old eval strategy", "QL313", {"val_set_size": 0.1, "evaluation_strategy": "epoch", "eval_steps": 5}, drop=NO_EVAL),
    Fault("two eval cadences", "QL314", {"val_set_size": 0.1, "eval_steps": 5, "evals_per_epoch": 5}, drop=NO_EVAL),
    Fault("bench without cadence", "QL315", {"val_set_size": 0.1, "do_bench_eval": True}, drop=NO_EVAL),
    Fault("save strategy", "QL316", {"save_strategy": "epoch", "save_steps": 5}, drop=NO_EVAL),
    Fault("two save cadences", "QL317", {"saves_per_epoch": 2, "save_steps": 5}, drop=NO_EVAL),
    Fault("best by nothing", "QL318", {"save_strategy": "best"}, drop=NO_EVAL),
    Fault("stop per epoch", "QL319", {"early_stopping_patience": 3, "val_set_size": 0.1, "evals_per_epoch": 2}, drop=NO_EVAL),
    Fault("stop between saves", "QL319", {"early_stopping_patience": 3, "val_set_size": 0.1, "eval_steps": 0.3, "save_steps": 0.5}, drop=NO_EVAL),
    Fault("lr groups", "QL320", {"lr_groups": [{"name": "a", "modules": ["b"], "lr": 0.1}], "loraplus_lr_ratio": 16}),
    Fault("unfrozen layers", "QL321", {"unfrozen_parameters": ["lm_head"], "peft_layers_to_transform": [0, 1]}),
    Fault("pattern alone", "QL322", {"peft_layers_pattern": ["layers"]}),
    Fault("reentrant", "QL323", {"unfrozen_parameters": ["lm_head"], "gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}),
    Fault("offload alone", "QL324", {"activation_offloading": True, "gradient_checkpointing": False}),
    Fault("hidden states", "QL325", {"activation_offloading": "hidden_states", "gradient_checkpointing": True, "unfrozen_parameters": ["x"], "gradient_checkpointing_kwargs": {"use_reentrant": True}}),
    Fault("selective alone", "QL326", {"selective_checkpointing": True, "gradient_checkpointing": False}),
    Fault("selective of products", "QL326", {"selective_checkpointing": {"save": ["aten::mm"]}, "gradient_checkpointing": True}),
    Fault("two losses", "QL327", {"chunked_cross_entropy": True, "liger_fused_linear_cross_entropy": True, "plugins": [LIGER]}),
    Fault("swiglu twice", "QL330", {"plugins": [LIGER], "liger_swiglu": True, "liger_glu_activation": True}),
    Fault("token scaling", "QL331", {"plugins": [LIGER], "liger_use_token_scaling": True}),
    Fault("tiled mlp", "QL332", {"plugins": [LIGER], "liger_glu_activation": True, "tiled_mlp": True}),
    Fault("scaled softmax", "QL333", {"scaling_softmax": True, "attn_implementation": "sdpa"}),
    Fault("gemma 4 hybrid", "QL334", {"gemma4_hybrid_attn_impl": True, "attn_implementation": "sdpa"}),
    Fault("flattened eager", "QL335", {"batch_flattening": True, "attn_implementation": "eager", "sample_packing": False}),
    Fault("better transformer", "QL336", {"flash_optimum": True, "bf16": True, "fp16": ABSENT}),
    Fault("mpt", "QL337", {"base_model": "mosaicml/mpt-7b", "gradient_checkpointing": True}),
    Fault("compile options alone", "QL338", {"torch_compile_options": {"shape_padding": True}}),
    Fault("relora alone", "QL339", {"relora": True}),
    Fault("polora and more", "QL340", {"optimizer": "polora", "loraplus_lr_ratio": 16}),
    Fault("q-galore", "QL341", {"optimizer": "q_galore_adamw8bit"}),
    Fault("embedding offload", "QL342", {"ple_cpu_offload": True, "load_in_8bit": ABSENT}, adapter="lora"),
    Fault("quantised experts", "QL343", {"quantize_moe_experts": True, "lora_target_linear": True}),
    Fault("qat", "QL344", {"qat": {"weight_dtype": "int8"}, "load_in_4bit": True}, adapter="qlora"),
    Fault("fp32 norms", "QL345", {"fp32_norms": True}),
    Fault("fp8 config", "QL346", {"fp8_config": {}}),
    Fault("deepcompile", "QL348", {"deepcompile": True}),
    Fault("dpo loss", "QL349", {"dpo_loss_type": ["sigmoid"]}),
    Fault("mistral common", "QL350", {"tokenizer_use_mistral_common": True, "chat_template": "chatml"}),
    Fault("packed rl", "QL351", {"rl": "orpo", "sample_packing": True}),
    Fault("two batch sizes", "QL360", {"batch_size": 32}),
    Fault("batch size alone", "QL361", {"batch_size": 32, "micro_batch_size": ABSENT, "gradient_accumulation_steps": ABSENT}),
    Fault("odd batch size", "QL363", {"batch_size": 31, "micro_batch_size": 4, "gradient_accumulation_steps": ABSENT}),
    Fault("two warm-ups", "QL364", {"warmup_steps": 10, "warmup_ratio": 0.1}),
    Fault("never evaluates", "QL365", {"val_set_size": 0.1, "evals_per_epoch": 1, "num_epochs": 1}, drop=NO_EVAL),
    Fault("best not loaded", "QL367", {"val_set_size": 0.1, "eval_steps": 10, "save_steps": 15, "load_best_model_at_end": True}, drop=NO_EVAL),
    Fault("sharegpt", "QL402", {}, {"type": "sharegpt"}),
    Fault("two eval sets", "QL403", {"val_set_size": 0.1, "test_datasets": [{"path": "e.jsonl", "type": "completion"}]}),
    Fault("jinja missing", "QL404", {"chat_template": "jinja"}),
    Fault("jinja missing in data", "QL405", {}, {"chat_template": "jinja"}),
    Fault("eval table", "QL406", {"sample_packing": True, "eval_table_size": 5}),
    Fault("push data", "QL407", {"push_dataset_to_hub": "team/data"}),
    Fault("causal eval", "QL408", {"do_causal_lm_eval": True, "eval_sample_packing": True, "val_set_size": 0.1}, drop=("test_datasets",)),
    Fault("stream without end", "QL409", {"streaming": True, "val_set_size": ABSENT}, drop=NO_EVAL),
    Fault("stream split", "QL410", {"streaming": True, "max_steps": 10, "val_set_size": 0.1}, drop=("test_datasets",)),
    Fault("streams packed", "QL411", {"streaming": True, "max_steps": 10, "sample_packing": True, "datasets": [_alpaca(), _alpaca()]}, drop=NO_EVAL),
    Fault("deduplicated nothing", "QL412", {"dataset_exact_deduplication": True, "skip_prepare_dataset": True}),
    Fault("kernels in 8 bit", "QL501", {"lora_mlp_kernel": True, "load_in_8bit": True}, adapter="lora"),
    Fault("kernels, remote code", "QL502", {"trust_remote_code": True, "lora_qkv_kernel": True, "load_in_8bit": ABSENT}),
    Fault("no targets", "QL703", {"lora_target_linear": ABSENT, "lora_target_modules": ABSENT}),
    Fault("no rank", "QL704", {"lora_r": ABSENT}),
    Fault("no such target", "QL708", {"base_model": "mistralai/Mistral-7B-v0.3", "lora_target_modules": ["q_proj", "c_attn"]}, drop=("lora_target_linear",)),
    Fault("no such template", "QL715", {}, {"chat_template": "chatlm", "type": "chat_template"}),
)  # fmt: skip


def corpus(valid: int = 60, each: int = 2) -> list[Case]:
    """``valid`` valid configs, and every fault in ``each`` of them."""
    configs = list(valid_configs(valid))
    cases = [Case(name, dump(data)) for name, data in configs]
    for number, fault in enumerate(FAULTS):
        made = 0
        for offset in range(len(configs)):
            name, data = configs[(number * 7 + offset) % len(configs)]
            bad = fault.apply(data)
            if bad is None or bad == data:
                continue
            cases.append(Case(f"{fault.name} in {name}", dump(bad), fault.name, fault.code))
            made += 1
            if made == each:
                break
    return cases


def dump(data: Data) -> str:
    return yaml.safe_dump(data, sort_keys=False)
