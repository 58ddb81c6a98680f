"""A trainer's room holds its terms of memory and speed, and a room that is added is sized by being there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import launcher.trainers
from launcher.planning.decide import make_plan
from launcher.planning.estimate import estimate_values_memory, memory_request, values_speed
from launcher.preparing.request import make_request
from launcher.sizing import MemoryTerms, Speed, TrainerTerms
from launcher.trainers import get_trainer, trainer_names

ROOM = {
    "__init__": '"""A third trainer."""\n',
    "describe": (
        "from dataclasses import replace\n"
        "from launcher.trainers import get_trainer\n"
        "TRAINER = replace(get_trainer('unsloth'), name='third')\n"
    ),
    "memory": (
        "from launcher.sizing import MemoryTerms\n"
        "class ThirdMemory(MemoryTerms):\n"
        "    def loading(self, request):\n"
        "        return 33.0\n"
        "MEMORY = ThirdMemory(offloaded_in_flight=5)\n"
    ),
    "speed": "from launcher.sizing import Speed\nSPEED = Speed(matmul=0.37)\n",
}


@pytest.mark.parametrize("name", trainer_names())
def test_every_room_holds_its_terms(name: str) -> None:
    trainer = get_trainer(name)
    assert isinstance(trainer.memory, MemoryTerms)
    assert isinstance(trainer.speed, Speed)
    assert trainer.terms == TrainerTerms(trainer.memory, trainer.speed)


def test_a_room_that_is_added_is_sized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = tmp_path / "third"
    room.mkdir()
    for module, text in ROOM.items():
        (room / f"{module}.py").write_text(text, encoding="utf-8")
    names = trainer_names()
    monkeypatch.setattr(launcher.trainers, "__path__", [*launcher.trainers.__path__, str(tmp_path)])
    monkeypatch.setattr(launcher.trainers, "trainer_names", lambda: (*names, "third"))
    try:
        request = make_request(preset="h100-7b")
        values = make_plan(request).to_dict()
        third = values | {"backend": "third"}
        assert memory_request(third, request).trainer.memory.offloaded_in_flight == 5
        assert estimate_values_memory(third, request).load_gib > 33
        slow, fast = values_speed(third, request), values_speed(values, request)
        assert slow is not None
        assert fast is not None
        assert slow < fast
    finally:
        launcher.trainers._load.cache_clear()
        for module in [name for name in sys.modules if name.startswith("launcher.trainers.third")]:
            del sys.modules[module]
