"""One notebook through papermill: parameters checked first, outcome judged by a marker that only a complete run leaves.

Inside a notebook, :mod:`facemug_lib.recording` keeps its numbers and names its pictures. The pictures come to ``figures/`` only
when the whole notebook has succeeded, each with its record (:mod:`facemug_lib.figures.provenance`); until then the old ones stay.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from facemug_lib.commands.notebook_parameters import nearest, resolve_parameters
from facemug_lib.errors import FacemugError
from facemug_lib.files import CLONE
from facemug_lib.progress import Tell, untold
from facemug_lib.recording import FIGURES_VARIABLE, RESULT_VARIABLE, figures_folder, notes_of, write_json

START_TIMEOUT = 300  # seconds for a kernel to answer; a cold disk under load needs minutes
SCRATCH_BYTES = 2**20  # what a kernel and the runner keep beside each other, with room to spare
_DONE_CELL = "import os, pathlib; pathlib.Path(os.environ['FACEMUG_DONE']).touch()"


@dataclass(frozen=True)
class RunResult:
    """What became of one run; the same fields stand in ``result.json`` of its folder."""

    notebook: str
    profile: str
    status: str  # "ok" or "failed"
    error: str | None  # one line: the cell and its exception
    parameters: dict[str, Any]
    metrics: dict[str, Any]  # what the notebook recorded
    figures: list[str]  # pictures that this run has brought to their places, absolute
    seconds: float  # wall time
    started: str  # UTC, ISO 8601
    notebook_sha256: str  # of the sources of the cells, outputs and metadata apart
    parameters_sha256: str
    environment: dict[str, Any]
    folder: str  # holds result.json and the executed copy

    @property
    def ok(self) -> bool:
        return self.status == "ok"


def list_notebooks() -> list[Path]:
    """The numbered notebooks of the clone, in order."""
    return sorted((CLONE / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def find_notebook(name: str) -> Path:
    """The notebook meant by ``name``: a path, a number (``3`` or ``03``), a full name or a beginning of one."""
    path = Path(name)
    if path.suffix == ".ipynb":
        for candidate in (path, CLONE / "notebooks" / path):
            if candidate.is_file():
                return candidate.resolve()
    known = list_notebooks()
    stem = path.stem if path.suffix == ".ipynb" else name
    exact = [notebook for notebook in known if notebook.stem == stem]
    number = [notebook for notebook in known if name.isdecimal() and int(notebook.stem[:2]) == int(name)]
    prefix = [notebook for notebook in known if name and notebook.stem.startswith(name)]
    found = exact or number or prefix
    names = [notebook.stem for notebook in known]
    if not found:
        raise FacemugError(f"no notebook {name!r}: there are {', '.join(names) or 'none'}{nearest(stem, names)}")
    if len(found) > 1:
        raise FacemugError(f"notebook {name!r} could be {' or '.join(notebook.stem for notebook in found)}: write more of it")
    return found[0]


def read_notebook(path: Path) -> Any:
    """The notebook at ``path`` as an nbformat node. Raises :class:`FacemugError` where it is none."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, AttributeError, KeyError) as error:
        raise FacemugError(f"{path} is not a readable notebook: {_first_line(error)}") from error


def run_notebook(name: str, profile: str = "smoke", overrides: Mapping[str, Any] | None = None, out: Path | str | None = None,
                 report: Tell = untold, figures: Mapping[str, Sequence[Path]] | None = None) -> RunResult:
    """Execute one notebook in a fresh kernel of this interpreter and write its executed copy and ``result.json``.

    ``overrides`` are parameter values, as text or typed. ``out`` is the run folder, by default
    ``data/runs/notebooks/<name>-<profile>-<hash of the parameters>``. ``report`` gets lines of progress. ``figures``: where the
    pictures go, by the name that the notebook gives them; others are not kept. By default all go to the figures' folder.
    A notebook that fails, or whose kernel dies, gives a result with ``status == "failed"``; an unknown notebook,
    profile or parameter or a wrong type raises :class:`FacemugError` before any kernel starts.
    """
    from facemug_lib.figures import provenance

    path = find_notebook(name)
    notebook = read_notebook(path)
    values = resolve_parameters(notebook, path.name, profile, overrides or {})
    digest = _sha256(values)
    folder = Path(out).resolve() if out else CLONE / "data" / "runs" / "notebooks" / f"{path.stem}-{profile}-{digest[:8]}"
    if folder.exists() and not folder.is_dir():
        raise FacemugError(f"the run folder {folder} is a file: name a folder")
    if folder == path.parent:
        raise FacemugError(f"the executed copy in {folder} would replace the notebook: name another run folder")
    _require_room()
    folder.mkdir(parents=True, exist_ok=True)
    started, clock = datetime.now(UTC), time.perf_counter()
    facts: dict[str, Any] = {
        "notebook": path.stem, "profile": profile, "parameters": values, "parameters_sha256": digest, "folder": str(folder),
        "notebook_sha256": _sha256([[cell.cell_type, cell.source] for cell in notebook.cells]),
        "started": started.isoformat(timespec="seconds"), "environment": environment(),
    }
    # If this process is killed, that is what stays, and no older outcome either.
    unfinished = RunResult(**facts, status="failed", error="the runner was stopped before the notebook ended", metrics={},
                           figures=[], seconds=0.0)
    executed = folder / path.name
    # Papermill writes after every cell, over what it wrote before: a kill may leave half of that, under a hidden name.
    unfinished_copy = folder / f".{path.name}"
    executed.unlink(missing_ok=True)
    write_json(folder / "result.json", asdict(unfinished))
    report(f"{path.stem} ({profile}) in {folder}")
    published: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="facemug-run-") as scratch:
        recorded, done = Path(scratch) / "recorded.json", Path(scratch) / "done"
        try:
            source = provenance.source_facts(notebook)  # before the run: what is edited meanwhile has no part in it
            _execute(notebook, path, unfinished_copy, values, Path(scratch), recorded, done, report)
            error = None if done.exists() else "the kernel stopped before the last cell"
            if error is None:
                known = provenance.make_record(path.stem, profile, {name: values[name] for name in overrides or {}}, values,
                                               source, notes_of(recorded), time.perf_counter() - clock)
                published = _publish(Path(scratch) / "figures", known, figures)
        except Exception as failure:  # whatever stops a notebook is its outcome, not a fault of the runner
            error = _describe(failure)
        if unfinished_copy.exists():
            os.replace(unfinished_copy, executed)
        content = json.loads(recorded.read_text()) if recorded.exists() else {"metrics": {}, "figures": {}}

    result = RunResult(
        **facts, status="failed" if error else "ok", error=error, metrics=content["metrics"],
        figures=[str(figure) for figure in published], seconds=round(time.perf_counter() - clock, 2),
    )
    write_json(folder / "result.json", asdict(result))
    return result


def _require_room() -> None:
    """Raise :class:`FacemugError` where temporary files cannot be written: a kernel would die of that with a page of words."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(SCRATCH_BYTES))
            file.flush()
    except OSError as error:
        raise FacemugError(f"no temporary file can be written ({error.strerror or error}): free some space, or set TMPDIR to "
                           "another folder") from error


def _publish(made: Path, record: Mapping[str, Any], figures: Mapping[str, Sequence[Path]] | None) -> list[Path]:
    """Bring the pictures in the folder ``made`` to where they belong; returns where that is."""
    from facemug_lib.figures import provenance

    found = {path.name: path for path in sorted(made.glob("*")) if path.is_file()} if made.is_dir() else {}
    if figures is None:
        figures = {name: [figures_folder() / name] for name in found}
    return [provenance.publish(found[name], target, dict(record)) for name, targets in figures.items() if name in found
            for target in targets]


def _execute(notebook: Any, path: Path, output: Path, values: Mapping[str, Any], scratch: Path, recorded: Path, done: Path,
             report: Tell) -> None:
    import nbformat
    import papermill

    total = sum(cell.cell_type == "code" for cell in notebook.cells)
    progress = _CellBar(report, total + (1 if values else 0))
    last = nbformat.v4.new_code_cell(_DONE_CELL)
    last.metadata["tags"] = ["facemug-runner"]
    notebook.cells.append(last)
    variables = {
        "JUPYTER_PATH": os.pathsep.join(filter(None, [str(scratch), os.environ.get("JUPYTER_PATH")])),
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPYTHONDIR": str(scratch / "ipython"),  # without the user's startup files, and where the home is read-only, too
        "PYTHONPATH": os.pathsep.join(filter(None, [str(CLONE), os.environ.get("PYTHONPATH")])),
        RESULT_VARIABLE: str(recorded),
        FIGURES_VARIABLE: str(scratch / "figures"),
        "FACEMUG_DONE": str(done),
    }
    _write_kernel_spec(scratch)
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it would warn of is in the result, as one line
    with _environment_variables(variables):
        papermill.execute_notebook(
            notebook, output, parameters=dict(values), kernel_name="python3", language="python", cwd=path.parent,
            progress_bar=False, start_timeout=START_TIMEOUT, stdout_file=progress, on_cell_start=progress.cell_starts,
            extra_arguments=["--log-level=CRITICAL"],  # the kernel shares this terminal; exceptions of cells come as outputs
        )


def _write_kernel_spec(scratch: Path) -> None:
    from ipykernel.kernelspec import get_kernel_dict

    # A kernel "python3" elsewhere on the machine may belong to another interpreter; this one comes first on JUPYTER_PATH.
    folder = scratch / "kernels" / "python3"
    folder.mkdir(parents=True)
    write_json(folder / "kernel.json", get_kernel_dict())


@contextlib.contextmanager
def _environment_variables(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _CellBar:
    """Lines of progress: when a code cell starts, the heading it stands under; and what cells print."""

    def __init__(self, report: Tell, total: int) -> None:
        self.report, self.total, self.count = report, total, 0
        self.start, self.heading, self.rest = time.perf_counter(), "", ""

    def cell_starts(self, cell: Any, cell_index: int) -> None:
        self.flush_line()
        lines = [line for line in cell.source.splitlines() if line.strip()]
        if cell.cell_type == "markdown":
            self.heading = next((line.lstrip("# ") for line in lines if line.startswith("#")), self.heading)
        elif cell.cell_type == "code" and self.count < self.total:
            self.count += 1
            label = self.heading or next(iter(lines), "")
            self.report(f"[{self.count:2d}/{self.total}] {time.perf_counter() - self.start:6.1f} s  {label[:90]}")

    def write(self, text: str) -> None:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.report("    " + line.rpartition("\r")[2])

    def flush(self) -> None:
        """Papermill calls this after each write; a line is reported when it is whole."""

    def flush_line(self) -> None:
        if self.rest:
            self.write("\n")


def _describe(failure: Exception) -> str:
    if hasattr(failure, "ename"):  # papermill.PapermillExecutionError: an exception inside a cell
        lines = str(failure.evalue).splitlines()
        return f"cell [{failure.exec_count}]: {failure.ename}: {lines[0] if lines else ''}".rstrip(": ")
    if type(failure).__name__ == "DeadKernelError":
        return "the kernel died (killed, crashed or out of memory)"
    return f"{type(failure).__name__}: {_first_line(failure)}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def environment() -> dict[str, Any]:
    """What a result depends on besides notebook and parameters, without importing torch."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "facemug_lib": _version("facemug_lib"),
        "torch": _version("torch"),
        "numpy": _version("numpy"),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changes": None if (status := _git("status", "--porcelain", "--untracked-files=no")) is None else bool(status),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        finished = subprocess.run(["git", *arguments], cwd=CLONE, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return finished.stdout.strip()
