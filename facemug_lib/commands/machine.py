"""What is on this machine, and third-party weights: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from typing import Annotated

import typer

from facemug_lib.errors import FacemugError


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    """Check this machine; exit 1 if something is broken.

    Looks at Python, packages, device, memory, disk, fetched assets, shipped weights and the notebook kernel.

    Example: facemug doctor --json
    """
    from facemug_lib.commands.bodies import doctor as implementation

    checks = implementation.diagnose()
    print(implementation.report_json(checks) if as_json else implementation.report_text(checks))
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
