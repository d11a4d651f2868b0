"""``facemug study``: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import INPUT, OUTPUT_FOLDER, Seed

FOLDER = {"exists": True, "file_okay": False}
study = typer.Typer(no_args_is_help=True, help="Let people compare two methods.\n\nA blinded page to click through, and what its "
                    "votes say.\n\nExample: facemug study make ours theirs --out study")


@study.command("make")
def study_make(
    first: Annotated[Path, typer.Argument(metavar="FOLDER", help="Pictures of one method.", **FOLDER)],
    second: Annotated[Path, typer.Argument(metavar="FOLDER", help="Those of another, under the same names.", **FOLDER)],
    out: Annotated[Path, typer.Option(help="Folder of page.html, to click through, and key.json, to keep.", **OUTPUT_FOLDER)],
    count: Annotated[int, typer.Option(min=1, max=500, help="How many pairs.")] = 20,
    asked: Annotated[Path | None, typer.Option(help="Pictures of what was asked for, under the same names.", **FOLDER)] = None,
    question: Annotated[str, typer.Option(help="What people are asked.")] = "Which picture is the better one?",
    seed: Seed = 0,
) -> None:
    """Make a page on which people choose between two pictures of the same edit.

    Which method is left is drawn for each pair and stands in key.json alone. The page needs no network.

    Example: facemug study make ours theirs --out study --count 20
    """
    from facemug_lib.evaluation.preference import make_study

    pairs = make_study(first, second, out, count, seed, question, asked)
    print(f"{pairs} pairs: open {out / 'page.html'} in a browser; count the votes with `facemug study count {out / 'key.json'} "
          "votes.csv`")


@study.command("count")
def study_count(
    key: Annotated[Path, typer.Argument(metavar="KEY", help="The study's key.json.", **INPUT)],
    votes: Annotated[list[Path], typer.Argument(metavar="VOTES...", help="What the page saved, a file a person.", **INPUT)],
) -> None:
    """Say how often the first method was preferred, with a 95 % interval.

    Example: facemug study count study/key.json votes*.csv
    """
    from facemug_lib.evaluation.preference import count_votes

    found = count_votes(key, votes)
    print(f"{found.first} preferred to {found.second}: {found.share:.1%} (95 % interval {found.low:.1%} to {found.high:.1%}), "
          f"{found.votes} votes of {found.voters} {'person' if found.voters == 1 else 'people'}")
