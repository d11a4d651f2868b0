"""A look at the machine says what is broken, and outlives it."""

from __future__ import annotations

from pathlib import Path

from facemug_lib.machine import doctor


def test_doctor_survives_a_check_that_fails() -> None:
    def _torch() -> doctor.Check:
        raise ImportError("libtorch.so is missing\nmore")

    check = doctor._guarded(_torch)
    assert (check.name, check.status, check.text) == ("torch", "broken", "ImportError: libtorch.so is missing")


def test_doctor_sees_an_empty_cache(empty_cache: Path) -> None:
    check = next(check for check in doctor.diagnose() if check.name == "assets")
    assert check.status == "note" and "prior" in check.text and not any(check.details["present"].values())
