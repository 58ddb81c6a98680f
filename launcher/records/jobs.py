"""What each job under the trainer's python is asked and what it answers: the launcher and the job read the same class.

Folders and files are text, since they cross to another process. ``device`` is auto, cpu or cuda.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Annotated, Any, Generic, Protocol, TypeVar

from launcher.records.codec import LATE, Record, decode, encode
from launcher.records.environment import Probed
from launcher.records.events import Message
from launcher.records.merged import Distance, Merged, OtherBase, WantedDtype
from launcher.records.quantization import QuantizationRecord

Emit = Callable[[Message], None]  # tells the launcher how far a job is
Asked = TypeVar("Asked", bound=Record)
Answered = TypeVar("Answered", bound=Record)


@dataclass(frozen=True)
class Job(Generic[Asked, Answered]):
    """One job: the module whose ``run(request, emit)`` does it. ``online``: it may reach for the hub."""

    name: str
    module: str
    request: type[Asked]
    answer: type[Answered]
    online: bool = False

    def do(self, data: Any, emit: Emit) -> dict[str, object]:
        """Do it in this process, as its worker does: from JSON to JSON."""
        return encode(import_module(self.module).run(decode(self.request, data), emit))


class Call(Protocol):
    """Runs a job somewhere, with where it logs and who hears of its progress settled."""

    def __call__(self, job: Job[Asked, Answered], request: Asked, /) -> Answered: ...


@dataclass(kw_only=True)
class ProbeRequest(Record):
    """``trainers`` are the trainers' distributions, ``requires`` requirement specifiers."""

    requires: list[str] = field(default_factory=list)
    trainers: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class FetchRequest(Record):
    """A model of the hub."""

    base_model: str


@dataclass(kw_only=True)
class Fetched(Record):
    """The folder that has it."""

    path: str


@dataclass(kw_only=True)
class DatasetRequest(Record):
    """A data set of the hub, and the file that its rows go to. None: the only one, else the one called train."""

    name: str
    config: str | None = None
    split: str | None = None
    out: str


@dataclass(kw_only=True)
class FetchedRows(Record):
    """How many rows came, of which configuration and split; ``splits`` are all that there are."""

    rows: int
    config: str
    split: str
    splits: list[str]


@dataclass(kw_only=True)
class AdapterRequest(Record):
    """``source`` is the trainer's output folder, ``out`` what is shipped, in ``dtype``."""

    source: str
    out: str
    dtype: str
    base_model: str
    chat_template: str | None = None


@dataclass(kw_only=True)
class ShippedAdapter(Record):
    """How large the adapter is."""

    tensors: int
    bytes: int


@dataclass(kw_only=True)
class PushRequest(Record):
    """A folder, and the repository of the hub that it goes to."""

    folder: str
    repo: str
    private: bool = True
    revision: str | None = None
    message: str


@dataclass(kw_only=True)
class PushedFiles(Record):
    """Where it is now, and what was sent."""

    url: str
    commit: str
    files: list[str]
    bytes: int


@dataclass(kw_only=True)
class ModelRequest(Record):
    """The base and its adapter as they were trained. ``chat_template`` is a path; None: the tokenizer's own.

    ``template_settings`` are what the template is told, so that a prompt begins as the training rows do.
    """

    base: str
    adapter: str
    tokenizer: str
    quantization: QuantizationRecord | None = None
    compute_dtype: str
    device: str = "auto"
    chat_template: str | None = None
    template_settings: dict[str, object] = field(default_factory=dict)


@dataclass(kw_only=True)
class GoldenRequest(ModelRequest):
    """Greedy answers of ``subjects`` (base, adapter, merged) to ``prompts``, in the files ``outputs``.

    A prompt is ``{"id", "messages", "tools"?}`` or ``{"id", "text"}``. ``answers`` are the right ones: the longest sets
    how long an answer may get, after a thought of ``thought_tokens``, unless ``max_new_tokens`` does. ``batch_size``
    are prompts at once; with ``shrink`` a batch that runs out of memory is halved.
    """

    subjects: list[str]
    outputs: dict[str, str]
    merged: str
    prompts: list[Any]
    answers: list[str] = field(default_factory=list)
    thought_tokens: int = 0
    max_new_tokens: int | None = None
    batch_size: int | None = None
    shrink: bool = True


@dataclass(kw_only=True)
class SubjectAnswers(Record):
    """What a subject's file of answers holds; ``skipped`` says why there is none."""

    outputs: int = 0
    limit: int = 0
    tokens: int = 0
    unfinished: int = 0
    seconds: float = 0.0
    skipped: Annotated[str | None, LATE] = None


@dataclass(kw_only=True)
class GoldenAnswers(Record):
    """The device that answered, and what there is of each subject."""

    device: str
    subjects: dict[str, SubjectAnswers]


@dataclass(kw_only=True)
class ChatRequest(ModelRequest):
    """``questions`` is the file or named pipe that a person's lines come from."""

    max_new_tokens: int
    questions: str


@dataclass(kw_only=True)
class Chatted(Record):
    """How often the models answered."""

    turns: int


@dataclass(kw_only=True)
class MergeRequest(Record):
    """An adapter, its base, and the folder that gets the merged model.

    ``record`` is quantization.json; without it ``quantized`` (auto, nf4, int8, none) says how the base was held.
    ``base_mode`` is dequantized or original, ``dtype`` auto, float16 or bfloat16.
    """

    base: str
    adapter: str
    out: str
    record: QuantizationRecord | None = None
    quantized: str = "auto"
    base_mode: str = "dequantized"
    dtype: WantedDtype = "auto"
    tokenizer: str | None = None
    chat_template: str | None = None
    device: str = "auto"
    shard_bytes: int | None = None


@dataclass(kw_only=True)
class VerifyRequest(Record):
    """A merge that was made. ``prompts`` are token ids, texts, or rows with messages or text.

    ``both``: compare the other choice of base as well, without writing it.
    """

    merge: MergeRequest
    prompts: list[Any]
    both: bool = False


@dataclass(kw_only=True)
class Verified(Distance):
    """How far the merged model is from the trained one, over so many tokens."""

    tokens: int
    other: Annotated[OtherBase | None, LATE] = None


PROBE = Job("probe", "launcher.jobs.probe", ProbeRequest, Probed)
FETCH = Job("fetch", "launcher.jobs.fetch", FetchRequest, Fetched, online=True)
DATASET = Job("dataset", "launcher.jobs.dataset", DatasetRequest, FetchedRows, online=True)
ADAPTER = Job("adapter", "launcher.jobs.adapter", AdapterRequest, ShippedAdapter)
PUSH = Job("push", "launcher.jobs.push", PushRequest, PushedFiles, online=True)
GOLDEN = Job("golden", "launcher.jobs.golden.generate", GoldenRequest, GoldenAnswers)
MERGE = Job("merge", "launcher.jobs.merge.job", MergeRequest, Merged)
VERIFY = Job("verify", "launcher.jobs.merge.verify", VerifyRequest, Verified)
CHAT = Job("chat", "launcher.jobs.chat", ChatRequest, Chatted)
JOBS: dict[str, Job[Any, Any]] = {
    job.name: job for job in (PROBE, FETCH, DATASET, ADAPTER, PUSH, GOLDEN, MERGE, VERIFY, CHAT)
}
