"""What is on this machine, third-party weights, and how fast it is: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import OUTPUT, Bank, Weights
from facemug_lib.commands.output import say
from facemug_lib.errors import FacemugError


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    """Check this machine; exit 1 if something is broken.

    Looks at Python, packages, device, memory, disk, fetched assets, shipped weights and the notebook kernel.

    Example: facemug doctor --json
    """
    from facemug_lib.machine.doctor import diagnose, report_json, report_text

    checks = diagnose()
    print(report_json(checks) if as_json else report_text(checks))
    if any(check.status == "broken" for check in checks):
        raise typer.Exit(1)


def assets(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Assets to fetch.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The optional ones too.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Only show what there is.")] = False,
) -> None:
    """Fetch third-party weights into the cache.

    Without names: all that are not optional. After that everything works offline.

    Example: facemug assets prior scrfd landmarks106
    """
    from facemug_lib.assets import ASSETS, asset_path, cache_dir

    unknown = [name for name in names or [] if name not in ASSETS]
    if unknown:
        raise FacemugError(f"unknown asset {unknown[0]!r}: choose from {', '.join(ASSETS)}")
    if listing:
        print(f"cache: {cache_dir()}")
        for name, asset in ASSETS.items():
            state = "cached" if asset.cached else "optional" if asset.optional else "missing"
            print(f"{state:8s}  {name:18s} {asset.megabytes:5.1f} MB  {asset.role} [{asset.licence}]")
        return
    for name in names or [name for name, asset in ASSETS.items() if everything or not asset.optional]:
        print(asset_path(name))


def bench(
    out: Annotated[Path | None, typer.Option(help="Also write the numbers to this JSON file.", **OUTPUT)] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer repetitions.")] = False,
    widgets: Annotated[bool, typer.Option("--widgets", help="Measure instead how soon the Explorer's pictures appear in a "
                                                            "browser (playwright and a Chromium).")] = False,
    weights: Weights = None,
    bank: Bank = None,
) -> None:
    """Measure speed and peak memory on this machine.

    With --weights or --bank only the prior's pictures and editing are measured, with these.

    Example: facemug bench --quick --out bench.json
    """
    from facemug_lib.devices import resolve_device
    from facemug_lib.files import require_writable_file
    from facemug_lib.machine.bench import SECTIONS, bench_widgets, measure, sections_with, table
    from facemug_lib.recording import write_json

    if out is not None:
        require_writable_file(out)
    if widgets:
        if weights is not None or bank is not None:
            raise FacemugError("--widgets measures the shipped weights: leave out --weights and --bank")
        from facemug_lib.widgets.live import find_browser

        find_browser()  # without one there is nothing to measure: one line, no table
    is_own = weights is not None or bank is not None
    sections = {"widgets": bench_widgets} if widgets else sections_with(bank, weights) if is_own else SECTIONS
    report = measure(resolve_device("auto"), sections, quick, say)
    print(table(report))
    if out is not None:
        write_json(out, report)
    # One section that fails does not keep the others from being measured and written; the command fails in the end.
    if report["failures"]:
        failed = "; ".join(f"{name}: {reason}" for name, reason in report["failures"].items())
        raise FacemugError(f"{len(report['failures'])} of {len(report['peak_memory_mib'])} sections failed ({failed})")
