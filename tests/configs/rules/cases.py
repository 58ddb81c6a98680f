"""For each rule a config that it finds fault with, and a near one that it does not: changes to one good config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Data = dict[str, Any]
TINY = str(Path(__file__).resolve().parents[3] / "presets" / "models" / "cpu-tiny")
LIGER = "axolotl.integrations.liger.LigerPlugin"
CCE = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"

BASE: Data = {
    "base_model": "mistralai/Mistral-7B-v0.3",
    "adapter": "qlora",
    "load_in_4bit": True,
    "lora_r": 16,
    "lora_alpha": 32,
    "lora_target_linear": True,
    "lora_mlp_kernel": True,
    "lora_qkv_kernel": True,
    "lora_o_kernel": True,
    "datasets": [{"path": "data.jsonl", "type": "chat_template"}],
    "sequence_len": 2048,
    "excess_length_strategy": "truncate",
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 8,
    "learning_rate": 0.0002,
    "num_epochs": 3,
    "bf16": True,
    "attn_implementation": "sdpa",
}
CHAT = {"path": "data.jsonl", "type": "chat_template"}
EVAL = {"val_set_size": 0.05, "eval_batch_size": 1}
GONE = None  # a key set to GONE is removed

# code: (bad, good)
CASES: dict[str, tuple[Data, Data]] = {
    "QL107": ({"unsloth_rope": True}, {"unsloth_rope": False}),
    "QL108": ({"evaluation_strategy": "steps", **EVAL}, {"eval_strategy": "steps", **EVAL}),
    "QL109": ({"evaluation_strategy": "no", "eval_strategy": "no"}, {"eval_strategy": "no"}),
    "QL110": ({"flash_attention": True, "attn_implementation": GONE}, {"flash_attention": False}),
    "QL111": ({"sdp_attention": True}, {"sdp_attention": False}),
    "QL112": ({"gradient_checkpointing": "offload"}, {"gradient_checkpointing": True}),
    "QL113": ({"datasets": [CHAT | {"message_field_role": "from"}]}, {"datasets": [CHAT]}),
    "QL114": (
        {"datasets": [CHAT | {"message_field_role": "from", "message_property_mappings": {"role": "who"}}]},
        {"datasets": [CHAT | {"message_field_role": "from", "message_property_mappings": {"role": "from"}}]},
    ),
    "QL115": ({"lora_dropout": 1.0}, {"lora_dropout": 0.99}),
    "QL116": ({"num_epochs": 0}, {"num_epochs": 0, "max_steps": 10}),
    "QL117": ({"val_set_size": 1}, {"val_set_size": 0.99}),
    "QL118": ({"val_set_size": 5}, {"val_set_size": 50}),
    "QL119": ({"neftune_noise_alpha": 0}, {"neftune_noise_alpha": 5}),
    "QL120": ({"save_safetensors": False}, {"save_safetensors": True}),
    "QL121": ({"lora_target_modules": ["[q"]}, {"lora_target_modules": [".*q_proj"]}),
    "QL122": (
        {"torch_compile": True, "torch_compile_options": {"x": 1}},
        {"torch_compile": True, "torch_compile_options": {"shape_padding": True}},
    ),
    "QL123": ({"processor_kwargs": {"revision": "a"}}, {"processor_kwargs": {"min_pixels": 1}}),
    "QL201": ({"liger_rope": True}, {"liger_rope": True, "plugins": ["axolotl.integrations.liger.plugin.LigerPlugin"]}),
    "QL202": ({"bnb_4bit_quant_type": "nf4"}, {"bnb_config_kwargs": {"bnb_4bit_quant_type": "nf4"}}),
    "QL203": ({"adapter": GONE, "load_in_4bit": False}, {}),
    "QL204": ({"evals_per_epoch": 4}, {"evals_per_epoch": 4, **EVAL}),
    "QL205": ({"eval_batch_size": 4}, {"eval_batch_size": 2, "val_set_size": 0.1}),
    "QL206": (
        {"adapter": "lora", "load_in_4bit": False, "bnb_config_kwargs": {"bnb_4bit_quant_type": "nf4"}},
        {"bnb_config_kwargs": {"bnb_4bit_quant_type": "nf4"}},
    ),
    "QL207": ({"adapter": "lora"}, {"adapter": "lora", "load_in_4bit": False}),
    "QL208": ({"fp16": True}, {"fp16": False}),
    "QL209": (
        {"gradient_checkpointing_kwargs": {"use_reentrant": False}},
        {"gradient_checkpointing_kwargs": {"use_reentrant": False}, "gradient_checkpointing": True},
    ),
    "QL210": (
        {"chat_template": "chatml", "chat_template_jinja": "x"},
        {"chat_template": "jinja", "chat_template_jinja": "x"},
    ),
    "QL211": (
        {"datasets": [{"path": "a.jsonl", "type": "alpaca", "roles_to_train": ["assistant"]}]},
        {"datasets": [CHAT | {"roles_to_train": ["assistant"]}]},
    ),
    "QL212": (
        {"datasets": [CHAT | {"field": "text"}]},
        {"datasets": [{"path": "a.jsonl", "type": "completion", "field": "text"}]},
    ),
    "QL213": ({"lr_scheduler": "linear", "cosine_min_lr_ratio": 0.1}, {"cosine_min_lr_ratio": 0.1}),
    "QL214": (
        {"fp32_norm_classes": ["RMSNorm"]},
        {"fp32_norm_classes": ["RMSNorm"], "fp32_norms": True, "fsdp_config": {"offload_params": False}},
    ),
    "QL215": ({"sdpa_varlen": True}, {"sdpa_varlen": True, "sample_packing": True}),
    "QL216": ({"loraplus_lr_embedding": 1e-5}, {"loraplus_lr_embedding": 1e-5, "loraplus_lr_ratio": 16}),
    "QL217": ({"wandb_name": "a"}, {"wandb_name": "a", "wandb_project": "b"}),
    "QL218": ({"relora_prune_ratio": 0.5}, {"relora_prune_ratio": 0.5, "relora": True, "jagged_restart_steps": 9}),
    "QL219": ({"torch_compile_mode": "default"}, {"torch_compile_mode": "default", "torch_compile": True}),
    "QL220": ({"hub_strategy": "end"}, {"hub_strategy": "end", "hub_model_id": "a/b"}),
    "QL301": ({"load_in_4bit": False}, {}),
    "QL302": ({"load_in_8bit": True}, {"load_in_8bit": False}),
    "QL303": ({"merge_lora": True}, {"merge_lora": False}),
    "QL304": ({"adapter": GONE}, {}),
    "QL305": ({"adapter": "loha"}, {"adapter": "mora", "plugins": ["axolotl.integrations.mora.MoraPlugin"]}),
    "QL306": (
        {"lora_target_parameters": ["w1"], "lora_dropout": 0.1},
        {"lora_target_parameters": ["w1"], "lora_dropout": 0.0},
    ),
    "QL307": ({"model_quantization_config": "Mxfp4Config"}, {}),
    "QL308": ({"max_memory": {"0": "9GiB"}, "gpu_memory_limit": 9}, {"gpu_memory_limit": 9}),
    "QL309": ({"gptq": True, "revision_of_model": "main"}, {"revision_of_model": "main"}),
    "QL310": ({"flash_attn_fuse_mlp": True}, {"flash_attn_fuse_mlp": False}),
    "QL311": ({"use_onebitllms": True}, {"use_onebitllms": False}),
    "QL312": ({"val_set_size": 0, "eval_steps": 5}, {"val_set_size": 0.1, "eval_steps": 5}),
    "QL313": (
        {"eval_strategy": "epoch", "eval_steps": 5, **EVAL},
        {"eval_strategy": "steps", "eval_steps": 5, **EVAL},
    ),
    "QL314": ({"evals_per_epoch": 2, "eval_steps": 5, **EVAL}, {"evals_per_epoch": 2, **EVAL}),
    "QL315": ({"do_bench_eval": True, **EVAL}, {"do_bench_eval": True, "eval_steps": 5, **EVAL}),
    "QL316": ({"save_strategy": "epoch", "save_steps": 5}, {"save_strategy": "steps", "save_steps": 5}),
    "QL317": ({"saves_per_epoch": 2, "save_steps": 5}, {"saves_per_epoch": 2}),
    "QL318": ({"save_strategy": "best"}, {"save_strategy": "best", "metric_for_best_model": "eval_loss", **EVAL}),
    "QL319": (
        {"early_stopping_patience": 3, "eval_steps": 0.3, "save_steps": 0.5, **EVAL},
        {"early_stopping_patience": 3, "eval_steps": 0.25, "save_steps": 0.5, **EVAL},
    ),
    "QL320": (
        {"lr_groups": [{"name": "a", "modules": ["b"], "lr": 0.1}], "loraplus_lr_ratio": 16},
        {"loraplus_lr_ratio": 16},
    ),
    "QL321": (
        {"unfrozen_parameters": ["a"], "peft_layers_to_transform": [0]},
        {"peft_layers_to_transform": [0]},
    ),
    "QL322": (
        {"peft_layers_pattern": ["layers"]},
        {"peft_layers_pattern": ["layers"], "peft_layers_to_transform": [0]},
    ),
    "QL323": (
        {"unfrozen_parameters": ["a"], "gradient_checkpointing_kwargs": {"use_reentrant": True}},
        {"unfrozen_parameters": ["a"], "gradient_checkpointing_kwargs": {"use_reentrant": False}},
    ),
    "QL324": ({"activation_offloading": True}, {"activation_offloading": True, "gradient_checkpointing": True}),
    "QL325": (
        {
            "activation_offloading": "hidden_states",
            "gradient_checkpointing": True,
            "unfrozen_parameters": ["a"],
            "gradient_checkpointing_kwargs": {"use_reentrant": True},
        },
        {"activation_offloading": "hidden_states", "gradient_checkpointing": True, "unfrozen_parameters": ["a"]},
    ),
    "QL326": ({"selective_checkpointing": True}, {"selective_checkpointing": True, "gradient_checkpointing": True}),
    "QL327": (
        {"chunked_cross_entropy": True, "liger_cross_entropy": True},
        {"chunked_cross_entropy": True},
    ),
    "QL328": (
        {"cut_cross_entropy": True, "plugins": [CCE], "bf16": False},
        {"cut_cross_entropy": True, "plugins": [CCE]},
    ),
    "QL329": ({"chunked_cross_entropy": True, "plugins": [CCE]}, {"chunked_cross_entropy": True}),
    "QL330": (
        {"liger_swiglu": True, "liger_glu_activation": True, "plugins": [LIGER]},
        {"liger_glu_activation": True, "plugins": [LIGER]},
    ),
    "QL331": (
        {"liger_use_token_scaling": True, "plugins": [LIGER]},
        {"liger_use_token_scaling": True, "liger_fused_linear_cross_entropy": True, "plugins": [LIGER]},
    ),
    "QL332": (
        {"tiled_mlp": True, "liger_glu_activation": True, "plugins": [LIGER]},
        {"tiled_mlp": True, "liger_glu_activation": True, "tiled_mlp_use_original_mlp": True, "plugins": [LIGER]},
    ),
    "QL333": (
        {"scaling_softmax": True},
        {"scaling_softmax": True, "attn_implementation": "flex_attention"},
    ),
    "QL334": (
        {"gemma4_hybrid_attn_impl": True},
        {"gemma4_hybrid_attn_impl": True, "attn_implementation": "flash_attention_2"},
    ),
    "QL335": (
        {"batch_flattening": True},
        {"batch_flattening": True, "attn_implementation": "flash_attention_2"},
    ),
    "QL336": ({"flash_optimum": True}, {"flash_optimum": False}),
    "QL337": ({"base_model": "mosaicml/mpt-7b", "gradient_checkpointing": True}, {"gradient_checkpointing": True}),
    "QL338": (
        {"torch_compile_options": {"shape_padding": True}},
        {"torch_compile_options": {"shape_padding": True}, "torch_compile": True},
    ),
    "QL339": ({"relora": True}, {"relora": True, "jagged_restart_steps": 9}),
    "QL340": ({"optimizer": "polora", "loraplus_lr_ratio": 16}, {"optimizer": "polora"}),
    "QL341": ({"optimizer": "q_galore_adamw8bit"}, {"optimizer": "paged_adamw_8bit"}),
    "QL342": ({"ple_cpu_offload": True, "load_in_4bit": False}, {"ple_cpu_offload": True}),
    "QL343": (
        {"quantize_moe_experts": True},
        {"quantize_moe_experts": True, "lora_target_linear": GONE, "lora_target_parameters": ["w1"]},
    ),
    "QL344": ({"qat": {"weight_dtype": "int8"}}, {"qat": {"weight_dtype": "int8"}, "load_in_4bit": False}),
    "QL345": ({"fp32_norms": True}, {"fp32_norms": True, "fsdp_version": 2, "fsdp_config": {"offload_params": True}}),
    "QL346": ({"fp8_config": {}}, {"fp8_config": {}, "fp8": True}),
    "QL347": ({"deepspeed": "ds.json", "fsdp": ["full_shard"]}, {"deepspeed": "ds.json"}),
    "QL348": ({"deepcompile": True}, {"deepcompile": True, "deepspeed": "ds.json"}),
    "QL349": ({"dpo_loss_type": ["sigmoid"]}, {"dpo_loss_type": ["sigmoid"], "rl": "dpo"}),
    "QL350": (
        {"tokenizer_use_mistral_common": True, "chat_template": "chatml"},
        {"tokenizer_use_mistral_common": True},
    ),
    "QL351": ({"rl": "orpo", "sample_packing": True}, {"rl": "orpo"}),
    "QL352": ({"rl": "kto"}, {"rl": "kto", "remove_unused_columns": False}),
    "QL353": ({"rl": "simpo", "warmup_ratio": 0.1}, {"rl": "simpo", "warmup_steps": 5}),
    "QL354": ({"rl": "ebft"}, {"rl": "ebft", "ebft": {"mode": "structured"}}),
    "QL360": ({"batch_size": 16}, {"batch_size": 16, "gradient_accumulation_steps": GONE}),
    "QL361": (
        {"batch_size": 16, "micro_batch_size": GONE, "gradient_accumulation_steps": GONE},
        {"batch_size": 16, "gradient_accumulation_steps": GONE},
    ),
    "QL362": ({"gradient_accumulation_steps": GONE}, {}),
    "QL363": (
        {"batch_size": 15, "gradient_accumulation_steps": GONE},
        {"batch_size": 16, "gradient_accumulation_steps": GONE},
    ),
    "QL364": ({"warmup_steps": 9, "warmup_ratio": 0.1}, {"warmup_steps": 9}),
    "QL365": ({"evals_per_epoch": 1, "num_epochs": 1, **EVAL}, {"evals_per_epoch": 2, "num_epochs": 1, **EVAL}),
    "QL366": ({"saves_per_epoch": 1, "num_epochs": 0.5}, {"saves_per_epoch": 1, "num_epochs": 1}),
    "QL367": (
        {"load_best_model_at_end": True, "eval_steps": 10, "save_steps": 15, **EVAL},
        {"load_best_model_at_end": True, "evals_per_epoch": 4, "saves_per_epoch": 4, **EVAL},
    ),
    "QL368": ({"warmup_steps": 10, "max_steps": 10}, {"warmup_steps": 9, "max_steps": 10}),
    "QL369": ({"val_set_size": 0.1}, {"val_set_size": 0.1, "evals_per_epoch": 4}),
    "QL370": ({"micro_batch_size": 1, "gradient_accumulation_steps": 3}, {"micro_batch_size": 1}),
    "QL371": ({"val_set_size": 0.1, "evals_per_epoch": 4}, {"evals_per_epoch": 4, **EVAL}),
    "QL372": ({"val_set_size": 0.1, "eval_batch_size": 4}, {"val_set_size": 0.1, "eval_batch_size": 1}),
    "QL401": ({"datasets": GONE}, {}),
    "QL402": ({"datasets": [{"path": "a.jsonl", "type": "sharegpt"}]}, {}),
    "QL403": ({"test_datasets": [CHAT], "val_set_size": 0.1}, {"test_datasets": [CHAT]}),
    "QL404": ({"chat_template": "jinja"}, {"chat_template": "jinja", "chat_template_jinja": "x"}),
    "QL405": (
        {"datasets": [CHAT | {"chat_template": "jinja"}]},
        {"datasets": [CHAT | {"chat_template": "jinja", "chat_template_jinja": "x"}]},
    ),
    "QL406": (
        {"sample_packing": True, "eval_table_size": 5},
        {"sample_packing": True, "eval_table_size": 5, "eval_sample_packing": False},
    ),
    "QL407": ({"push_dataset_to_hub": "a/b"}, {"push_dataset_to_hub": "a/b", "hf_use_auth_token": True}),
    "QL408": (
        {"do_causal_lm_eval": True, "sample_packing": True, **EVAL},
        {"do_causal_lm_eval": True, "sample_packing": True, "eval_sample_packing": False, **EVAL},
    ),
    "QL409": ({"streaming": True}, {"streaming": True, "max_steps": 9}),
    "QL410": ({"streaming": True, "max_steps": 9, **EVAL}, {"streaming": True, "max_steps": 9}),
    "QL411": (
        {"streaming": True, "max_steps": 9, "sample_packing": True, "datasets": [CHAT, CHAT]},
        {"streaming": True, "max_steps": 9, "sample_packing": True},
    ),
    "QL412": (
        {"dataset_exact_deduplication": True, "skip_prepare_dataset": True},
        {"dataset_exact_deduplication": True},
    ),
    "QL413": (
        {"pretraining_dataset": [{"path": "a"}], "include_tokens_per_second": True, "max_steps": 9},
        {"include_tokens_per_second": True},
    ),
    "QL414": (
        {"tokens": ["<tool>"], "lora_modules_to_save": ["embed_tokens"]},
        {"tokens": ["<tool>"], "lora_modules_to_save": ["embed_tokens", "lm_head"]},
    ),
    "QL415": (
        {"base_model": TINY, "special_tokens": {"eos_token": "<|end|>"}},
        {"base_model": TINY, "special_tokens": {"eos_token": "<|im_end|>", "pad_token": "<|pad|>"}},
    ),
    "QL416": ({"datasets": [CHAT | {"type": "chatml"}]}, {"datasets": [CHAT | {"type": "alpaca_chat.load_qa"}]}),
    "QL501": (
        {"adapter": "lora", "load_in_4bit": False, "load_in_8bit": True},
        {"adapter": "lora", "load_in_4bit": False},
    ),
    "QL502": (
        {"trust_remote_code": True},
        {"trust_remote_code": True, "lora_mlp_kernel": False, "lora_qkv_kernel": False, "lora_o_kernel": False},
    ),
    "QL503": ({"lora_dropout": 0.1}, {"lora_dropout": 0}),
    "QL504": ({"lora_mlp_kernel": GONE, "lora_qkv_kernel": GONE, "lora_o_kernel": GONE}, {}),
    "QL511": (
        {"bf16": False, "attn_implementation": "flash_attention_2"},
        {"bf16": False, "fp16": True, "attn_implementation": "flash_attention_2"},
    ),
    "QL601": (
        {"sample_packing": True, "attn_implementation": GONE},
        {"sample_packing": True},
    ),
    "QL602": ({"sample_packing": True}, {"sample_packing": True, "attn_implementation": "flash_attention_2"}),
    "QL603": (
        {"sample_packing": True, "pad_to_sequence_len": False},
        {"sample_packing": True, "pad_to_sequence_len": True},
    ),
    "QL604": ({"adam_beta1": 0.9, "optimizer": "adafactor"}, {"adam_beta1": 0.9, "optimizer": "adamw_torch"}),
    "QL605": (
        {"adapter": GONE, "bf16": False, "fp16": True, "sample_packing": True},
        {"bf16": False, "fp16": True, "sample_packing": True},
    ),
    "QL606": ({"fp8": True}, {"fp8": True, "torch_compile": True}),
    "QL607": ({"do_bench_eval": True, "eval_steps": 5}, {"do_bench_eval": True, "eval_steps": 5, **EVAL}),
    "QL608": (
        {"pretraining_dataset": [{"path": "a"}], "max_steps": 9},
        {"pretraining_dataset": [{"path": "a"}], "max_steps": 9, "streaming": True},
    ),
    "QL609": (
        {"pretraining_dataset": [{"path": "a"}], "max_steps": 9, "group_by_length": True},
        {"group_by_length": True},
    ),
    "QL610": ({"attn_implementation": "sage"}, {"attn_implementation": "sage", "pad_to_sequence_len": True}),
    "QL611": ({"attn_implementation": "sage", "adapter": GONE}, {"attn_implementation": "sage"}),
    "QL612": (
        {"torch_compile": True, "torch_compile_options": {"triton.cudagraphs": True}, "sample_packing": True},
        {"torch_compile": True, "torch_compile_options": {"triton.cudagraphs": True}},
    ),
    "QL613": (
        {"peft_trainable_token_indices": [1], "fix_untrained_tokens": [2]},
        {"peft_trainable_token_indices": [1, 2], "fix_untrained_tokens": [2]},
    ),
    "QL614": (
        {"activation_offloading": "hidden_states", "gradient_checkpointing": True},
        {"activation_offloading": True, "gradient_checkpointing": True},
    ),
    "QL615": (
        {"selective_checkpointing": True, "gradient_checkpointing": True, "torch_compile": True},
        {"selective_checkpointing": True, "gradient_checkpointing": True},
    ),
    "QL616": ({"trust_remote_code": True}, {"trust_remote_code": False}),
    "QL617": ({"hub_model_id": "a/b", "save_strategy": "no"}, {"hub_model_id": "a/b", "save_strategy": "epoch"}),
    "QL618": (
        {"wandb_run_id": "a", "wandb_project": "b"},
        {"wandb_run_id": "a", "wandb_project": "b", "wandb_name": "c"},
    ),
    "QL619": ({"base_model": "mistralai/Magistral-Small-2506"}, {}),
    "QL620": (
        {"deepspeed": "zero3.json", "gradient_checkpointing_kwargs": {"use_reentrant": False}},
        {"deepspeed": "zero2.json", "gradient_checkpointing_kwargs": {"use_reentrant": False}},
    ),
    "QL621": ({"reward_model": True, "pad_to_sequence_len": False}, {"reward_model": True}),
    "QL622": ({"flash_optimum": True}, {"flash_optimum": True, "adapter": GONE}),
    "QL623": (
        {"batch_flattening": True, "micro_batch_size": 1, "attn_implementation": "flash_attention_2"},
        {"batch_flattening": True, "attn_implementation": "flash_attention_2"},
    ),
    "QL624": ({"optimizer": "polora", "weight_decay": 0.1}, {"optimizer": "polora"}),
    "QL701": ({"base_model": "google/gemma-2-9b", "bf16": False, "fp16": True}, {"bf16": False, "fp16": True}),
    "QL703": ({"lora_target_linear": False}, {"lora_target_linear": False, "lora_target_modules": ["q_proj"]}),
    "QL704": ({"lora_alpha": GONE}, {}),
    "QL705": ({"lora_alpha": 512}, {"lora_alpha": 8}),
    "QL706": ({"learning_rate": 0.01}, {"learning_rate": 0.003}),
    "QL707": ({"sequence_len": 65536}, {"sequence_len": 32768}),
    "QL708": ({"lora_target_modules": ["c_attn"]}, {"lora_target_modules": ["q_proj", "lm_head"]}),
    "QL709": (
        {"datasets": [CHAT | {"train_on_eos": "none"}]},
        {"datasets": [CHAT | {"train_on_eos": "turn"}]},
    ),
    "QL710": ({"chat_template": "chatml"}, {"chat_template": "chatml", "eot_tokens": ["<|im_end|>"]}),
    "QL711": (
        {"special_tokens": {"eos_token": "</s>", "pad_token": "</s>"}},
        {"special_tokens": {"eos_token": "</s>", "pad_token": "<unk>"}},
    ),
    "QL712": ({"sequence_len": GONE}, {}),
    "QL713": ({"excess_length_strategy": GONE}, {}),
    "QL714": ({"datasets": [{"path": "a.jsonl"}]}, {"datasets": [{"path": "a"}]}),
    "QL715": (
        {"datasets": [CHAT | {"chat_template": "chatlm"}]},
        {"datasets": [CHAT | {"chat_template": "tokenizer_default_fallback_chatml"}]},
    ),
    "QL718": (
        {"base_model": "meta-llama/Llama-2-7b-hf", "special_tokens": {"eos_token": "<|im_end|>"}},
        {"base_model": "Qwen/Qwen2.5-7B", "special_tokens": {"eos_token": "<|im_end|>"}},
    ),
    "QL719": ({"peft_init_lora_weights": "pissa_niter_4"}, {"peft_init_lora_weights": "gaussian"}),
    "QL716": ({"base_model": "./pixtral-tests/llama"}, {"base_model": "mistralai/Pixtral-12B-2409"}),
}

# For rules that look at the card: code: (bad card, good card, changes)
CARD_CASES: dict[str, tuple[str, str, Data]] = {
    "QL505": ("cpu", "a10g", {}),
    "QL506": ("t4", "a10g", {}),
    "QL507": ("t4", "a10g", {"tf32": True}),
    "QL508": ("a10g", "h100", {"fp8": True, "torch_compile": True}),
    "QL509": ("t4", "a10g", {"attn_implementation": "flash_attention_2"}),
    "QL510": ("a10g", "h100", {"sample_packing": True}),
    "QL702": ("t4", "a10g", {"base_model": "google/gemma-2-9b", "bf16": GONE}),
}
