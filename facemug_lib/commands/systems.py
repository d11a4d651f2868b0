"""The sibling systems: see :mod:`facemug_lib.commands.program`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemug_lib.commands.options import OUTPUT_FOLDER, Device
from facemug_lib.commands.output import say

systems = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The sibling systems: list and compare them.\n\n"
                      "Example: facemug systems compare --count 200 --out data/runs/systems")


@systems.command("list")
def systems_list() -> None:
    """Show the systems, what they can change, and how many images their weights have seen.

    Example: facemug systems list
    """
    from facemug_lib.systems import images_seen, system_class

    for name, images in images_seen().items():
        one = system_class(name)
        print(f"{name}: {one.title}")
        print(f"  no weights yet: facemug train {name} --install" if images is None else f"  weights of {images:,} images")
        for attribute, about in one.all_attributes.items():
            print(f"  {attribute:12} {about.low:+g} … {about.high:+g}  {about.meaning}")


@systems.command("compare")
def systems_compare(
    out: Annotated[Path, typer.Option(help="Folder for tables.md and the contact sheets.", **OUTPUT_FOLDER)],
    count: Annotated[int, typer.Option(min=2, help="Sampled faces, and at most so many photographs.")] = 200,
    photos: Annotated[Path | None, typer.Option(help="A folder of aligned photographs.", exists=True, file_okay=False)] = None,
    attribute: Annotated[list[str] | None, typer.Option(help="Compare on this attribute alone; repeatable.")] = None,
    refine: Annotated[int, typer.Option(min=0, help="Steps that look for a photograph's codes; 0 leaves those rows out.")] = 16,
    device: Device = "auto",
) -> None:
    """Send the same faces to the other side of smile, age and gender by every system that has weights, and by the editor.

    Example: facemug systems compare --count 200 --photos portraits --out data/runs/systems
    """
    from facemug_lib.devices import resolve_device
    from facemug_lib.editing.editor import Editor
    from facemug_lib.evaluation import systems_comparison as comparison
    from facemug_lib.evaluation.judges import Judges
    from facemug_lib.evaluation.request import check_names
    from facemug_lib.experts.text_image import load_text_image
    from facemug_lib.faces.photos import pictures_in
    from facemug_lib.figures import systems_sheet
    from facemug_lib.figures.plotting import save_figure
    from facemug_lib.files import replacing, require_writable_folder
    from facemug_lib.systems import images_seen, load
    from facemug_lib.systems.common.rendering import Maker

    attributes = tuple(attribute or comparison.TASKS)
    check_names("attribute", attributes, comparison.TASKS)
    require_writable_folder(out)
    target = resolve_device(device)
    editor, maker = Editor.load(target), Maker(comparison.SIZE, (0.7, 0.7), 0.0, target)
    sets = [comparison.sampled_set(count, maker, attributes)]
    if photos is not None:
        sets.append(comparison.photograph_set(pictures_in(photos)[:count], maker, photos.resolve().name))
    ways = [comparison.Unedited(), comparison.OfEditor(editor), comparison.OfEditor(editor, is_masked=True)]
    if refine:
        ways[2:2] = [comparison.OfEditor(editor, refine)]
    trained = {name: images for name, images in images_seen().items() if images is not None}
    ways += [comparison.OfSystem(load(name, device=target), images) for name, images in trained.items()]
    regions = {name: comparison.region(sets[0], name) for name in attributes}
    panel = comparison.Panel(Judges(target), maker, load_text_image(device=target), regions)
    found = comparison.compare(panel, sets, ways, attributes, say)
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "tables.md") as temporary:
        temporary.write_text(table := comparison.markdown(found), encoding="utf-8")
    print(table)
    for number, faces in enumerate(sets):
        for name in attributes:
            path = out / f"sheet_{number}_{name}.png"
            save_figure(systems_sheet.draw(faces, found, name), path, 110)
            print(path)
