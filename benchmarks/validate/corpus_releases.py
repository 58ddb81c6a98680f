# ruff: noqa: E501 - the tables have one row a line
"""What the corpus has beside `corpus.py` for one release of Axolotl: what it takes since or until then, and what it refuses.

python benchmarks/validate/corpus_releases.py 0.21        # how many cases, and how many of them are valid
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.validate.corpus import (
    ABSENT,
    KERNELS,
    LIGER,
    NO_EVAL,
    PLUGINS,
    Case,
    Data,
    Fault,
    corpus,
    dump,
    valid_configs,
)

Version = tuple[int, int]
FIRST: Version = (0, 19)
LAST: Version = (9999, 0)
CCE = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin"
MIXLORA = "axolotl.integrations.mixlora.MixLoraPlugin"
KERNELS_PLUGIN = "axolotl.integrations.kernels.KernelsPlugin"
SWANLAB = "axolotl.integrations.swanlab.SwanLabPlugin"
OFF = dict.fromkeys((*KERNELS, "lora_embedding_kernel"), False)
CHECKPOINTING = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}
NF4 = {"nf4_backend": "torchao", "bnb_config_kwargs": ABSENT}
MIX: Data = {"adapter": "mixlora", "plugins": [MIXLORA], **OFF}
EVAL: Data = {"val_set_size": 0.1, "eval_steps": 10}
EIGHT = {"adapter": "lora", "drop": ("load_in_8bit",)}


@dataclass(frozen=True)
class Of:
    """A change that belongs to the releases from ``since`` to ``until``, both included."""

    fault: Fault
    since: Version = FIRST
    until: Version = LAST


def _takes(name: str, change: Data, since: Version = FIRST, until: Version = LAST, **more: Any) -> Of:
    return Of(Fault(name, "", change, **more), since, until)


def _refuses(name: str, code: str, change: Data, since: Version = FIRST, until: Version = LAST, **more: Any) -> Of:
    return Of(Fault(name, code, change, **more), since, until)


V19, V20, V21 = (0, 19), (0, 20), (0, 21)

# Valid configs with what came, or may be again.
TAKEN: tuple[Of, ...] = (
    _takes("dynamic fine-tuning", {"use_dft": True}, V20, drop=PLUGINS),
    _takes("nf4 by bitsandbytes", {"nf4_backend": "bitsandbytes"}, V20),
    _takes("nf4 by torchao", NF4, V20, adapter="qlora"),
    _takes("gradients in fp32", {"lora_fp32_gradients": True}, V20),
    _takes("weight of a data set", {}, V20, data_set={"weight": 0.5}),
    _takes("export", {"export": {"format": "gguf", "quantize": ["Q4_K_M"]}}, V20),
    _takes("context parallel", {"context_parallel": {"size": 1}}, V20),
    _takes("products saved, kernels off", {"selective_checkpointing": {"save": ["aten::mm"]}, **CHECKPOINTING, **OFF}, V20),
    _takes("modules saved, kernels off", {"selective_checkpointing": {"save_modules": ["mlp"]}, **CHECKPOINTING, **OFF}, V20),
    _takes("long products saved, kernels off", {"selective_checkpointing": {"save_matmul_min_k": 512}, **CHECKPOINTING, **OFF}, V20),
    _takes("a module that no kernel runs", {"selective_checkpointing": {"save_modules": ["router"]}, **CHECKPOINTING}, V20),
    _takes("attention saved", {"selective_checkpointing": {"save": ["attention"]}, **CHECKPOINTING}),
    _takes("fp32 norms, FSDP", {"fp32_norms": True, "fsdp_config": {"reshard_after_forward": True}, "optimizer": "adamw_torch_fused"}, V20),
    _takes("fp32 norms, FSDP 2", {"fp32_norms": True, "fsdp_version": 2, "fsdp_config": {"reshard_after_forward": True}, "optimizer": "adamw_torch_fused"}),
    _takes("mixlora", MIX, V20, adapter="lora", drop=(*PLUGINS, *KERNELS, "load_in_8bit")),
    _takes("mixlora in 4 bit", {**MIX, "mixlora_num_experts": 4, "mixlora_top_k": 2}, V20, adapter="qlora", drop=(*PLUGINS, *KERNELS)),
    _takes("cce chunks", {"plugins": [CCE], "cut_cross_entropy": True, "cut_cross_entropy_accum_c_fp32": True, "cut_cross_entropy_c_grad_chunk_size": 256, "bf16": True, "fp16": ABSENT}, V20, drop=PLUGINS),
    _takes("scao", {"optimizer": "scao"}, V20),
    _takes("muon in 8 bit", {"optimizer": "muon_8bit"}, V21),
    _takes("no evaluation at the start", {**EVAL, "eval_on_start": False}, V21, drop=NO_EVAL),
    _takes("determinism", {"full_determinism": True}, V21),
    _takes("labels balanced", {"balance_labels": True}, V21),
    _takes("labels balanced over steps", {"balance_labels": True, "label_balance_window_optim_steps": 4}, V21),
    _takes("regional compilation", {"torch_compile": True, "torch_compile_regional": True, "gradient_checkpointing": False, "gradient_checkpointing_kwargs": ABSENT}, V21),
    _takes("nan filter", {"logging_nan_inf_filter": False}, V21),
    _takes("profiler", {"sync_profiler_steps": 2}, V21),
    _takes("expert parallel key", {"expert_parallel_size": 1}, V21),
    _takes("block size", {"bnb_config_kwargs": {"blocksize": 64}}, adapter="qlora"),
    _takes("fsdp of 0.19", {"fsdp": ["full_shard", "auto_wrap"], "fsdp_config": {"fsdp_use_orig_params": True}, "optimizer": "adamw_torch_fused"}, until=V19),
)  # fmt: skip

# Each with one fault. `until=V19` are keys that only a later release has.
REFUSED: tuple[Of, ...] = (
    _refuses("use_dft before 0.20", "QL101", {"use_dft": True}, until=V19),
    _refuses("nf4_backend before 0.20", "QL101", {"nf4_backend": "torchao"}, until=V19),
    _refuses("weight before 0.20", "QL101", {}, until=V19, data_set={"weight": 0.5}),
    _refuses("save_modules before 0.20", "QL101", {"selective_checkpointing": {"save_modules": ["router"]}, **CHECKPOINTING}, until=V19),
    _refuses("scao before 0.20", "QL103", {"optimizer": "scao"}, until=V19),
    _refuses("context_parallel before 0.20", "QL101", {"context_parallel": {"size": 1}}, until=V19),
    _refuses("eval_on_start before 0.21", "QL101", {"eval_on_start": False}, until=V20),
    _refuses("balance_labels before 0.21", "QL101", {"balance_labels": True}, until=V20),
    _refuses("muon_8bit before 0.21", "QL103", {"optimizer": "muon_8bit"}, until=V20),
    _refuses("varlen before 0.21", "QL103", {"attn_implementation": "varlen"}, until=V20),
    _refuses("expert parallel alone", "QL201", {"expert_parallel_size": 1}, until=V20),
    _refuses("fsdp list", "QL101", {"fsdp": ["full_shard"], "optimizer": "adamw_torch_fused"}, V20),
    _refuses("FSDP 1", "QL355", {"fsdp_version": 1, "fsdp_config": {"reshard_after_forward": True}, "optimizer": "adamw_torch_fused"}, V20),
    _refuses("FSDP 1 inside", "QL355", {"fsdp_config": {"fsdp_version": 1}, "optimizer": "adamw_torch_fused"}, V20),
    _refuses("FSDP 1, old spelling", "QL355", {"fsdp_config": {"version": 1}, "optimizer": "adamw_torch_fused"}, V20),
    _refuses("sharding strategy", "QL101", {"fsdp_config": {"sharding_strategy": "FULL_SHARD"}, "optimizer": "adamw_torch_fused"}, V20),
    _refuses("orig params", "QL101", {"fsdp_config": {"use_orig_params": True}, "optimizer": "adamw_torch_fused"}, V20),
    _refuses("fsdp and deepspeed", "QL347", {"fsdp_config": {"reshard_after_forward": True}, "deepspeed": "zero2.json", "optimizer": "adamw_torch_fused"}, V20),
    _refuses("two loss functions", "QL356", {"use_dft": True, "use_eaft": True}, V20),
    _refuses("dft and chunks", "QL356", {"use_dft": True, "chunked_cross_entropy": True}, V20),
    _refuses("dft and liger's loss", "QL356", {"use_dft": True, "liger_fused_linear_cross_entropy": True, "plugins": [LIGER]}, V20),
    _refuses("eaft and preferences", "QL356", {"use_eaft": True, "rl": "orpo"}, V20, drop=("sample_packing", "pad_to_sequence_len")),
    _refuses("another block size", "QL357", {"bnb_config_kwargs": {"blocksize": 128}}, V20, adapter="qlora"),
    _refuses("torchao, another block size", "QL358", {"nf4_backend": "torchao", "bnb_config_kwargs": {"blocksize": 128}}, V20, adapter="qlora"),
    _refuses("torchao on lora", "QL358", {"nf4_backend": "torchao"}, V20, adapter="lora", drop=KERNELS),
    _refuses("torchao in fp4", "QL358", {"nf4_backend": "torchao", "bnb_config_kwargs": {"bnb_4bit_quant_type": "fp4"}}, V20, adapter="qlora"),
    _refuses("torchao quantised once", "QL358", {"nf4_backend": "torchao", "bnb_config_kwargs": {"bnb_4bit_use_double_quant": False}}, V20, adapter="qlora"),
    _refuses("torchao with dora", "QL358", {**NF4, "peft_use_dora": True}, V20, adapter="qlora", drop=KERNELS),
    _refuses("torchao with whole modules", "QL358", {**NF4, "lora_modules_to_save": ["lm_head"]}, V20, adapter="qlora"),
    _refuses("torchao with pissa", "QL358", {**NF4, "peft_init_lora_weights": "pissa"}, V20, adapter="qlora"),
    _refuses("fp32 gradients of all weights", "QL359", {"adapter": ABSENT, "load_in_8bit": ABSENT, "lora_fp32_gradients": True}, V20, adapter="lora", drop=KERNELS),
    _refuses("pissa on parameters", "QL373", {"lora_target_parameters": ["experts.w1"], "peft_init_lora_weights": "pissa", "lora_dropout": 0}, V20),
    _refuses("mixlora without its plugin", "QL305", {"adapter": "mixlora"}, V20, adapter="lora", drop=(*PLUGINS, *KERNELS, "load_in_8bit")),
    _refuses("mixlora without a rank", "QL374", {**MIX, "lora_r": ABSENT}, V20, adapter="lora", drop=(*PLUGINS, *KERNELS, "load_in_8bit")),
    _refuses("mixlora without alpha", "QL374", {**MIX, "lora_alpha": ABSENT}, V20, adapter="lora", drop=(*PLUGINS, *KERNELS, "load_in_8bit")),
    _refuses("mixlora of too few", "QL374", {**MIX, "mixlora_num_experts": 2, "mixlora_top_k": 3}, V20, adapter="lora", drop=(*PLUGINS, *KERNELS, "load_in_8bit")),
    _refuses("top_k above the default", "QL374", {"mixlora_top_k": 9}, V20),
    _refuses("mixlora fused", "QL101", {**MIX, "flash_attn_fuse_qkv": True}, V20, adapter="lora", drop=(*PLUGINS, *KERNELS, "load_in_8bit")),
    _refuses("mixlora, fused mlp", "QL310", {**MIX, "flash_attn_fuse_mlp": True}, V20, adapter="lora", drop=(*PLUGINS, *KERNELS, "load_in_8bit")),
    _refuses("mixlora of preferences", "QL374", {**MIX, "rl": "orpo"}, V20, adapter="lora", drop=(*PLUGINS, *KERNELS, "load_in_8bit", "sample_packing", "pad_to_sequence_len")),
    _refuses("products saved under the kernels", "QL326", {"selective_checkpointing": {"save": ["aten::mm"]}, **CHECKPOINTING, "lora_mlp_kernel": True, "lora_qkv_kernel": True}, V20, adapter="qlora"),
    _refuses("products saved, kernels by themselves", "QL326", {"selective_checkpointing": {"save": ["aten::mm"]}, **CHECKPOINTING}, V20, adapter="qlora", drop=KERNELS),
    _refuses("long products under the kernels", "QL326", {"selective_checkpointing": {"save_matmul_min_k": 512}, **CHECKPOINTING}, V20, adapter="qlora", drop=KERNELS),
    _refuses("a module that a kernel runs", "QL326", {"selective_checkpointing": {"save_modules": ["gate_proj"]}, **CHECKPOINTING}, V20, adapter="qlora", drop=KERNELS),
    _refuses("a module by a pattern", "QL326", {"selective_checkpointing": {"save_modules": ["model.layers.*.q_*"]}, **CHECKPOINTING}, V20, adapter="qlora", drop=KERNELS),
    _refuses("a layer", "QL326", {"selective_checkpointing": {"save_modules": ["layers.0"]}, **CHECKPOINTING}, V20, adapter="qlora", drop=KERNELS),
    _refuses("an empty module", "QL326", {"selective_checkpointing": {"save_modules": [" "]}, **CHECKPOINTING, **OFF}, V20),
    _refuses("unknown gguf type", "QL124", {"export": {"quantize": ["Q9"]}}, V20),
    _refuses("gguf twice", "QL124", {"export": {"quantize": ["Q4_K_M"], "outtype": "q8_0"}}, V20),
    _refuses("gguf name", "QL124", {"export": {"quantize": ["Q4_K_M"], "outfile": "model.gguf"}}, V20),
    _refuses("cce chunk", "QL375", {"plugins": [CCE], "cut_cross_entropy": True, "cut_cross_entropy_accum_c_fp32": True, "cut_cross_entropy_c_grad_chunk_size": 100, "bf16": True, "fp16": ABSENT}, V20, drop=PLUGINS),
    _refuses("cce chunk in 16 bit", "QL375", {"plugins": [CCE], "cut_cross_entropy": True, "cut_cross_entropy_c_grad_chunk_size": 256, "bf16": True, "fp16": ABSENT}, V20, drop=PLUGINS),
    _refuses("context size twice", "QL376", {"context_parallel": {"size": 2}, "context_parallel_size": 4}, V20),
    _refuses("context of eager attention", "QL376", {"context_parallel_size": 2, "attn_implementation": "eager"}, V20),
    _refuses("sharded in 8 bit", "QL382", {"fsdp_config": {"reshard_after_forward": True}, "optimizer": "adamw_bnb_8bit"}, V20),
    _refuses("pinned alone", "QL382", {"fsdp_config": {"cpu_offload_pin_memory": False}, "optimizer": "adamw_torch_fused"}, V20),
    _refuses("wrapped by size", "QL382", {"fsdp_config": {"auto_wrap_policy": "SIZE_BASED_WRAP"}, "optimizer": "adamw_torch_fused"}, V20),
    _refuses("tensors in parts in 8 bit", "QL382", {"tensor_parallel_size": 2, "optimizer": "paged_adamw_8bit"}, V20),
    _refuses("falcon sharded", "QL381", {"base_model": "tiiuae/falcon-7b", "fsdp_config": {"reshard_after_forward": True}, "optimizer": "adamw_torch_fused"}, V20),
    _refuses("experts in parts", "QL383", {"expert_parallel_size": 2}, V21),
    _refuses("no such expert backend", "QL384", {"plugins": [KERNELS_PLUGIN], "expert_backend": "fast"}, V20, drop=PLUGINS),
    _refuses("swanlab without a project", "QL385", {"plugins": [SWANLAB], "use_swanlab": True}, drop=PLUGINS),
    _refuses("decision alone", "QL380", {"diffusion_decision": {}}, V21),
    _refuses("labels and lengths", "QL377", {"balance_labels": True, "group_by_length": True, "sample_packing": False, "pad_to_sequence_len": ABSENT}, V21),
    _refuses("labels in order", "QL377", {"balance_labels": True, "curriculum_sampling": True}, V21),
    _refuses("window alone", "QL377", {"label_balance_window_optim_steps": 4}, V21),
    _refuses("labels and split batches", "QL377", {"balance_labels": True, "accelerator_config": {"split_batches": True}}, V21),
    _refuses("regions checkpointed", "QL378", {"torch_compile": True, "torch_compile_regional": True, "gradient_checkpointing": True}, V21),
    _refuses("autotune alone", "QL201", {"autotune_cache_path": "cache"}, V21, drop=PLUGINS),
    _refuses("varlen", "QL379", {"attn_implementation": "varlen"}, V21),
    _refuses("diffusion without its plugin", "QL380", {"diffusion_lm": {"from_causal_lm": True}}, V21, drop=PLUGINS),
)  # fmt: skip


def corpus_of(version: Version, each: int = 2) -> list[Case]:
    """The cases for one release: those of every release, and its own."""
    configs = list(valid_configs(60))
    cases = [case for case in corpus() if case.fault not in _changed(version)]
    for number, (group, fault_of) in enumerate(_of(version)):
        fault = fault_of.fault
        made = 0
        for offset in range(len(configs)):
            name, data = configs[(number * 11 + offset) % len(configs)]
            bad = fault.apply(data)
            if bad is None or bad == data:
                continue
            valid = group == "taken"
            cases.append(
                Case(f"{fault.name} in {name}", dump(bad), None if valid else fault.name, None if valid else fault.code)
            )
            made += 1
            if made == each:
                break
    return cases


def _of(version: Version) -> Iterator[tuple[str, Of]]:
    for group, rows in (("taken", TAKEN), ("refused", REFUSED)):
        yield from ((group, row) for row in rows if row.since <= version <= row.until)


def _changed(version: Version) -> set[str]:
    """Faults of `corpus.py` that this release takes."""
    return {"selective of products"} if version >= V20 else set()


def main() -> None:
    from launcher.trainers.releases import read_version

    version = read_version(sys.argv[1])
    assert version is not None, f"no version: {sys.argv[1]}"
    cases = corpus_of(version)
    print(f"{len(cases)} cases, {sum(case.fault is None for case in cases)} of them valid")


if __name__ == "__main__":
    main()
