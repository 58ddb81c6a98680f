"""What a finished run offers to those who ask its models something: `ql eval` and `ql chat`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import BadInput, RunFailed
from launcher.files import sha256_file, write_json
from launcher.golden.evaluate import GoldenResult, evaluate, metrics_for
from launcher.golden.gates import judge, parse_gates
from launcher.golden.rows import read_golden
from launcher.records.codec import encode
from launcher.records.jobs import Call, ModelRequest
from launcher.records.run import SUBJECTS, GateResult
from launcher.runs.run import Run

Connect = Callable[[Path], Call]


@dataclass(frozen=True)
class Evaluation:
    """What `ql eval` found, and the folder that holds every answer with its scores."""

    folder: Path
    rows: int
    result: GoldenResult
    gates: Sequence[GateResult]

    def to_dict(self) -> dict[str, object]:
        return {
            "folder": str(self.folder),
            "rows": self.rows,
            "golden": {subject: dict(scores) for subject, scores in self.result.scores.items()},
            "gates": [encode(gate) for gate in self.gates],
            "notes": self.result.notes,
        }


def evaluate_run(
    run: Run, golden: Path, gate_texts: Sequence[str], connect: Connect, *, max_new_tokens: int | None = None
) -> Evaluation:
    """Score base, adapter and, where there is one, merged of a finished run on a golden set.

    ``connect(log)`` gives the function that runs a torch job and logs there. The answers of the golden set that the run
    itself was scored on are used again; any other gets a folder of its own under eval/. Raises Unreadable or BadInput
    for a bad golden set or gate, RunFailed when the run has no adapter or a model cannot be loaded.
    """
    models = model_request(run)
    gates = parse_gates(gate_texts)
    conversational = run.plan["conversational"]
    rows = read_golden(golden, conversational=conversational, columns=run.record.columns)
    metrics_for(rows, gates, golden)
    wanted = [subject for subject in SUBJECTS if subject != "merged" or (run.path / "merged").is_dir()]
    lacking = sorted(set().union(*(gate.subjects for gate in gates)) - set(wanted))
    if lacking:
        raise BadInput(
            f"a gate asks for {lacking[0]}, which this run does not have", hint="`ql merge RUN` makes merged/"
        )
    digest = sha256_file(golden)
    own = (run.record.golden is not None and run.record.golden.sha256 == digest) and max_new_tokens is None
    folder = run.path / "golden" if own else run.path / "eval" / digest[:12]
    folder.mkdir(parents=True, exist_ok=True)
    result = evaluate(
        run.path,
        rows,
        connect(run.path / "eval.log"),
        subjects=wanted,
        models=models,
        gates=gates,
        conversational=conversational,
        folder=folder,
        max_new_tokens=max_new_tokens,
        thought_tokens=run.record.data.thought_tokens if run.record.data else 0,
    )
    evaluation = Evaluation(folder, len(rows), result, judge(gates, result.scores))
    if not own:
        write_json(folder / "eval.json", {"path": str(golden.resolve()), "sha256": digest, **evaluation.to_dict()})
    return evaluation


def model_request(run: Run) -> ModelRequest:
    """Base and adapter of a run, as the jobs golden and chat are asked.

    Raises RunFailed when the run was not trained to its end.
    """
    base, adapter = run.record.base_folder, run.path / "adapter"
    if not base or not adapter.is_dir():
        raise RunFailed(f"{run.path.name} has no adapter/: it was not trained to its end", hint="`ql runs` lists all")
    if not Path(base).is_dir():
        raise RunFailed(f"the base model is no longer in {base}")
    return ModelRequest(
        base=base,
        adapter=str(adapter),
        tokenizer=str(adapter),
        quantization=run.record.quantization,
        compute_dtype=run.plan["compute_dtype"],
        device=run.device,
        chat_template=run.chat_template,
        template_settings=run.record.data.template_settings if run.record.data else {},
    )
