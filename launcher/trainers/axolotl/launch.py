"""Axolotl: `axolotl train` on config + overlay, written together as effective.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from launcher.trainers.launch import EFFECTIVE, Launch, Overlay, write_effective
from launcher.trainers.tracking import tracking

PLUGIN = "ql_axolotl.TelemetryPlugin"
LORA_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel")


class AxolotlLaunch(Launch):
    """Telemetry comes from a plugin; `--launcher python` trains without one more process for accelerate."""

    name = "axolotl"

    def overlay(
        self,
        folder: Path,
        python: str,
        changes: Mapping[str, Any],
        track: Sequence[str] = (),
        checkpoint: str | None = None,
    ) -> Overlay:
        config = yaml.safe_load((folder / "config.yaml").read_bytes())
        tracked = tracking(track, folder)
        added = {**changes, **tracked.axolotl, "plugins": [*(config.get("plugins") or []), PLUGIN]}
        if checkpoint is not None:
            added["resume_from_checkpoint"] = checkpoint
        write_effective(folder, added, "Axolotl")
        command = [python, "-m", "axolotl.cli.main", "train", EFFECTIVE, "--launcher", "python"]
        return Overlay(added, tracked.environment, command)

    def keys_of(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        keys: dict[str, Any] = {}
        for name, value in settings.items():
            match name:
                case "compute_dtype":
                    keys |= {"bf16": value == "bfloat16", "fp16": value == "float16"}
                case "activation_offload":
                    keys["activation_offloading"] = "hidden_states" if value else False
                case "gradient_checkpointing":
                    keys["gradient_checkpointing"] = value
                    keys["gradient_checkpointing_kwargs"] = {"use_reentrant": False} if value else None
                case "kernels":  # "liger" stays as it is: its keys depend on more than this
                    keys |= dict.fromkeys(LORA_KERNELS, "lora" in value)
                case "sequence_len":  # rows that were tokenised for another length are not to be used again
                    keys |= {"sequence_len": value, "dataset_prepared_path": f"trainer/prepared-{value}"}
                case _:
                    keys[name] = value
        return keys


LAUNCH = AxolotlLaunch()
