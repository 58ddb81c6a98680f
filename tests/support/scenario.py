"""What a stand-in for a trainer does, as a story: ``Scenario().begin(steps=4).log(1).save(2).out_of_memory(step=3)``.

Each method adds one deed and returns the scenario; `fake_trainer` does them in a process of its own, in their order.
A scenario that comes to its end leaves with exit code 0, whatever it has said.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scenario:
    deeds: tuple[tuple[str, dict[str, Any]], ...] = ()

    def do(self, deed: str, **values: Any) -> Scenario:
        """``deed`` is a function of `fake_trainer`."""
        return Scenario((*self.deeds, (deed, values)))

    def then(self, other: Scenario) -> Scenario:
        return Scenario(self.deeds + other.deeds)

    def to_json(self) -> str:
        return json.dumps(self.deeds)

    # --- what the callback in a real trainer says ---

    def say(self, event: str, **values: Any) -> Scenario:
        return self.do("say", event=event, values=values)

    def begin(self, *, steps: int = 3) -> Scenario:
        """At the step of the checkpoint that it resumes from."""
        return self.do("begin", steps=steps)

    def log(self, step: int) -> Scenario:
        return self.say("log", step=step, loss=1.0 / step, tokens_per_second=10.0 * step, peak_memory_gib=2.0)

    def evaluate(self, step: int, *, loss: float) -> Scenario:
        return self.say("eval", step=step, eval_loss=loss)

    def save(self, step: int, *, best: str | None = None, owes: bool = False) -> Scenario:
        """A checkpoint with all its files, sealed; ``best`` is the folder that it names as the best so far.

        ``owes``: the evaluation of its step was left out.
        """
        return self.do("save", step=step, best=best, owes=owes)

    def end(self, step: int | None = None, *, stopped: bool = False, **more: Any) -> Scenario:
        """At the last step, unless one is given."""
        return self.do("end", step=step, stopped=stopped, more=more)

    def fault(self, kind: str, *, step: int, **evidence: Any) -> Scenario:
        return self.say("fault", kind=kind, step=step, evidence=evidence)

    # --- how it lives ---

    def work(self, *, beats: int, every: float) -> Scenario:
        """Touch the file that says it is alive; ``every`` is in seconds."""
        return self.do("work", beats=beats, every=every)

    def sleep(self, seconds: float) -> Scenario:
        return self.do("sleep", seconds=seconds)

    def hang(self) -> Scenario:
        return self.do("wait_for_ever")

    def print(self, text: str, *, to_stderr: bool = False) -> Scenario:
        return self.do("show", text=text, to_stderr=to_stderr)

    def write(self, file: str, text: str = "") -> Scenario:
        """``file`` is in the run's folder."""
        return self.do("write", file=file, text=text)

    def wait_until_asked_to_stop(self) -> Scenario:
        return self.do("wait_until_asked")

    def stop_when_asked(self, *, step: int) -> Scenario:
        """Say that it stops; a real one saves a checkpoint then."""
        return self.wait_until_asked_to_stop().say("stop", step=step)

    def tell_what_is_asked(self) -> Scenario:
        """The event ``asked``, whose ``how`` is what stands in the request to stop, or None."""
        return self.do("tell_what_is_asked")

    def tell_environment(self, name: str) -> Scenario:
        """The event ``environment``, with the ``value`` of the variable."""
        return self.do("tell_environment", name=name)

    # --- what depends on the settings that it is started with ---

    def while_above(self, setting: str, limit: int, *, planned: int, story: Scenario) -> Scenario:
        """``story`` while the setting, ``planned`` where nothing changed it, is above the limit."""
        return self.do("while_above", setting=setting, limit=limit, planned=planned, story=story.deeds)

    def unless(self, setting: str, value: str, *, story: Scenario) -> Scenario:
        return self.do("unless", setting=setting, value=value, story=story.deeds)

    # --- how it dies ---

    def out_of_memory(self, *, step: int | None = None, phase: str = "train") -> Scenario:
        """As the callback reports it, without a traceback."""
        said = self.say("crash", phase=phase, out_of_memory=True, message="CUDA out of memory", step=step)
        return said.exit(1)

    def crash(self, error: Exception) -> Scenario:
        """Reported by the callback, and raised."""
        return self.say("crash", phase="train", out_of_memory=False, message=str(error)).fail(error)

    def fail(self, error: Exception) -> Scenario:
        """Raised where no callback sees it; ``error`` is of a built-in kind."""
        return self.do("fail", kind=type(error).__name__, message=str(error))

    def use(self, module: str) -> Scenario:
        return self.do("use", module=module)

    def exit(self, code: int) -> Scenario:
        return self.do("leave", code=code)

    def killed(self) -> Scenario:
        """By SIGKILL, as the kernel does when memory is short."""
        return self.do("killed")
