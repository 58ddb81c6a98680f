"""Check many files: read, check, repair where asked, and count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.configs.findings import Finding
from launcher.configs.kinds import all_kinds
from launcher.configs.known import card_of
from launcher.configs.releases import NamedRelease
from launcher.configs.validate import UNREADABLE, Options, check_source, unreadable_file
from launcher.errors import Problem, Unreadable
from launcher.files import read_bounded_bytes
from launcher.rules.base import Kind
from launcher.yaml_source import LARGEST

if TYPE_CHECKING:
    from launcher.sizing import Correction

Source = tuple[str, bytes | None, bool]  # name, text or None to read the file, whether the person named it
ROUNDS = 5  # of repairs: one may uncover the next


@dataclass(frozen=True)
class Selection:
    """Which findings are wanted, by code or the beginning of a code.

    That a file cannot be read is always wanted: nothing else about it was looked at.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    without_notes: bool = False

    def wants(self, finding: Finding) -> bool:
        if finding.code in UNREADABLE:
            return True
        if self.without_notes and finding.severity == "note":
            return False
        if self.ignore and finding.code.startswith(_codes(self.ignore)):
            return False
        return not self.select or finding.code.startswith(_codes(self.select))

    def check(self) -> None:
        """Raises Unreadable for what no code begins with: a misspelled --select would let everything pass."""
        asked = _codes(self.select) + _codes(self.ignore)
        if not asked:
            return
        from launcher.configs.catalogue import codes, like

        known = codes()
        unknown = [item for item in asked if not any(code.startswith(item) for code in known)]
        if unknown:
            raise Unreadable([Problem(f"no such code: {item}", hint=like(item)) for item in unknown])


def _codes(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(code.strip().upper() for item in items for code in item.split(",") if code.strip())


@dataclass
class CheckedFiles:
    """What came of it. ``sources`` has the lines of the files that have findings; ``files`` counts all checked."""

    findings: list[Finding] = field(default_factory=list)
    sources: dict[str, list[str]] = field(default_factory=dict)
    files: int = 0
    skipped: int = 0
    fixed: int = 0
    fixed_stdin: str = ""

    def exit_code(self, *, strict: bool = False) -> int:
        """2 when a file could not be read, 1 for an error (or warning, when strict), else 0."""
        if any(finding.code in UNREADABLE for finding in self.findings):
            return 2
        bad = ("error", "warning") if strict else ("error",)
        return int(any(finding.severity in bad for finding in self.findings))


def check_files(
    sources: Sequence[Source],
    *,
    kind: str | None = None,
    versions: Mapping[Kind, NamedRelease] | None = None,
    gpu: str | None = None,
    corrections: Mapping[str, Correction] | None = None,
    with_data: bool = False,
    golden: Path | None = None,
    selection: Selection | None = None,
    fix: bool = False,
) -> CheckedFiles:
    """Check every source; ``corrections`` are the card's, by trainer.

    A file of a folder or glob that does not say what it is is skipped; a named one is a config.

    ``versions`` has the releases of trainers that count before what a file says. Raises Unreadable for a card that is
    not known.
    """
    selection = selection or Selection()
    selection.check()
    card = card_of(gpu) if gpu else None
    known: Kind | None = kind if kind in all_kinds() else None
    checked = CheckedFiles()
    for name, given, exact in sources:
        place = Path(name).absolute().parent if given is None else None
        options = Options(
            known,
            versions or {},
            card,
            with_data,
            golden,
            skip_unknown=not exact,
            place=place,
            corrections=corrections or {},
        )
        try:
            raw = read_bounded_bytes(Path(name), LARGEST) if given is None else given
        except OSError as error:
            checked.files += 1
            checked.findings.append(unreadable_file(name, f"cannot be read: {error.strerror or error}"))
            continue
        except Unreadable as error:
            checked.files += 1
            checked.findings.append(unreadable_file(name, error.problems[0].message))
            continue
        findings = check_source(raw, name, options)
        if findings is None:
            checked.skipped += 1
            continue
        checked.files += 1
        if fix:
            raw, findings = _repair(raw, findings, name, options, selection, checked, given is None)
        wanted = [finding for finding in findings if selection.wants(finding)]
        if wanted:
            checked.findings.extend(wanted)
            checked.sources[name] = raw.decode("utf-8-sig", errors="replace").split("\n")
    return checked


def _repair(
    raw: bytes,
    findings: list[Finding],
    name: str,
    options: Options,
    selection: Selection,
    checked: CheckedFiles,
    write: bool,
) -> tuple[bytes, list[Finding]]:
    from launcher.configs.fix import apply_fixes

    original = raw
    for _ in range(ROUNDS):
        repairable = [finding for finding in findings if finding.edits and selection.wants(finding)]
        if not repairable:
            break
        repaired, count = apply_fixes(raw, repairable)
        after = check_source(repaired, name, options) or []
        if any(finding.code in UNREADABLE for finding in after):  # such as two keys with the same successor
            break
        raw, findings = repaired, after
        checked.fixed += count
    if not write:
        checked.fixed_stdin = raw.decode("utf-8")
    elif raw != original:
        from launcher.files import write_atomic

        target = Path(name).resolve()  # a link stays a link
        mode = target.stat().st_mode
        write_atomic(target, raw.decode("utf-8"))
        target.chmod(mode)
    return raw, findings
