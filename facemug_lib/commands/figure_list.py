"""``facemug figures``: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

import json
import shlex
import sys
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from facemug_lib.commands.options import Profile
from facemug_lib.commands.output import say
from facemug_lib.errors import FacemugError

if TYPE_CHECKING:
    from facemug_lib.commands.figure_making import State
    from facemug_lib.figures.registry import Figure

figures = typer.Typer(no_args_is_help=True, help="List, make and check the pictures of figures/.\n\nEach says how it was made, "
                      "and whether that still holds.\n\nExample: facemug figures list")

Names = Annotated[list[str] | None, typer.Argument(
    metavar="[NAME]...", help="Pictures, notebooks, or numbers of the paper's, such as fig12.")]


@figures.command("list")
def figures_list(as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False) -> None:
    """Show every picture: its notebook, what a run costs, what it shows, and whether it is fresh.

    Example: facemug figures list
    """
    from facemug_lib.commands.figure_making import costs, known_figures, state_of, strangers
    from facemug_lib.figures.registry import ALIKE, BY_HAND, NOT_HERE

    states = [state_of(figure) for figure in known_figures()]
    if as_json:
        print(json.dumps([_as_plain(state) for state in states], indent=2))
        return
    for notebook, group in groupby(states, key=lambda state: state.figure.notebook):
        print(f"{notebook}: {'; '.join(f'{profile} {time}' for profile, time in costs(notebook).items())}")
        for state in group:
            paper = f" [{', '.join(state.figure.paper)}]" if state.figure.paper else ""
            print(f"  {_short(state):15} {_shown(state.figure):32} {state.figure.shows}{paper}")
    for name, how in BY_HAND.items():
        print(f"by hand           {name.removesuffix('.png'):32} {how}")
    for path in strangers():
        print(f"unknown           {path}: no notebook makes it")
    print("\nOf the paper, not here:")
    for what, why in NOT_HERE.items():
        print(f"  {what}: {why}")
    print(f"  in every comparison: {ALIKE}")


@figures.command("make")
def figures_make(
    names: Names = None,
    everything: Annotated[bool, typer.Option("--all", help="Every picture, the gallery of the README among them.")] = False,
    profile: Annotated[Profile, typer.Option(help="How much a run may cost.")] = Profile.smoke,
    anew: Annotated[bool, typer.Option("--anew", help="Also what is fresh.")] = False,
) -> None:
    """Make pictures again through their notebooks.

    What is fresh stays, so the same command goes on where a killed one stopped. A picture is written only when its whole notebook
    has succeeded; where one fails the old picture stays and the others are made.

    Example: facemug figures make fig12 --profile laptop
    """
    from facemug_lib.commands.figure_making import find_figures, make_figures, usual_figures

    if bool(names) == everything:
        raise FacemugError("name the figures to make, or give --all" if not names else "--all makes every figure: name none")
    made = make_figures(usual_figures() if everything else find_figures(names), profile.value, anew, say)
    failed = [one for one in made if one.error]
    for one in failed:
        print(f"facemug: error: {one.notebook} failed, {_several(one.figures)} stay as they were: {one.error}", file=sys.stderr)
    for one in made:
        if one not in failed:
            print(f"{one.notebook}: {', '.join(figure.file for figure in one.figures)}")
    if not made:
        print("all fresh: nothing was to be made")
    if failed:
        raise typer.Exit(1)


@figures.command("how")
def figures_how(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A picture, or the number of one of the paper's.")],
) -> None:
    """Say how a picture was made, and with which command it is made again.

    Example: facemug figures how fig11_modality_subsets
    """
    from facemug_lib.commands.figure_making import find_figures, state_of

    for state in map(state_of, find_figures([name])):
        print(f"{state.figure.file}: {state.figure.shows}")
        print(f"  state       {_short(state)}{': ' + '; '.join(state.why) if state.why else ''}")
        settings = "".join(f" --set {shlex.quote(f'{key}={_written(value)}')}" for key, value in state.figure.settings.items())
        print(f"  notebook    notebooks/{state.figure.notebook}.ipynb, where it is {state.figure.saved_as}")
        print(f"  again       facemug figures make {state.figure.name} --profile {state.profile or 'smoke'}")
        print(f"  alone       facemug run {state.figure.notebook} --profile {state.profile or 'smoke'}{settings}")
        for line in _told(state):
            print(f"  {line}")


@figures.command("check")
def figures_check(names: Names = None) -> None:
    """Exit 1 unless every picture (or each one named) is there and fresh, and say what has changed.

    Example: facemug figures check quickstart wink
    """
    from facemug_lib.commands.figure_making import FRESH, find_figures, state_of, strangers, usual_figures

    states = [state_of(figure) for figure in (find_figures(names) if names else usual_figures())]
    for state in states:
        if state.state != FRESH:
            print(f"{_shown(state.figure)}: {state.state}{': ' + '; '.join(state.why) if state.why else ''}")
    unknown = [] if names else strangers()
    for path in unknown:
        print(f"{path}: no notebook makes it")
    fresh = sum(state.state == FRESH for state in states)
    print(f"{fresh} of {len(states)} fresh")
    if fresh < len(states) or unknown:
        raise typer.Exit(1)


def _short(state: State) -> str:
    return f"{state.state}, {state.profile}" if state.profile else state.state


def _shown(figure: Figure) -> str:
    """The name, with the folder where it has one."""
    return figure.file.rpartition(".")[0]


def _several(found: list[Figure]) -> str:
    return ", ".join(figure.name for figure in found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _told(state: State) -> list[str]:
    record = state.record
    if record is None:
        return []
    parameters = ", ".join(f"{name}={_written(value)}" for name, value in record["parameters"].items())
    packages = ", ".join(f"{name} {version}" for name, version in record["packages"].items())
    return [
        f"made        {record['made']}, in {record['seconds']:.0f} s of the whole notebook, on {record['device']}",
        f"parameters  {parameters}",
        *[f"weights     {name} {digest[:12]}" for name, digest in record["weights"].items()],
        f"code        {record['code_sha256'][:12]}, {len(record['code'])} modules; notebook {record['notebook_sha256'][:12]}",
        f"packages    {packages}",
        f"picture     {record['picture_sha256'][:12]}",
    ]


def _as_plain(state: State) -> dict[str, object]:
    figure = state.figure
    return {"name": figure.name, "file": figure.file, "shows": figure.shows, "notebook": figure.notebook,
            "paper": list(figure.paper), "settings": dict(figure.settings), "state": state.state, "why": state.why,
            "record": state.record}
