"""What a trainer is to the planner: what it can do on which card, and why. Descriptions only: nothing is run.

Each choice is returned with its reason, in words that fit behind the value in a config file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from launcher.catalog.capability import FLASH_ATTENTION_2
from launcher.errors import Problem
from launcher.trainers.releases import defaults_in

if TYPE_CHECKING:
    from launcher.catalog.types import Gpu, Stored
    from launcher.json_schema import Mode
    from launcher.rules.base import Version
    from launcher.sizing import MemoryTerms, Speed, TrainerTerms
    from launcher.trainers.codec import Codec
    from launcher.trainers.config_file import ConfigFile
    from launcher.trainers.launch import Launch
    from launcher.trainers.releases import Release

BITSANDBYTES_OPTIMIZERS = ("paged_adamw_8bit", "paged_adamw_32bit", "adamw_bnb_8bit")


@dataclass(frozen=True)
class OtherFile:
    """What wrote a file that is no config of a trainer. One of the keys ``own`` tells; of ``shared``, several do."""

    title: str
    own: frozenset[str]
    shared: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Trainer(ABC):
    """One trainer.

    ``templates`` maps an exported file to the template it is rendered from, ``copies`` to one that is copied as is.
    """

    name: str
    title: str
    distribution: str  # the installed distribution that proves its presence
    releases: tuple[Release, ...]  # the oldest first
    templates: Mapping[str, str]
    copies: Mapping[str, str]
    command: str  # what runs an exported folder without ql
    needs_semaphores: bool = False  # whether its rows are prepared in processes of their own
    marks: tuple[frozenset[str], ...] = ()  # keys that together tell its config from other files
    others: tuple[OtherFile, ...] = ()  # what people write for it that is not its config
    schema_mode: Mode = "strict"  # lax: its reader converts values, such as "16" to 16
    environment: Mapping[str, str] = field(default_factory=dict)  # keeps its library from calling home
    is_default: bool = False  # whether it runs where nobody chose; true of one

    def _part(self, module: str, name: str) -> Any:
        """``name`` of a module of this trainer's room, which is imported now: most verbs need few of them."""
        return getattr(import_module(f"launcher.trainers.{self.name}.{module}"), name)

    @property
    def newest(self) -> Release:
        """The newest release that ql launches."""
        return next(release for release in reversed(self.releases) if release.launched)

    @property
    def newest_known(self) -> Release:
        """The newest release whose configs ql checks, whether or not it launches it."""
        return self.releases[-1]

    def release(self, version: Version) -> Release:
        """The release of that version. Raises StopIteration for one that ql does not know."""
        return next(release for release in self.releases if release.version == version)

    @property
    def schema(self) -> str:
        """The file of the newest release's schema, under schemas/."""
        return f"{self.newest.schema}.json"

    @property
    def requires(self) -> tuple[str, ...]:
        """Requirement specifiers of the newest release, and what it asks of Python."""
        return (*self.newest.requires, *([f"python{self.newest.python}"] if self.newest.python else []))

    def load_rules(self) -> None:
        """Register the rules of its config; a trainer need not have any."""
        if find_spec(f"launcher.trainers.{self.name}.rules"):
            import_module(f"launcher.trainers.{self.name}.rules")

    @property
    def codec(self) -> Codec:
        """How settings are written in the config of the newest release that ql launches, and read from it."""
        return self.codec_of(self.newest)

    def codec_of(self, release: Release) -> Codec:
        """How settings are written in the config of that release, and read from it."""
        part: Codec = self._part("codec", "CODEC")
        return part.of(release.version, defaults_in(self.releases, release.version))

    @property
    def config_file(self) -> ConfigFile[Any]:
        """What an edited config names beside its settings: rows, templates, folders."""
        part: ConfigFile[Any] = self._part("config_file", "CONFIG_FILE")
        return part

    @property
    def launch(self) -> Launch:
        """How its process is started."""
        part: Launch = self._part("launch", "LAUNCH")
        return part

    @property
    def memory(self) -> MemoryTerms:
        """How it uses memory."""
        part: MemoryTerms = self._part("memory", "MEMORY")
        return part

    @property
    def speed(self) -> Speed:
        """How well it uses a card."""
        part: Speed = self._part("speed", "SPEED")
        return part

    @property
    def terms(self) -> TrainerTerms:
        """What the arithmetic of memory and speed is handed of it."""
        from launcher.sizing import TrainerTerms

        return TrainerTerms(self.memory, self.speed)

    @property
    def install_hint(self) -> str:
        """What to type when the trainer is missing."""
        return f"pip install '.[{self.name}]' in a checkout of ql, or name the python that has it with --trainer-python"

    @abstractmethod
    def kernels(
        self, gpu: Gpu, method: str, dtype: str, lora_dropout: float, stored: Stored | None = None
    ) -> tuple[tuple[str, ...], str]:
        """The fused kernels to switch on by default, and why. ``stored`` is a base that is in 4 bit on disk already."""

    @abstractmethod
    def attention(self, gpu: Gpu, packing: bool, dtype: str) -> tuple[str, str]:
        """The attention implementation to use by default, and why."""

    @abstractmethod
    def packing(self, gpu: Gpu, dtype: str) -> tuple[bool, str]:
        """Whether rows can be packed soundly on that card, so that the planner may choose to; and why (not)."""

    @abstractmethod
    def optimizer(self, gpu: Gpu, wanted: str) -> tuple[str, str]:
        """The optimizer that will really run when ``wanted`` is asked for, and why."""

    @abstractmethod
    def supports(self, setting: str, value: Any, gpu: Gpu) -> str | None:
        """Why this trainer cannot do ``setting`` = ``value`` on that card; None when it can."""

    def folder_fault(self, folder: str) -> str | None:
        """Why this trainer cannot read its data in a folder of that path, whatever is in it; None when it can."""
        return None

    def refusals(self, values: Mapping[str, object], gpu: Gpu, stored: Stored | None = None) -> list[Problem]:
        """Every setting of ``values`` that this trainer cannot do on that card, or that cannot go with another."""
        problems = []
        for setting, value in values.items():
            reason = self.supports(setting, value, gpu)
            if reason:
                problems.append(Problem(f"{setting} {_shown(value)}: {reason}"))
        problems += [Problem(message) for message in self.conflicts(values, gpu, stored)]
        return problems

    def conflicts(self, values: Mapping[str, object], gpu: Gpu, stored: Stored | None = None) -> list[str]:
        """What is wrong between settings that are fine one by one."""
        found = []
        if values.get("activation_offload") and not values.get("gradient_checkpointing"):
            found.append("activation_offload moves checkpointed activations: it needs gradient_checkpointing")
        return found


def supports_on_any(setting: str, value: Any, gpu: Gpu) -> str | None:
    """What no trainer can do on that card, whatever its own limits."""
    if setting == "attn_implementation" and value == "flash_attention_2":
        if gpu.kind == "cpu":
            return "FlashAttention 2 needs a GPU; sdpa runs on a CPU"
        if gpu.compute_capability < FLASH_ATTENTION_2:
            needs = f"FlashAttention 2 needs compute capability {FLASH_ATTENTION_2}"
            return f"{needs}, {gpu.title} has {gpu.compute_capability}; use sdpa"
    if setting == "activation_offload" and value and gpu.kind == "cpu":
        return "there is no GPU memory to save on a CPU"
    return None


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple | list) else str(value)
