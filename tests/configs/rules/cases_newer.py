"""As cases.py, for the rules of keys that came later: the release that the pair is tried with, then the two configs."""

from __future__ import annotations

from typing import Any

Data = dict[str, Any]
PLUGINS = "axolotl.integrations."
CCE = [PLUGINS + "cut_cross_entropy.CutCrossEntropyPlugin"]
SHARDED: Data = {"fsdp_config": {"reshard_after_forward": True}}
CHUNKS: Data = {"plugins": CCE, "cut_cross_entropy": True, "cut_cross_entropy_c_grad_chunk_size": 256}
KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")
MIXLORA: Data = {
    "adapter": "mixlora",
    "plugins": [PLUGINS + "mixlora.MixLoraPlugin"],
    **dict.fromkeys(KERNELS),
    "load_in_4bit": None,
}
FROM_CAUSAL: Data = {"diffusion_lm": {"from_causal_lm": True}}

# code: (release, bad, good)
CASES: dict[str, tuple[str, Data, Data]] = {
    "QL124": ("0.20", {"export": {"quantize": ["Q9"]}}, {"export": {"quantize": "q4_k_m,Q8_0"}}),
    "QL355": ("0.20", {"fsdp_version": 1}, {"fsdp_version": 2}),
    "QL356": ("0.20", {"use_dft": True, "chunked_cross_entropy": True}, {"use_dft": True}),
    "QL357": ("0.20", {"bnb_config_kwargs": {"blocksize": 128}}, {"bnb_config_kwargs": {"blocksize": 64}}),
    "QL358": ("0.20", {"nf4_backend": "torchao", "peft_use_dora": True}, {"nf4_backend": "torchao"}),
    "QL359": (
        "0.20",
        {"lora_fp32_gradients": True, "adapter": None, "load_in_4bit": None},
        {"lora_fp32_gradients": True},
    ),
    "QL373": (
        "0.20",
        {"lora_target_parameters": ["experts.w1"], "peft_init_lora_weights": "pissa"},
        {"lora_target_parameters": ["experts.w1"], "peft_init_lora_weights": "gaussian"},
    ),
    "QL374": ("0.20", {**MIXLORA, "lora_alpha": None}, MIXLORA),
    "QL375": ("0.20", CHUNKS, {**CHUNKS, "cut_cross_entropy_accum_c_fp32": True}),
    "QL376": ("0.20", {"context_parallel": {"size": 2}, "context_parallel_size": 4}, {"context_parallel": {"size": 2}}),
    "QL377": ("0.21", {"balance_labels": True, "curriculum_sampling": True}, {"balance_labels": True}),
    "QL378": (
        "0.21",
        {"torch_compile": True, "torch_compile_regional": True, "gradient_checkpointing": True},
        {"torch_compile": True, "torch_compile_regional": True},
    ),
    "QL379": ("0.21", {"attn_implementation": "varlen"}, {"attn_implementation": "sdpa"}),
    "QL380": ("0.21", FROM_CAUSAL, {**FROM_CAUSAL, "plugins": [PLUGINS + "diffusion.DiffusionPlugin"]}),
    "QL381": ("0.20", {**SHARDED, "base_model": "tiiuae/falcon-7b"}, {"base_model": "tiiuae/falcon-7b"}),
    "QL382": ("0.20", {**SHARDED, "optimizer": "adamw_8bit"}, {**SHARDED, "optimizer": "adamw_torch_8bit"}),
    "QL383": ("0.21", {"expert_parallel_size": 2}, {"expert_parallel_size": 2, **SHARDED}),
    "QL384": (
        "0.20",
        {"plugins": [PLUGINS + "kernels.KernelsPlugin"], "expert_backend": "fast"},
        {"plugins": [PLUGINS + "kernels.KernelsPlugin"], "expert_backend": "eager"},
    ),
    "QL385": (
        "0.19",
        {"plugins": [PLUGINS + "swanlab.SwanLabPlugin"]},
        {"plugins": [PLUGINS + "swanlab.SwanLabPlugin"], "swanlab_project": "mine"},
    ),
}
# What a rule says otherwise in another release: code, release, config, whether it speaks.
OTHERWISE: tuple[tuple[str, str, Data, bool], ...] = (
    ("QL345", "0.19", {"fp32_norms": True, **SHARDED}, True),
    ("QL345", "0.20", {"fp32_norms": True, **SHARDED}, False),
    ("QL347", "0.19", {"fsdp": ["full_shard"], "deepspeed": "a.json"}, True),
    ("QL347", "0.21", {**SHARDED, "deepspeed": "a.json"}, True),
    ("QL201", "0.20", {"expert_parallel_size": 1}, True),
    ("QL201", "0.21", {"expert_parallel_size": 1}, False),
    ("QL305", "0.21", {**MIXLORA, "plugins": [PLUGINS + "liger.LigerPlugin"]}, True),
    ("QL305", "0.19", MIXLORA, True),
    ("QL206", "0.20", {**MIXLORA, "load_in_4bit": True, "bnb_config_kwargs": {"bnb_4bit_quant_type": "nf4"}}, False),
    ("QL335", "0.20", {"batch_flattening": True}, True),
    ("QL335", "0.21", {"batch_flattening": True, "attn_implementation": "varlen"}, False),
    ("QL326", "0.19", {"selective_checkpointing": {"save": ["aten::mm"]}, "gradient_checkpointing": True}, True),
    ("QL326", "0.20", {"selective_checkpointing": {"save": ["aten::mm"]}, "gradient_checkpointing": True}, True),
    (
        "QL326",
        "0.20",
        {
            "selective_checkpointing": {"save": ["aten::mm"], "save_modules": ["mlp"], "save_matmul_min_k": 8},
            "gradient_checkpointing": True,
            **dict.fromkeys(KERNELS, False),
        },
        False,
    ),
    ("QL326", "0.20", {"selective_checkpointing": {"save_modules": ["h.*"]}, "gradient_checkpointing": True}, True),
    ("QL326", "0.20", {"selective_checkpointing": {"save_modules": ["router"]}, "gradient_checkpointing": True}, False),
)
