"""A codec: one table of how a plan's settings are written in a trainer's config, and read from it.

Rendering, reading an edited config back, the repairs of a run, and what a setting is called in a message: all of it
follows from the table. ``decode(encode(plan))`` is the plan, for every preset (tests/trainers/test_codec.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Protocol

from launcher.catalog.types import Gpu, Model
from launcher.records.decision import Decision
from launcher.rules.base import ALWAYS, FOREVER, Config, Version
from launcher.trainers.readback import ReadBack, Reading, RowCounts
from launcher.yaml_source import Positions

REQUIRED: Final = object()  # the default of a key that must be in the file
Keys = Mapping[str, object]  # value by key; ``outer.inner`` is a key inside another


class Planned(Protocol):
    """What encoding looks at of a plan, beside the setting's own value (`launcher.planning.plan.Plan`)."""

    @property
    def conversational(self) -> bool: ...
    @property
    def eval_interval(self) -> float: ...
    @property
    def evaluates(self) -> bool: ...
    @property
    def keeps_best(self) -> bool: ...


@dataclass(frozen=True)
class Entry:
    """One setting of the plan. In the plain case it is the value of one key, and ``setting`` and ``key`` say it all.

    ``key`` is what messages call it and where it is read; None where the config has no key for it. ``default`` is the
    trainer's own, where the file does not say, because of ``otherwise``. ``encode`` gives the keys of a value,
    ``encode_plan`` those that depend on more of the plan, ``amend`` those of a value that changes while a run goes on.
    ``when`` says of which plans it is written. ``decode`` reads it where it is not the value of ``key``; ``convert``
    is for one that is. ``named``: no key shows the value, so the comment above it does. ``since`` and ``until`` bound
    the releases that write it so, both included: a key that was renamed is two entries.
    """

    setting: str
    key: str | None
    section: str
    default: Any = REQUIRED
    otherwise: str | None = None
    convert: Callable[[Any], Any] | None = None
    encode: Callable[[Any], Keys] | None = None
    encode_plan: Callable[[Any], Keys] | None = None
    amend: Callable[[Any], Keys] | None = None
    when: Callable[[Any], bool] | None = None
    decode: Callable[[Reading], None] | None = None
    named: bool = False
    since: Version = ALWAYS
    until: Version = FOREVER

    @property
    def is_plain(self) -> bool:
        """Whether the value of its key is the setting's own, so that a word for the one means the other."""
        return self.encode is None and self.encode_plan is None

    def keys_of(self, value: Any) -> Keys:
        """The keys of a value, whatever the rest of the plan is."""
        if self.encode is not None:
            return self.encode(value)
        return {} if self.key is None or self.encode_plan is not None else {self.key: value}

    def keys_in(self, plan: Planned) -> Keys:
        """The keys of this setting in the config of a plan; none where it is not written."""
        if self.when is not None and not self.when(plan):
            return {}
        return self.encode_plan(plan) if self.encode_plan is not None else self.keys_of(getattr(plan, self.setting))


@dataclass(frozen=True)
class Codec:
    """The table of one trainer. ``name`` is the trainer's, ``config`` what its file is called in a sentence."""

    name: str
    config: str
    default: str  # the reason of a value that the file does not say
    entries: tuple[Entry, ...]

    def of(self, version: Version, defaults: Mapping[str, Any]) -> Codec:
        """The table of one release; ``defaults`` are those that it has otherwise than the table says, by key."""
        kept = (entry for entry in self.entries if entry.since <= version <= entry.until)
        return replace(self, entries=tuple(_with_default(entry, defaults) for entry in kept))

    @cached_property
    def by_setting(self) -> Mapping[str, Entry]:
        return {entry.setting: entry for entry in self.entries}

    def writes(self, setting: str) -> bool:
        """Whether the config can say it at all: a trainer that has no switch for a setting has no key either."""
        return self.by_setting[setting].key is not None

    def is_whole(self, config: Config) -> bool:
        """Whether the config has every key that `decode` cannot do without, whatever their values."""
        needed = [entry.key for entry in self.entries if entry.default is REQUIRED and entry.decode is None]
        return all(key is None or key.partition(".")[0] in config.data for key in needed)

    def section(self, name: str) -> Iterable[Entry]:
        """The entries of one section of the config, in their order."""
        return (entry for entry in self.entries if entry.section == name)

    def encode(self, plan: Planned) -> dict[str, object]:
        """Every key that the settings of ``plan`` become, in the order of the table."""
        return {key: value for entry in self.entries for key, value in entry.keys_in(plan).items()}

    def amend(self, settings: Mapping[str, object]) -> dict[str, object]:
        """The keys that change with ``settings`` in a run that goes on. Raises KeyError for an unknown setting."""
        changed: dict[str, object] = {}
        for setting, value in settings.items():
            entry = self.by_setting[setting]
            if entry.encode_plan is not None and entry.amend is None:
                raise ValueError(f"{setting} depends on more of the plan: it cannot change while a run goes on")
            changed |= (entry.amend or entry.keys_of)(value)
        return changed

    def decode(
        self, config: Config, file: str, positions: Positions, gpu: Gpu, model: Model, rows: RowCounts
    ) -> ReadBack:
        """Every setting of the plan that ``config``, which has no errors, is for that card and model."""
        reading = Reading(config, gpu, model, rows, ReadBack(file, positions))
        found = reading.back
        found.decisions["backend"] = Decision(self.name, "file", self.config)
        for entry in self.entries:
            self._read(entry, reading)
        micro, steps = found.values["micro_batch_size"], found.values["gradient_accumulation_steps"]
        place = found.places.get("gradient_accumulation_steps", found.places.get("micro_batch_size"))
        found.put("effective_batch_size", micro * steps, place, f"{steps} x {micro} rows")
        return found

    def _read(self, entry: Entry, reading: Reading) -> None:
        if entry.decode is not None:
            entry.decode(reading)
            return
        assert entry.key is not None, f"{entry.setting} has neither a key nor a way to be read"
        if entry.default is REQUIRED:
            reading.put(entry.setting, reading.config.get(entry.key), entry.key)
        else:
            reading.take(entry.setting, entry.key, entry.default, entry.otherwise or self.default)
        if entry.convert is not None:
            reading.back.convert(entry.setting, entry.convert)


def _with_default(entry: Entry, defaults: Mapping[str, Any]) -> Entry:
    return entry if entry.key is None or entry.key not in defaults else replace(entry, default=defaults[entry.key])
