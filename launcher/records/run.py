"""run.json: what was asked, decided, done and found. Its schema, schemas/run.json, is made from these classes.

Stages add their own facts, so other keys may stand anywhere. Times are seconds, or UTC in ISO 8601 where they are text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from launcher.records.codec import LATE, Keywords, Record
from launcher.records.decision import Source
from launcher.records.environment import Environment
from launcher.records.merged import Merged
from launcher.records.quantization import QuantizationRecord

StageName = Literal["prepare", "train", "evaluate", "merge", "verify", "report"]
StageState = Literal["pending", "running", "done", "skipped", "failed", "stopped"]
RunState = Literal["running", "finished", "failed", "stopped"]
VERSION: Literal[1] = 1  # of this layout
STAGES: tuple[StageName, ...] = ("prepare", "train", "evaluate", "merge", "verify", "report")
SUBJECTS = ("base", "adapter", "merged")  # what a golden set is asked
Scores = dict[str, dict[str, float]]  # subject -> metric -> mean over the prompts

_MOMENT = Keywords({"pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}([+]\d{2}:\d{2})?$"})
_NOT_EMPTY = Keywords({"minLength": 1})
_POSITIVE = Keywords({"minimum": 0})
_ONE = Keywords({"minimum": 1})


@dataclass(kw_only=True)
class PlanKeys(Record):
    """The keys of the plan that a reader of run.json counts on; the plan itself stays the mapping that it is."""

    preset: str | None = None
    gpu: str = ""
    model: str = ""
    base_model: Annotated[str, _NOT_EMPTY]
    backend: Annotated[str, Keywords({"x-trainers": []})]
    method: Literal["qlora", "lora"]
    compute_dtype: Literal["float16", "bfloat16", "float32"]
    lora_r: Annotated[int, _ONE] = 1
    sequence_len: Annotated[int, _ONE] = 1
    evals_per_epoch: float | None = None
    num_epochs: float | None = None
    max_steps: int | None = None
    max_grad_norm: float | None = None
    conversational: bool = True
    on_cpu: bool = False
    reasons: dict[str, str] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)


@dataclass(kw_only=True)
class AskedFor(Record):
    """The flags of `ql launch` that decide the plan and its inputs; files by their absolute paths."""

    preset: str | None = None
    gpu: str | None = None
    model: str | None = None
    method: str | None = None
    backend: str | None = None
    data: str | None = None
    config: str | None = None
    settings: dict[str, object] = field(default_factory=dict)
    golden: str | None = None
    gates: list[str] = field(default_factory=list)
    allow_overlap: bool = False
    columns: Annotated[dict[str, str], LATE] = field(default_factory=dict)
    thoughts: Annotated[Literal["train", "each", "drop"], LATE] = "train"


@dataclass(kw_only=True)
class Overridden(Record):
    """What a value that the person set would have been without it, and why."""

    value: Any = None
    reason: str = ""


@dataclass(kw_only=True)
class RecordedPrice(Record):
    """What an hour of the card costs, and who says so."""

    usd_per_hour: Annotated[float, _POSITIVE]
    source: str
    date: str = ""


@dataclass(kw_only=True)
class Estimate(Record):
    """What was expected of the run; None where nothing is known to reckon with."""

    gpu_title: str | None = None
    peak_gib: float | None = None
    allocated_gib: float | None = None
    budget_gib: float | None = None
    breakdown_gib: dict[str, float] = field(default_factory=dict)
    tokens_per_second: float | None = None
    hours: float | None = None
    hours_by_part: dict[str, float | None] | None = None
    usd: float | None = None
    price: RecordedPrice | None = None


@dataclass(kw_only=True)
class ModelFacts(Record):
    """The base model, for the card of the model that is made from it."""

    title: str | None = None
    license: str | None = None
    parameters: int | None = None


@dataclass(kw_only=True)
class RecordedLengths(Record):
    """Tokens of the rows; ``histogram`` is ``[upper end, rows]``."""

    exact: bool = True
    source: str = ""
    total: int = 0
    trained: int = 0
    mean: float = 0.0
    minimum: int = 0
    median: float = 0
    p95: float = 0
    maximum: float = 0
    histogram: list[tuple[float, float]] = field(default_factory=list)


@dataclass(kw_only=True)
class DataRecord(Record):
    """The file that the person gave, and what the run made of it.

    ``sha256`` is that of the file, or, once the run has data files of its own, theirs by name.
    """

    path: str
    sha256: str | dict[str, str]
    input: Annotated[str | None, LATE] = None
    input_sha256: Annotated[str | None, LATE] = None
    format: Annotated[str | None, LATE] = None
    train_rows: Annotated[int | None, LATE] = None
    eval_rows: Annotated[int | None, LATE] = None
    left_out: Annotated[int | None, LATE] = None
    excess: Annotated[str | None, LATE] = None
    cut: Annotated[dict[str, object] | None, LATE] = None
    lengths: Annotated[RecordedLengths | None, LATE] = None
    template_settings: Annotated[dict[str, object], LATE, "What the chat template is told in prompts."] = field(
        default_factory=dict
    )
    thought_tokens: Annotated[int, LATE, "Tokens of the longest thought before an answer, about."] = 0

    @property
    def written(self) -> dict[str, str]:
        """The sha256 of the run's own data files, by name; empty before there are any."""
        return self.sha256 if isinstance(self.sha256, dict) else {}

    @property
    def given(self) -> str | dict[str, str]:
        """The sha256 of what was given, where it is known."""
        return self.input_sha256 or self.sha256


@dataclass(kw_only=True)
class GoldenSet(Record):
    """The golden set, and the gates that were asked for."""

    path: str
    sha256: str
    rows: int
    gates: list[str]


@dataclass(kw_only=True)
class RepairPolicy(Record):
    """What of the repairs the person allows. ``off`` names those that are switched off."""

    off: frozenset[str] = frozenset()
    allow_shorter: bool = False
    stall_seconds: float = 600.0
    stop_seconds: float = 90.0


@dataclass(kw_only=True)
class Training(Record):
    """What came of the training. Peaks are GiB."""

    OTHERS: ClassVar[Any] = float | str | None

    steps: int
    seconds: float = 0.0
    tokens: float = 0
    final_loss: float | None = None
    best_eval_loss: float | None = None
    best_checkpoint: str | None = None
    skipped_steps: int | None = None
    tokens_per_second: float | None = None
    peak_memory_gib: float | None = None
    peak_allocated_gib: float | None = None
    device_gib: float | None = None


@dataclass(kw_only=True)
class GateResult(Record):
    """What a gate found. ``value`` and ``bound`` are None where a subject was not scored; then it is not passed."""

    gate: str
    passed: bool
    subject: str = ""
    value: float | None = None
    bound: float | None = None
    reason: str


@dataclass(kw_only=True)
class Curve(Record):
    """Both losses in a few points."""

    OTHERS: ClassVar[Any] = list[float]

    loss: list[float]
    eval_loss: list[float]


@dataclass(kw_only=True)
class Stage(Record):
    """One stage, and how it stands."""

    name: Annotated[StageName, "The stage."]
    state: Annotated[StageState, "How the stage stands."]
    seconds: Annotated[float | None, "How long it took.", _POSITIVE] = None
    started: Annotated[str | None, LATE, "When it began, UTC, ISO 8601.", _MOMENT] = None
    error: Annotated[str | None, LATE, "Why it failed."] = None
    reason: Annotated[str | None, LATE, "Why it was skipped."] = None


@dataclass(kw_only=True)
class Repair(Record):
    """What the launcher mended by itself; ``before`` and ``after`` are the settings that changed, by name."""

    time: Annotated[str, "When, UTC, ISO 8601."]
    stage: Annotated[str, "The stage it happened in."]
    kind: Annotated[str, "What went wrong: oom_train, oom_eval, fp16_overflow, divergence, stall, exit."]
    cause: Annotated[str, "What was seen."]
    action: Annotated[str, "What was done."]
    step: Annotated[int | None, "Optimizer step at which it was seen."] = None
    before: Annotated[Any, "The settings that changed, as they were."] = None
    after: Annotated[Any, "The same settings, as they are."] = None


@dataclass(kw_only=True)
class Resume(Record):
    """A time that the run was taken up again."""

    time: Annotated[str, "When, UTC, ISO 8601."]
    stage: Annotated[str, "The stage it went on with."]
    from_step: Annotated[int | None, "Optimizer step of the checkpoint, in training."] = None
    answers: Annotated[int | None, "Golden answers that were there, in the evaluation."] = None


@dataclass(kw_only=True)
class Recount(Record):
    """What changed of the plan when the base's tokenizer counted rows whose lengths were estimated from bytes."""

    source: Annotated[str, "The tokenizer."]
    longest: Annotated[int, "Tokens of the longest row."]
    before: dict[str, object] = field(default_factory=dict)
    after: dict[str, object] = field(default_factory=dict)


@dataclass(kw_only=True)
class Pushed(Record):
    """An upload to the hub."""

    repo: str
    subject: str
    revision: str
    time: str
    url: str
    commit: str


@dataclass(kw_only=True)
class Manifest(Record):
    """run.json."""

    name: Annotated[str, "Name of the run: that of its folder.", _NOT_EMPTY]
    version: Annotated[Literal[1], "Version of this layout."]
    state: Annotated[RunState, "How the run stands."]
    created: Annotated[str, "When it began, UTC, ISO 8601.", _MOMENT]
    ql_version: Annotated[str | None, "The ql that launched it."] = None
    plan: Annotated[dict[str, Any], PlanKeys, "Every decision, as ql presets prints it."]
    asked: Annotated[AskedFor | None, "What the person asked for."] = None
    asked_files: Annotated[dict[str, str] | None, "Hashes of the files that the person wrote by hand."] = None
    overridden: Annotated[dict[str, Overridden], "What each value that the person set would have been without it."] = (
        field(default_factory=dict)
    )
    estimate: Annotated[Estimate | None, "What was expected of the run: GiB, tokens/s, hours, USD."] = None
    max_position_embeddings: Annotated[int | None, "The longest text of the base, in tokens."] = None
    model_facts: Annotated[ModelFacts, "Title, licence and size of the base."] = field(default_factory=ModelFacts)
    data: Annotated[
        DataRecord | None,
        LATE,
        "The rows: where they came from, how many there are, how long, and their hashes.",
    ] = None
    golden: Annotated[GoldenSet | None, "The golden set and its gates."] = None
    environment: Annotated[Environment, "The machine and the versions of the libraries."] = field(
        default_factory=Environment
    )
    trainer_python: Annotated[str | None, LATE, "The Python that has the trainer.", _NOT_EMPTY] = None
    memory_fraction: Annotated[float | None, "The trainer's share of the card, where it is capped."] = None
    overlay: Annotated[dict[str, object], "Keys of the config that this run changes."] = field(default_factory=dict)
    track: Annotated[list[str], "Experiment trackers that the trainer logs to."] = field(default_factory=list)
    repair_policy: Annotated[RepairPolicy, "Which repairs are allowed."] = field(default_factory=RepairPolicy)
    changes: Annotated[dict[str, object], "What repairs have changed of the plan."] = field(default_factory=dict)
    base_mode: Annotated[str, "The weights that the adapter is merged into."] = "dequantized"
    merge_wanted: Annotated[bool, "Whether the adapter is merged."] = True
    base_folder: Annotated[str | None, "Where the base model was found."] = None
    lengths_estimated: Annotated[bool, LATE, "Whether the rows' lengths are still estimates from bytes."] = False
    recount: Annotated[Recount | None, LATE, "The plan, corrected by the base's tokenizer before training."] = None
    warnings: Annotated[list[str], LATE, "What may be wrong, with the rows or the config."] = field(
        default_factory=list
    )
    notes: Annotated[list[str], "What a person should know."] = field(default_factory=list)
    gates: Annotated[list[GateResult], "The gates as they were judged."] = field(default_factory=list)
    stages: Annotated[list[Stage], "What was done, in order.", Keywords({"minItems": 1})]
    repairs: Annotated[list[Repair], "What the launcher mended by itself, in order."] = field(default_factory=list)
    resumes: Annotated[list[Resume], "When the run was taken up again."] = field(default_factory=list)
    inputs: Annotated[dict[str, str], LATE, "What the run was made from, by hash."] = field(default_factory=dict)
    training: Annotated[
        Training | None, LATE, "What came of the training: steps, seconds, tokens, losses, tokens/s, GiB."
    ] = None
    quantization: Annotated[
        QuantizationRecord | None, LATE, "How the base was held in training, as the trainer's process saw it."
    ] = None
    golden_scores: Annotated[Scores, LATE, "Scores of base, adapter and merged, by metric."] = field(
        default_factory=dict
    )
    merge: Annotated[
        Merged | None,
        LATE,
        "The merged model: base, dtype, shards, and how far it is from the model that was trained.",
    ] = None
    curve: Annotated[Curve | None, LATE, "Both losses in a few points."] = None
    pushed: Annotated[list[Pushed], LATE, "Uploads to the hub."] = field(default_factory=list)

    @property
    def columns(self) -> dict[str, str]:
        """The person's names for the columns of their files."""
        return self.asked.columns if self.asked else {}

    def stage(self, name: str) -> Stage:
        """The stage of that name. Raises StopIteration where the run has none."""
        return next(stage for stage in self.stages if stage.name == name)
