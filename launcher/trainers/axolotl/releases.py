"""The releases of Axolotl whose configs ql knows. `scripts/new_release.py` makes an entry, its schema and its facts.

Evidence is a file of the release's own package (axolotl/), or a run that is named.
"""

from __future__ import annotations

from launcher.trainers.releases import Changed, Fact, Gone, Release

PLUGINS = "axolotl.integrations."
ADAPTERS = {"lora": "", "qlora": "", "llama-adapter": "", "mora": PLUGINS + "mora.MoraPlugin"}
WITH_MIXLORA = {**ADAPTERS, "mixlora": PLUGINS + "mixlora.MixLoraPlugin"}
CONTEXT_PARALLEL = PLUGINS + "context_parallel.ContextParallelPlugin"
EXPERT_PARALLEL = PLUGINS + "expert_parallel.ExpertParallelPlugin"
_VALIDATION = "utils/schemas/validation.py"
_SCHEMAS = "utils/schemas"
_FSDP = f"{_VALIDATION}: check_fsdp_version, FSDP1_ONLY_IGNORED_KEYS"
_MERGE = "cli/merge_lora.py, cli/utils/lora_merge.py"

RELEASES = (
    Release((0, 17), "axolotl-0.17", launched=False, plugins=PLUGINS, adapters=ADAPTERS),
    Release((0, 18), "axolotl-0.18", launched=False, plugins=PLUGINS, adapters=ADAPTERS),
    Release(
        (0, 19),
        "axolotl-0.19",
        python=">=3.10",
        requires=("axolotl==0.19.0", "torch>=2.11,<=2.13"),
        plugins=PLUGINS,
        adapters=ADAPTERS,
        pins={"transformers": "==5.16.1", "peft": "==0.20.0", "trl": "==1.9.0", "datasets": "==4.8.4"},
        facts=(
            Fact(
                "`axolotl merge-lora` rounds every 2-D tensor through NF4, embeddings and head too, and leaves the "
                "trained tokenizer and chat template out. `ql merge` does neither.",
                f"{_MERGE}; benchmarks/merge",
            ),
        ),
    ),
    Release(
        (0, 20),
        "axolotl-0.20",
        python=">=3.12",
        requires=("axolotl>=0.20,<0.21", "torch>=2.13,<=2.14"),
        launched=False,
        plugins=PLUGINS,
        always_on=(CONTEXT_PARALLEL,),
        adapters=WITH_MIXLORA,
        pins={"transformers": "==5.17.0", "peft": "==0.21.0", "trl": "==1.13.0", "datasets": "==4.8.4"},
        defaults={
            "fsdp_version": Changed(2, f"{_SCHEMAS}/config.py; {_VALIDATION}: check_fsdp_version_in_fsdp_config"),
            "qlora_sharded_model_loading": Changed(None, f"{_SCHEMAS}/peft.py; on by itself under FSDP only"),
        },
        gone={
            "fsdp": Gone("fsdp_config", _FSDP),
            **{
                f"fsdp_config.{prefix}{key}": Gone("", _FSDP)
                for prefix in ("", "fsdp_")
                for key in ("use_orig_params", "sync_module_states")
            },
        },
        facts=(
            Fact("FSDP 1 is gone: `fsdp`, and any `fsdp_version` but 2, are refused.", _FSDP),
            Fact(
                "The first weights of each adapter are drawn again from a generator that the module's name seeds: the "
                "same seed gives another adapter than before.",
                "loaders/model.py: _reinit_lora_from_seed",
            ),
            Fact(
                "`nf4_backend: torchao` quantises the base by another way than bitsandbytes, which `ql merge` cannot "
                "repeat: a run with it is refused.",
                "loaders/nf4.py: staged_nf4_loading",
            ),
            Fact("The context-parallel plugin is on by itself.", "integrations/base.py: BUILTIN_PLUGINS"),
        ),
    ),
    Release(
        (0, 21),
        "axolotl-0.21",
        python=">=3.12",
        requires=("axolotl>=0.21,<0.22", "torch>=2.13,<2.15"),
        launched=False,
        plugins=PLUGINS,
        always_on=(CONTEXT_PARALLEL, EXPERT_PARALLEL),
        adapters=WITH_MIXLORA,
        pins={"transformers": "==5.20.1", "peft": "==0.21.2", "trl": "==1.14.1", "datasets": "==5.0.1"},
        defaults={
            "merge_method": Changed(None, f"{_SCHEMAS}/peft.py; memory_efficient where a model asks for no other"),
            "gradient_checkpointing_kwargs.use_reentrant": Changed(
                False, "utils/config/__init__.py: normalize_config; before, true"
            ),
        },
        facts=(
            Fact(
                "`eval_strategy: no` is obeyed beside an evaluation set, and `eval_on_start: false` leaves out the "
                "evaluation before the first step.",
                "core/builders/base.py: _configure_save_and_eval_strategy",
            ),
            Fact(
                "A listed plugin that cannot be imported ends the run; before, it was logged and left out.",
                "utils/config/__init__.py: prepare_plugins",
            ),
            Fact(
                "The expert-parallel plugin, and plugins of installed packages (entry points `axolotl.plugins`), are "
                "on by themselves.",
                "integrations/base.py: get_builtin_plugins",
            ),
            Fact(
                "`axolotl merge-lora` rounds through NF4 only what bitsandbytes quantised in training.",
                f"{_MERGE}: _bnb_quantized_modules",
            ),
        ),
    ),
)
