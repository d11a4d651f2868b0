"""The ``facemug`` command: its subcommands in the order of its help, and what becomes of errors.

Each group of subcommands is a file of this package: it reads the options, calls the library, and says what came of it. The work
itself is in the library. Heavy modules are imported inside the subcommands, so that ``facemug --help`` is quick.
"""

from __future__ import annotations

import logging
import os
import sys

import typer

from facemug_lib.commands import app as page
from facemug_lib.commands import (
    directions,
    edit,
    evaluate,
    faces,
    figure_list,
    figures,
    machine,
    notebooks,
    study,
    systems,
    training,
)
from facemug_lib.errors import FacemugError

app = typer.Typer(
    name="facemug", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="FACEMUG: multimodal local facial editing. `facemug COMMAND --help` shows a command's options and an example."
         "\n\nExit status: 0 done, 1 failed, 2 bad input, 3 done but for inputs that were named and skipped.",
)

app.command()(machine.doctor)
app.command(name="app")(page.serve_app)
for subcommand in (machine.assets, notebooks.run, notebooks.site, training.train, training.average, edit.edit, edit.pose,
                   edit.replay, faces.sample, faces.align, faces.synthesize, evaluate.evaluate, figures.gallery,
                   figures.prompts, figures.subsets, figures.influence, machine.bench):
    app.command()(subcommand)
app.add_typer(directions.directions, name="directions")
app.add_typer(systems.systems, name="systems")
app.add_typer(figure_list.figures, name="figures")
app.add_typer(study.study, name="study")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 failed, 2 bad input, 3 done but for inputs that were
    skipped, 130 interrupted.

    Bad input gets one line on standard error. A traceback means a fault of the program.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal's encoding lacks is no reason to fail after the work
        if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(arguments or ["--help"], prog_name="facemug", standalone_mode=False)
    except FacemugError as error:
        return _complain(str(error), 2)
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a file that cannot be read or written, a full disk
        return _complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 2)
    except Exception as error:
        # Typer's usage errors; it has kept their class in different places, while this method has always been theirs.
        if not hasattr(error, "format_message"):
            raise
        return _complain(_usage_message(error), 2)
    if status == 130:  # typer has caught the Ctrl-C itself
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # tasks cut short are no news now
        return _complain("interrupted", 130)
    return status if isinstance(status, int) else 0


def _usage_message(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".") or "a command is missing"
    return f"{message}: see `{context.command_path if context else 'facemug'} --help`"


def _complain(message: str, status: int) -> int:
    print(f"facemug: error: {' '.join(message.split())}", file=sys.stderr)
    return status
