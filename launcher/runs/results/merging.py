"""The merge of a run, as `ql launch` asks for it and as `ql merge RUN` does it again."""

from __future__ import annotations

from launcher.errors import RunFailed
from launcher.records.jobs import MergeRequest
from launcher.runs.run import Run


def merge_request(run: Run) -> MergeRequest:
    """The trained weights as the trainer left them, else those that are shipped, into merged/ of the run.

    Raises RunFailed where it has no adapter, or was not told where its base is.
    """
    places = [run.path / name for name in ("trainer", "adapter") if (run.path / name / "adapter_config.json").is_file()]
    if not places or run.record.base_folder is None:
        raise RunFailed(f"{run.path} has no adapter yet", hint="let the training finish: `ql runs` shows its state")
    return MergeRequest(
        base=run.record.base_folder,
        adapter=str(places[0]),
        out=str(run.path / "merged"),
        record=run.record.quantization,
        base_mode=run.record.base_mode,
        tokenizer=str(run.path / "adapter"),
        chat_template=run.chat_template,
        device=run.device,
    )
