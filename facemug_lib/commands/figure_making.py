"""The pictures of ``figures/``: which there are, whether they still hold, and making them again through their notebooks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from facemug_lib.commands.notebook_parameters import PROFILES, nearest, resolve_parameters
from facemug_lib.commands.runner import find_notebook, list_notebooks, read_notebook, run_notebook
from facemug_lib.errors import FacemugError
from facemug_lib.figures import provenance
from facemug_lib.figures.registry import BY_HAND, GALLERY, PAPER, SOMETIMES, Figure
from facemug_lib.progress import Tell, untold
from facemug_lib.recording import figures_folder

FRESH, STALE, MISSING, UNRECORDED, OPTIONAL = "fresh", "stale", "missing", "no record", "optional"


@dataclass(frozen=True)
class State:
    """How it stands with one picture, and why: :data:`FRESH`, :data:`STALE`, :data:`MISSING`, :data:`UNRECORDED`, or
    :data:`OPTIONAL`, which is missing and need not be there."""

    figure: Figure
    path: Path
    state: str
    why: list[str] = field(default_factory=list)
    record: provenance.Record | None = None

    @property
    def profile(self) -> str | None:
        """That it was made with; None where nothing says so."""
        return None if self.record is None else self.record["profile"]


def known_figures() -> list[Figure]:
    """Every picture that a notebook makes: those of the registry, and what else the notebooks save; sorted by notebook."""
    named = [*PAPER, *GALLERY]
    taken = {(figure.notebook, figure.file) for figure in named}
    found = [figure for path in list_notebooks() for figure in _saved_by(path) if (figure.notebook, figure.file) not in taken]
    return sorted([*named, *found], key=lambda figure: (figure.notebook, figure.file))


def usual_figures() -> list[Figure]:
    """The same without those that a usual run does not save."""
    return [figure for figure in known_figures() if figure.file not in SOMETIMES]


def _saved_by(path: Path) -> list[Figure]:
    """The pictures that a notebook saves, each with the heading it stands under."""
    heading, found = "", []
    for cell in _notebook(path).cells:
        if cell.cell_type == "markdown":
            heading = next((line.lstrip("# ") for line in cell.source.splitlines() if line.startswith("#")), heading)
        else:
            found += [Figure(name, re.sub(r"^\d+\. ", "", heading), path.stem)
                      for name in re.findall(r'figure_path\("([^"]+)"\)', cell.source)]
    return found


def find_figures(names: Sequence[str]) -> list[Figure]:
    """The pictures meant by ``names``: one by its name, all of a notebook by its, or the paper's by their number, ``fig12``.

    Raises :class:`FacemugError` for a name that means none, with the one most like it.
    """
    known, found = known_figures(), []
    for name in names:
        meant = [figure for figure in known if name in (figure.name, figure.file, Path(figure.file).name)]
        meant = meant or [figure for figure in usual_figures() if figure.notebook == name]
        meant = meant or [figure for figure in known if _plain(name) in map(_plain, figure.paper)]
        if not meant:
            raise FacemugError(f"no figure {name!r}{nearest(name, [figure.name for figure in known])}: "
                               "`facemug figures list` shows them all")
        found += [figure for figure in meant if figure not in found]
    return found


def _plain(label: str) -> str:
    return re.sub(r"[^a-z0-9]", "", label.lower().replace("figure", "fig"))


# -- does it still hold ---------------------------------------------------------------------------------------------------


@cache
def _notebook(path: Path) -> Any:
    return read_notebook(path)


@cache
def _facts(path: Path) -> provenance.Record:
    return provenance.source_facts(_notebook(path))


def state_of(figure: Figure) -> State:
    """How it stands with the file of ``figure``."""
    path = figures_folder() / figure.file
    if not path.is_file():
        why = SOMETIMES.get(figure.file)
        return State(figure, path, OPTIONAL, [why]) if why else State(figure, path, MISSING)
    record = provenance.read_record(path)
    if record is None:
        return State(figure, path, UNRECORDED, ["nothing says how it was made"])
    notebook = find_notebook(figure.notebook)
    if record["notebook"] != figure.notebook or record.get("profile") not in PROFILES:
        return State(figure, path, STALE, [f"made by {record['notebook']}, not by {figure.notebook}"], record)
    parameters = resolve_parameters(_notebook(notebook), notebook.name, record["profile"], figure.settings)
    why = provenance.changes(path, record, _facts(notebook), parameters)
    return State(figure, path, STALE if why else FRESH, why, record)


def strangers() -> list[Path]:
    """Files of the figures' folder that no notebook makes and nobody has put there by hand, below that folder."""
    folder = figures_folder()
    known = {figure.file for figure in known_figures()} | set(BY_HAND) | {"README.md"}
    found = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return [path for path in found if path.as_posix().removesuffix(".json") not in known]


def costs(notebook: str) -> dict[str, str]:
    """Profile → how long a run takes, as the opening table of the notebook says."""
    opening = _notebook(find_notebook(notebook)).cells[0].source
    rows = [[cell.strip(" `") for cell in line.strip().strip("|").split("|")] for line in opening.splitlines()
            if line.startswith("|")]
    times = [place for place, title in enumerate(rows[0]) if title == "time"] if rows else []
    return {row[0]: row[times[0]] for row in rows if times and row[0] in PROFILES}


# -- making ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """Pictures that a notebook was run for, and the error that kept it from making them, if any."""

    notebook: str
    figures: list[Figure]
    error: str | None


def make_figures(figures: Iterable[Figure], profile: str = "smoke", anew: bool = False, tell: Tell = untold) -> list[Made]:
    """Run the notebooks of ``figures`` and put their pictures into place; one run serves all that want the same parameters.

    A picture that is fresh and was made with this profile or a costlier one is left alone, so that the same call goes on where
    a killed one stopped; ``anew`` makes all. Where a notebook fails the old pictures stay, and the others are made all the same.
    """
    runs: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        runs.setdefault(_run_of(figure, profile), []).append(figure)
    made = []
    for place, (run, wanted) in enumerate(sorted(runs.items()), start=1):
        todo = wanted if anew else [figure for figure in wanted if not _is_done(state_of(figure), profile)]
        if not todo:
            tell(f"[{place}/{len(runs)}] {wanted[0].notebook}: {len(wanted)} fresh")
            continue
        tell(f"[{place}/{len(runs)}] {wanted[0].notebook} for {', '.join(figure.name for figure in todo)}")
        # What the same run gives besides comes along; the committed gallery only when it was asked for.
        along = [figure for figure in known_figures() if figure not in todo and not figure.file.startswith("gallery/")
                 and _run_of(figure, profile) == run]
        targets: dict[str, list[Path]] = {}
        for figure in (*todo, *along):
            targets.setdefault(figure.saved_as, []).append(figures_folder() / figure.file)
        result = run_notebook(todo[0].notebook, profile, todo[0].settings, report=tell, figures=targets)
        absent = [figure for figure in todo if str(figures_folder() / figure.file) not in result.figures]
        if saved := [figure for figure in todo if figure not in absent]:
            made.append(Made(result.notebook, saved, None))
        if absent:
            made.append(Made(result.notebook, absent, result.error or "the notebook ran and saved none of that name"))
    return made


def _run_of(figure: Figure, profile: str) -> tuple[str, str]:
    """Which run gives the picture: notebook and parameters."""
    notebook = find_notebook(figure.notebook)
    parameters = resolve_parameters(_notebook(notebook), notebook.name, profile, figure.settings)
    return figure.notebook, json.dumps(parameters, sort_keys=True)


def _is_done(state: State, profile: str) -> bool:
    return state.state == FRESH and PROFILES.index(state.profile) >= PROFILES.index(profile)
