"""What scripts/new_release.py says of two releases that are recorded, and the entry that it prints."""

from __future__ import annotations

import new_release
import release_facts


def test_the_report_says_what_changed_and_what_rests_on_it() -> None:
    text = new_release.report("0.19", "0.20")
    assert "gone: fsdp\n" in text
    assert "new: nf4_backend\n" in text
    assert "fsdp_version: None -> 2\n" in text
    assert "new: OptimizationValidationMixin.check_bnb_blocksize (QL357)" in text
    assert "changed: AxolotlInputConfig.check_fp32_norms (QL214, QL345)" in text
    assert "transformers ==5.16.1 -> ==5.17.0" in text
    rests = text.partition("## Rules that rest on a key that changed\n")[2]
    assert "QL345: fsdp_version\n" in rests


def test_a_validator_that_nobody_speaks_of_is_shouted() -> None:
    assert new_release._who("AxolotlInputConfig.check_what_is_new") == " (NOBODY SPEAKS OF IT)"
    assert new_release._who("LoraConfig.validate_qlora").startswith(" (QL301")


def test_nothing_is_said_of_a_release_against_itself() -> None:
    text = new_release.report("0.21", "0.21")
    assert "new:" not in text
    assert "changed:" not in text


def test_the_entry_is_python() -> None:
    text = new_release.entry(release_facts.read("0.20"), release_facts.read("0.19"))
    compile(text.strip().rstrip(","), "entry", "eval")
    assert '"fsdp_version": Changed(2, "TODO")' in text
    assert "launched=False" in text
