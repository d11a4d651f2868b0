# The whole project as a graph, for Snakemake 9: faces → stages → evaluation → ablations → figures, the README's gallery among them.
#
#   snakemake --profile profiles/local                           ablations and figures, with the shipped weights
#   snakemake --profile profiles/local --config train=true       every stage anew first, in a folder of its own
#   snakemake --profile profiles/slurm --config profile=paper    on a cluster (snakemake-executor-plugin-slurm)
#
# Without Snakemake `facemug figures make --all` makes the figures in order. Killed, the same command goes on (after `snakemake --unlock`,
# if the driver itself was killed): checkpoints are no outputs, since Snakemake deletes outputs before a rule runs again, and every
# run lies in a folder that is named by its settings' hash. A rule's output is a flag alone. What a rule depends on stands in its
# params: the code of its notebook without outputs, comments and layout, and the library's files.

import ast
import hashlib
import json
import os
from pathlib import Path

PROFILE = config.get("profile", "smoke")
TRAIN = str(config.get("train", "false")).lower() == "true"
FACEMUG = config.get("facemug", ".venv/bin/facemug")
GPUS = int(config.get("gpus", 1 if PROFILE == "paper" else 0))
ROOT = f"data/runs/graph/{PROFILE}{'-trained' if TRAIN else ''}"
FACES = {"smoke": 120, "laptop": 10_000, "paper": 100_000}[PROFILE]
COUNT = {"smoke": 2, "laptop": 200, "paper": 10_000}[PROFILE]
# Minutes of the longest jobs: a stage, a notebook.
MINUTES = {"smoke": 60, "laptop": 24 * 60, "paper": 7 * 24 * 60}[PROFILE]
STAGES = ["head", "encoder", "warping", "generator", "text"]
FAMILIES = ["irregular", "centre", "hair", "face", "foreground"]
VARIANTS, SEEDS = list("ABCDE"), [0] if PROFILE == "smoke" else [0, 1, 2]
NOTEBOOKS = sorted(path.stem for path in Path(workflow.basedir, "notebooks").glob("[0-9][0-9]_*.ipynb"))

if TRAIN:  # what is trained here neither replaces the shipped weights nor draws over the pictures of the shipped ones
    os.environ["FACEMUG_WEIGHTS"] = str(Path(ROOT, "weights").resolve())
    os.environ["FACEMUG_FIGURES"] = str(Path(ROOT, "figures").resolve())


def notebook_code(name):
    """The code of a notebook, whatever its outputs, execution counts and layout."""
    cells = json.loads(Path(workflow.basedir, "notebooks", f"{name}.ipynb").read_text())["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return hashlib.sha256(ast.unparse(ast.parse(code)).encode()).hexdigest()


def library_code():
    files = sorted(Path(workflow.basedir, "facemug_lib").rglob("*.py"))
    return hashlib.sha256("".join(ast.unparse(ast.parse(path.read_text())) for path in files).encode()).hexdigest()


LIBRARY = library_code()


def trained(*stages):
    return [f"{ROOT}/{stage}.done" for stage in stages] if TRAIN else []


localrules: all, weights, ablations


rule all:
    input: expand(f"{ROOT}/figures-{{notebook}}.done", notebook=NOTEBOOKS), f"{ROOT}/evaluate.done"
    threads: 1
    resources: mem_mb=200, runtime=1, gpu=0


rule weights:
    output: touch(f"{ROOT}/weights.done")
    threads: 1
    resources: mem_mb=200, runtime=1, gpu=0
    shell: "mkdir -p {ROOT}/weights && cp -n data/weights/* {ROOT}/weights/"


rule synthesize:
    input: f"{ROOT}/weights.done"
    output: touch(f"{ROOT}/faces.done")
    threads: 2
    resources: mem_mb=3000, runtime=MINUTES, gpu=GPUS
    shell: "{FACEMUG} synthesize --count {FACES} --out {ROOT}/faces"


rule head:
    input: f"{ROOT}/faces.done"
    output: touch(f"{ROOT}/head.done")
    threads: 2
    params: library=LIBRARY
    resources: mem_mb=4000, runtime=MINUTES, gpu=GPUS
    shell: "{FACEMUG} train head --profile {PROFILE} --install"


# Each takes what the one before has installed.
rule encoder:
    input: f"{ROOT}/faces.done", f"{ROOT}/head.done"
    output: touch(f"{ROOT}/encoder.done")
    threads: 2
    params: library=LIBRARY
    resources: mem_mb=6000, runtime=MINUTES, gpu=GPUS
    shell: "{FACEMUG} train encoder --profile {PROFILE} --data {ROOT}/faces --install"


rule warping:
    input: f"{ROOT}/encoder.done"
    output: touch(f"{ROOT}/warping.done")
    threads: 2
    params: library=LIBRARY
    resources: mem_mb=6000, runtime=MINUTES, gpu=GPUS
    shell: "{FACEMUG} train warping --profile {PROFILE} --data {ROOT}/faces --install"


rule generator:
    input: f"{ROOT}/encoder.done"
    output: touch(f"{ROOT}/generator.done")
    threads: 2
    params: library=LIBRARY
    resources: mem_mb=6000, runtime=MINUTES, gpu=GPUS
    shell: "{FACEMUG} train generator --profile {PROFILE} --data {ROOT}/faces --install"


rule text:
    input: f"{ROOT}/head.done"
    output: touch(f"{ROOT}/text.done")
    threads: 2
    params: library=LIBRARY
    resources: mem_mb=4000, runtime=MINUTES, gpu=GPUS
    shell: "{FACEMUG} train text --profile {PROFILE} --install"


rule directions:
    input: f"{ROOT}/head.done"
    output: touch(f"{ROOT}/directions.done")
    threads: 2
    params: library=LIBRARY
    resources: mem_mb=4000, runtime=MINUTES, gpu=GPUS
    shell: "{FACEMUG} directions fit --data {ROOT}/faces --out {ROOT}/weights/directions.safetensors"


# Shards: each family of holes fills its part of one cache, and the last call reads it all from there.
rule evaluate_family:
    input: trained(*STAGES, "directions")
    output: touch(f"{ROOT}/evaluate-{{family}}.done")
    threads: 2
    params: library=LIBRARY
    resources: mem_mb=5000, runtime=MINUTES, gpu=GPUS
    shell: "{FACEMUG} evaluate --count {COUNT} --family {wildcards.family} --workers 1 --out {ROOT}/evaluation"


rule evaluate:
    input: expand(f"{ROOT}/evaluate-{{family}}.done", family=FAMILIES)
    output: touch(f"{ROOT}/evaluate.done")
    threads: 2
    params: library=LIBRARY
    resources: mem_mb=5000, runtime=MINUTES, gpu=GPUS
    shell: "{FACEMUG} evaluate --count {COUNT} --workers 1 --out {ROOT}/evaluation"


# One run of Table VI as a job of its own; notebook 10 then finds them all finished.
rule ablation:
    input: trained("encoder")
    output: touch(f"{ROOT}/ablation-{{variant}}-{{seed}}.done")
    threads: 1
    params: library=LIBRARY, notebook=notebook_code("10_ablations")
    resources: mem_mb=5000, runtime=MINUTES, gpu=GPUS
    shell:
        "{FACEMUG} run 10_ablations --profile {PROFILE} --set 'variants=[\"{wildcards.variant}\"]' --set 'seeds=[{wildcards.seed}]'"
        " --no-figures"


rule ablations:
    input: expand(f"{ROOT}/ablation-{{variant}}-{{seed}}.done", variant=VARIANTS, seed=SEEDS)
    output: touch(f"{ROOT}/ablations.done")
    threads: 1
    resources: mem_mb=200, runtime=1, gpu=0


# Of a notebook's pictures only those are made that are stale, so that a changed library costs no more than it must.
rule figures:
    input:
        trained(*STAGES, "directions"),
        lambda wildcards: [f"{ROOT}/ablations.done"] if wildcards.notebook.startswith("10_") else [],
    output: touch(f"{ROOT}/figures-{{notebook}}.done")
    threads: 2
    params: library=LIBRARY, notebook=lambda wildcards: notebook_code(wildcards.notebook)
    resources: mem_mb=6000, runtime=MINUTES, gpu=GPUS
    shell: "{FACEMUG} figures make {wildcards.notebook} --profile {PROFILE}"
