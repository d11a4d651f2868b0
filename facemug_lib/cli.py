"""The ``facemug`` command. Each subcommand declares its options here and calls the part of the library that does the work.

The library's heavy modules are imported inside the subcommands, so that ``facemug --help`` is quick.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands import directions as cli_directions
from facemug_lib.commands import measuring as cli_measuring
from facemug_lib.commands.options import (
    INPUT,
    Device,
    Face,
    Frame,
    PoseMethod,
    Profile,
    Psi,
    Seed,
    Settings,
    Size,
    numbers,
    pairs,
)
from facemug_lib.errors import FacemugError

app = typer.Typer(
    name="facemug", add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="FACEMUG: multimodal local facial editing. `facemug COMMAND --help` shows a command's options and an example.",
)


def _shown(path: Path | str) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


@app.command()
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


@app.command(name="app")
def serve_app(
    photo: Annotated[Path | None, typer.Argument(help="The photo to begin with; a sampled face without one.", **INPUT)] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 8866,
    browser: Annotated[bool, typer.Option(help="Open a browser window.")] = True,
    dark: Annotated[bool, typer.Option("--dark", help="The dark theme.")] = False,
) -> None:
    """Serve painter and explorer as a page of its own.

    For people without JupyterLab; it needs no other site.

    Example: facemug app photo.jpg --port 8866
    """
    from facemug_lib.widgets.app import serve

    raise typer.Exit(serve(photo, port, browser, "dark" if dark else "light"))


@app.command()
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


@app.command()
def run(
    notebook: Annotated[str, typer.Argument(metavar="NOTEBOOK", help="Number, name, beginning of a name, or path.")],
    profile: Annotated[Profile, typer.Option(help="How much the run may cost.")] = Profile.smoke,
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(help="Run folder instead of one under data/runs/notebooks.")] = None,
) -> None:
    """Run one notebook headlessly, with checked parameters.

    Exits 0 only if every cell ran. The executed copy and result.json are kept in the run folder.

    Example: facemug run 03 --profile laptop --set images=5000 --set learning_rate=1e-3
    """
    from facemug_lib.commands.runner import run_notebook

    result = run_notebook(notebook, profile.value, pairs(settings or [], "--set"), out,
                          report=lambda line: print(line, flush=True))
    for name, value in result.metrics.items():
        print(f"{name}: {value}")
    for figure in result.figures:
        print(f"picture: {_shown(figure)}")
    print(f"{result.notebook} ({result.profile}): {result.status} in {result.seconds:.0f} s; "
          f"executed copy and result.json in {_shown(result.folder)}")
    if not result.ok:
        print(f"facemug: error: {result.notebook} failed: {result.error}", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def train(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="head, expert, encoder, warping, generator or text.")],
    profile: Annotated[Profile, typer.Option(help="Preset of sizes, durations and loss weights.")] = Profile.smoke,
    images: Annotated[int | None, typer.Option(min=1, help="Stop when this many images have been seen.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.0, help="Stop, with a checkpoint, after this many minutes.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder instead of one under data/runs.")] = None,
    data: Annotated[str, typer.Option(metavar="prior|FOLDER", help="Faces sampled on the fly, or a folder.")] = "prior",
    settings: Settings = None,
    seed: Seed = 0,
    device: Device = "auto",
    batch: Annotated[int | None, typer.Option(min=1, help="Batch size instead of the profile's.")] = None,
    init: Annotated[str, typer.Option(metavar="scratch|shipped|FOLDER", help="Weights the networks start from.")] = "scratch",
    install: Annotated[bool, typer.Option("--install", help="Copy the resulting weights to data/weights.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")] = False,
) -> None:
    """Train one stage; the same command again resumes.

    Example: facemug train encoder --profile smoke --images 400 --out data/runs/try
    """
    from facemug_lib.training.run import train_command

    train_command(stage=stage, profile=profile.value, images=images, minutes=minutes, out=out, data=data, dry_run=dry_run,
                  set_overrides=pairs(settings or [], "--set"), seed=seed, device=device, batch=batch, init=init,
                  install=install)


@app.command()
def average(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="encoder, warping or generator.")],
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run folders that began from one another, or shipped.")],
    out: Annotated[Path, typer.Option(help="Folder of the mean's weights.")],
    share: Annotated[list[float] | None, typer.Option(help="Share of each run in the mean, in their order; equal.")] = None,
    data: Annotated[str, typer.Option(metavar="prior|FOLDER", help="Faces that normalisation is measured on.")] = "prior",
    images: Annotated[int, typer.Option(min=1, help="How many of them.")] = 640,
    seed: Seed = 0,
    device: Device = "auto",
    install: Annotated[bool, typer.Option("--install", help="Copy the mean to data/weights.")] = False,
) -> None:
    """Average the networks of several runs into one, and score it.

    Runs that began from one another lie around a better network; its batch normalisation is measured anew.

    Example: facemug average encoder shipped data/runs/longer --share 1 --share 2 --data faces --out data/runs/mean
    """
    from facemug_lib.training.averaging import average_command

    average_command(stage, runs, share or (), data=data, images=images, out=out, seed=seed, device=device, install=install)


@app.command()
def edit(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photograph with a face.", **INPUT)],
    mask: Annotated[Path, typer.Option(help="White = edit.", **INPUT)],
    out: Annotated[Path, typer.Option(help="The edited photograph, at full size.")],
    sketch: Annotated[Path | None, typer.Option(help="Dark strokes on white.", **INPUT)] = None,
    semantics: Annotated[Path | None, typer.Option(help="Label map: indices 0-18 or palette colours.", **INPUT)] = None,
    colour: Annotated[Path | None, typer.Option("--colour", "--color", help="Colours wanted inside the mask.", **INPUT)] = None,
    exemplar: Annotated[Path | None, typer.Option(help="Another photograph whose features are wanted.", **INPUT)] = None,
    attribute: Annotated[list[str] | None, typer.Option(
        metavar="NAME=STRENGTH", help="Change an attribute, by standard deviations; repeatable. `facemug directions list` names "
        "them.")] = None,
    directions: Annotated[Path | None, typer.Option(help="A file of further attributes, from `facemug directions new` or `text`.",
                                                    **INPUT)] = None,
    text: Annotated[str | None, typer.Option(help="How the face shall look: \"an old man\", \"blond hair\".")] = None,
    text_source: Annotated[str, typer.Option("--text-from", help="What it is now, as far as the text changes it.")] = "a person",
    text_steps: Annotated[int, typer.Option(min=1, help="Most steps in which the text is followed.")] = 16,
    text_model: Annotated[str, typer.Option(metavar="small|ARCHITECTURE:WEIGHTS", help="The shipped text–image model, or one of "
                                            "open_clip's with a published name or a file of weights.")] = "small",
    refine: Annotated[int, typer.Option(min=0, help="Steps of latent optimisation; 0 is feed-forward only.")] = 0,
    seed: Seed = 0,
    face: Face = None,
    guidance_frame: Annotated[Frame, typer.Option(help="Coordinates of mask and guidance images.")] = Frame.photo,
    influence: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Weight of a modality; repeatable.")] = None,
    script_out: Annotated[Path | None, typer.Option(help="Record the edit in this .json file; the steps that are in it already "
                                                    "are made first.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)] = None,
    device: Device = "auto",
) -> None:
    """Edit the face of a photograph inside a mask.

    Every pixel outside the mask stays as it was, bit for bit.

    Example: facemug edit photo.jpg --mask mask.png --sketch strokes.png --refine 100 --out edited.png
    Example: facemug edit photo.jpg --mask mask.png --attribute smile=2 --attribute age=-1 --refine 40 --out edited.png
    Example: facemug edit photo.jpg --mask hair.png --text "blond hair" --text-from "black hair" --refine 40 --out edited.png
    """
    from facemug_lib.commands.bodies.edit import edit_command

    edit_command(photo=photo, mask=mask, out=out, sketch=sketch, semantics=semantics, colour=colour, exemplar=exemplar,
                 refine=refine, seed=seed, face=face, guidance_frame=guidance_frame.value,
                 attributes=numbers(attribute or [], "--attribute", "smile=1.5"),
                 influence=numbers(influence or [], "--influence", "sketch=0.5"), weights=weights, device=device,
                 script_out=script_out, text=text, text_source=text_source, text_steps=text_steps, text_model=text_model,
                 directions=directions)


@app.command()
def pose(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="A photograph with a face.", **INPUT)],
    out: Annotated[Path, typer.Option(help="The turned face, aligned, 256 px; with --mask the photograph, at full size.")],
    like: Annotated[Path | None, typer.Option(help="Take the pose from this photograph's face.", **INPUT)] = None,
    frontal: Annotated[bool, typer.Option("--frontal", help="Turn it to the front.")] = False,
    mirror: Annotated[bool, typer.Option("--mirror", help="Turn it as its mirror image is.")] = False,
    yaw: Annotated[float | None, typer.Option(metavar="DEGREES", help="Turn it to this yaw; above 0: to the picture's "
                                              "right.")] = None,
    pitch: Annotated[float | None, typer.Option(metavar="DEGREES", help="And to this pitch; above 0: up.")] = None,
    method: Annotated[PoseMethod, typer.Option(help="warping: the paper's network. direction: along yaw and pitch until the "
                                               "measured angles fit. both: one after the other.")] = PoseMethod.direction,
    mask: Annotated[Path | None, typer.Option(help="White = may change; the rest of the photograph stays.", **INPUT)] = None,
    refine: Annotated[int, typer.Option(min=0, help="Steps that fit the codes to the photograph before they are turned.")] = 0,
    face: Face = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)] = None,
    device: Device = "auto",
) -> None:
    """Turn a face, and print how it looks before and after.

    Exactly one of --like, --frontal, --mirror, or --yaw and --pitch says where to.

    Example: facemug pose photo.jpg --like other.jpg --refine 40 --out turned.png
    Example: facemug pose photo.jpg --yaw -20 --refine 40 --out turned.png
    """
    from facemug_lib.commands.bodies.edit import pose_command

    pose_command(photo=photo, out=out, like=like, frontal=frontal, mirror=mirror, yaw=yaw, pitch=pitch, method=method.value,
                 mask=mask, refine=refine, face=face, weights=weights, device=device)


@app.command()
def replay(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="A .json file that `edit --script-out` wrote.", **INPUT)],
    out: Annotated[Path, typer.Option(help="The picture to write, or a folder.")],
    photo: Annotated[list[Path] | None, typer.Option(
        help="The photograph to edit, or others, or a folder; repeatable. A script of a sampled face needs none.",
        exists=True)] = None,
    upto: Annotated[int | None, typer.Option(min=1, help="Only the steps up to this one, counted from 1.")] = None,
    without: Annotated[list[int] | None, typer.Option(min=1, help="Leave this step out; repeatable.")] = None,
    attribute: Annotated[list[str] | None, typer.Option(
        metavar="NAME=STRENGTH", help="Another strength for an attribute that the script changes; repeatable.")] = None,
    face: Face = None,
    aligned: Annotated[bool, typer.Option("--aligned", help="The photographs are aligned faces already.")] = False,
    directions: Annotated[Path | None, typer.Option(help="A file of further attributes that the script names.", **INPUT)] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of other weights.", exists=True, file_okay=False)] = None,
    device: Device = "auto",
) -> None:
    """Make the edits of a script again.

    On the script's own photograph, with the same weights and device, every pixel is the same. On another one, what was drawn
    is carried over by the alignment of the two faces.

    Example: facemug replay edit.json --photo photo.jpg --out again.png
    """
    from facemug_lib.commands.bodies.scripts import photos_in, replay_command

    replay_command(script, photos_in(photo or []), out, upto, without or (), numbers(attribute or [], "--attribute", "smile=1.5"),
                   face, aligned, weights, device, directions)


@app.command()
def sample(
    out: Annotated[Path, typer.Option(help="A file for a grid of all, or a folder for one file each.")],
    seed: Seed = 0,
    count: Annotated[int, typer.Option(min=1, help="How many faces.")] = 1,
    psi: Psi = 0.7,
    size: Size = 256,
    device: Device = "auto",
) -> None:
    """Sample faces of nobody from the prior.

    Example: facemug sample --seed 7 --count 16 --out faces.png
    """
    from facemug_lib.commands.bodies.edit import sample_command

    sample_command(out=out, seed=seed, count=count, psi=psi, size=size, device=device)


@app.command()
def align(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photographs.", **INPUT)],
    out: Annotated[Path, typer.Option(help="Folder for the aligned faces.")],
    face: Face = None,
    size: Size = 256,
) -> None:
    """Find, align and crop faces, as FFHQ does.

    Example: facemug align holiday/*.jpg --out aligned
    """
    from facemug_lib.commands.bodies.edit import align_command

    align_command(photos=photos, out=out, face=face, size=size)


@app.command()
def synthesize(
    count: Annotated[int, typer.Option(min=1, help="How many faces.")],
    out: Annotated[Path, typer.Option(help="Folder of the data set.")],
    seed: Seed = 0,
    psi: Psi = 0.7,
    size: Size = 256,
    device: Device = "auto",
) -> None:
    """Make a training set of faces from the prior.

    Writes each face, its latent code and its modalities.

    Example: facemug synthesize --count 1000 --out data/runs/faces
    """
    from facemug_lib.commands.bodies.edit import synthesize_command

    synthesize_command(count=count, out=out, seed=seed, psi=psi, size=size, device=device)


for measuring in (cli_measuring.evaluate, cli_measuring.gallery, cli_measuring.prompts, cli_measuring.subsets,
                  cli_measuring.influence, cli_measuring.bench):
    app.command()(measuring)
app.add_typer(cli_directions.directions, name="directions")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 failed, 2 bad input, 130 interrupted.

    Bad input gets one line on standard error. A traceback means a fault of the program.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
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


if __name__ == "__main__":
    sys.exit(main())
