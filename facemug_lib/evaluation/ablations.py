"""The paper's ablations (Table VI), trained here with equal budgets at a size that a CPU can pay, and scored.

Five generators, A to E, for each of several seeds. Runs of one seed see the same faces and holes in the same order and begin
alike: weights that two of the networks share start from the same values, and the discriminators are equal. A run is named by the
hash of its settings, and the same call goes on where a killed one stopped. What a finished run has scored is kept as a small JSON
file; its weights need not be.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facemug_lib.devices import batches, resolve_device
from facemug_lib.errors import FacemugError
from facemug_lib.evaluation import metrics
from facemug_lib.evaluation.completion import FEWEST, distribution_scores
from facemug_lib.evaluation.judges import Judges
from facemug_lib.evaluation.protocols import TestSet, edit_groups
from facemug_lib.files import CLONE
from facemug_lib.models.generator import RefinementGenerator
from facemug_lib.pictures import as_8_bit, reduced
from facemug_lib.progress import Tell, untold
from facemug_lib.recording import write_json
from facemug_lib.training.conditions import whole_conditions
from facemug_lib.training.loop import train
from facemug_lib.training.profiles import config_hash
from facemug_lib.training.run import PlannedRun, plan_run, runs_dir
from facemug_lib.training.stage_generator import GeneratorSettings, GeneratorStage
from facemug_lib.training.stages import build_source, build_stage
from facemug_lib.weights import load_module

SEEDS = (0, 1, 2)
VIEWS = {"hole": (), "guided": ("sketch", "semantics", "colour")}
"""What the edits that are scored are given beside the photograph around the hole."""
SCORES = ("fid", "kid", "u_ids_heldout", "lpips_alex")
KEPT = CLONE / "data" / "ablations"
"""Finished runs that were kept with the code."""


@dataclass(frozen=True)
class Variant:
    """One row of the paper's Table VI: what is left out, our settings for that, and the paper's FID, U-IDS (%) and LPIPS."""

    name: str
    settings: Mapping[str, Any]
    paper: tuple[float, float, float]


VARIANTS = {
    "A": Variant("full", {}, (3.274, 28.14, 0.1917)),
    "B": Variant("addition for style fusion", {"fusion": "addition"}, (3.829, 24.05, 0.2010)),
    "C": Variant("gated convolution for style fusion", {"fusion": "gated"}, (3.478, 26.70, 0.1954)),
    "D": Variant("plain attribute loss", {"attribute": "plain"}, (3.599, 26.44, 0.1991)),
    "E": Variant("no feature bank", {"use_bank": False}, (3.725, 25.26, 0.1971)),
}


@dataclass(frozen=True)
class Budget:
    """What every run gets, whichever its variant.

    size: side of the pictures. images: length of a run. data: "prior", or a folder of faces that were sampled beforehand. test:
    faces that a run is scored on. settings: other settings of the stage, equal for all.
    """

    size: int = 64
    images: int = 6_000
    data: str = "prior"
    test: int = 128
    profile: str = "laptop"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AblationRun:
    """A variant with a seed: where its training lives, and where its outcome."""

    variant: str
    seed: int
    plan: PlannedRun
    budget: Budget

    @property
    def hash(self) -> str:
        """Eight hex digits of all that decides the run but its length; a folder of faces counts by its name, not by its place."""
        config = self.plan.config
        deciding = self.plan.settings.deciding()
        return config_hash({**deciding, "data": Path(config["data"]).name, "seed": config["seed"], "init": config["init"]})

    @property
    def name(self) -> str:
        """Such as ``A-0-64px-6000-1a2b3c4d``: variant, seed, size, length, hash of all settings."""
        return f"{self.variant}-{self.seed}-{self.budget.size}px-{self.budget.images}-{self.hash}"

    def outcome(self) -> dict[str, Any] | None:
        """What :func:`finish` has written for this run, here or with the code, on as many test faces or more; else None."""
        for folder in (self.plan.folder.parent, KEPT):
            path = folder / f"{self.name}.json"
            if path.is_file():
                try:
                    found = json.loads(path.read_text(encoding="utf-8"))
                except ValueError as error:
                    raise FacemugError(f"{path} is not readable ({error}): delete it, and the run is scored again") from error
                if found["test"] >= self.budget.test:
                    return found
        return None


def plan_runs(budget: Budget, variants: Sequence[str] = tuple(VARIANTS), seeds: Sequence[int] = SEEDS, device: str = "auto",
              folder: Path | None = None) -> list[AblationRun]:
    """The runs of ``variants`` and ``seeds``, seed by seed, so that a comparison is whole as soon as one seed is through.

    ``folder``: of all runs, by default ``data/runs/ablations``. Raises :class:`FacemugError` for unknown variants and settings.
    """
    if unknown := [name for name in variants if name not in VARIANTS]:
        raise FacemugError(f"no ablation {unknown[0]!r}: choose from {', '.join(VARIANTS)}")
    runs = []
    for seed in seeds:
        for name in variants:
            overrides = {"size": budget.size, "images": budget.images, **budget.settings, **VARIANTS[name].settings}
            plan = plan_run("generator", budget.profile, overrides, data=budget.data, seed=seed, device=device)
            place = (folder or runs_dir() / "ablations") / f"{name}-{seed}-{plan.config['hash']}"
            runs.append(AblationRun(name, seed, PlannedRun(plan.settings, plan.config, place, plan.device, plan.command), budget))
    return runs


# -- training -------------------------------------------------------------------------------------------------------------


class Bench:
    """Builds the stages of all runs on one set of frozen networks, which take longer to load than to use."""

    def __init__(self, budget: Budget, device: str = "auto") -> None:
        self.device = resolve_device(device)
        (first,) = plan_runs(budget, ["A"], [0], device)
        self.frozen: GeneratorStage = build_stage("generator", first.plan.settings, self.device)

    def stage(self, run: AblationRun) -> GeneratorStage:
        """The stage of ``run``, with networks as they are before training."""
        settings: GeneratorSettings = run.plan.settings
        frozen = self.frozen
        torch.manual_seed(run.seed)
        whole, discriminator = (type(one)(one.config) for one in frozen.modules.values())
        torch.manual_seed(run.seed)
        own = RefinementGenerator(replace(whole.config, fusion=settings.fusion, use_bank=settings.use_bank))
        start_alike(own, whole)
        return GeneratorStage(settings, own.to(self.device), discriminator.to(self.device), frozen.encoder, frozen.prior,
                              frozen.expert, frozen.identity, frozen.perceptual)


def start_alike(network: nn.Module, model: nn.Module) -> int:
    """Give ``network`` the values of ``model`` wherever both have a tensor of one name and shape; returns how many."""
    own, others = network.state_dict(), model.state_dict()
    shared = {name: others[name] for name, tensor in own.items() if name in others and others[name].shape == tensor.shape}
    network.load_state_dict(own | shared)
    return len(shared)


def train_run(run: AblationRun, bench: Bench, tell: Tell = untold) -> None:
    """Train ``run`` to the end of its budget, from its newest resume state if there is one."""
    stage, plan = bench.stage(run), run.plan
    source = build_source(run.budget.data, stage, plan.settings, bench.device)
    train(stage, source, plan.folder, plan.settings, seed=run.seed, device=bench.device, config=plan.config,
          command=plan.command, report=tell)


# -- scoring --------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def pictures(stage: GeneratorStage, generator: nn.Module, test_set: TestSet, view: str, count: int) -> tuple[Tensor, Tensor]:
    """(edits, true faces), [n,3,size,size] as an 8-bit file keeps them, of the first ``count`` faces with irregular holes."""
    made, truths = [], []
    for indices in batches(count):
        cases = test_set.cases("irregular", indices)
        given = whole_conditions(cases.images, cases.labels, cases.masks, guidance=VIEWS[view]).to(stage.prior.mean_w.device)
        codes = stage.encoder(given.encoder_input()).float()
        small, faces = given.reduced(stage.size), reduced(cases.images.to(codes.device), stage.size)
        painted = stage.paint(generator, given, codes, cases.images.to(codes.device))[0].image.float()
        made.append(as_8_bit(small.composite(painted.clamp(-1, 1), faces).cpu()))
        truths.append(as_8_bit(faces.cpu()))
    return torch.cat(made), torch.cat(truths)


def score(judges: Judges, made: Tensor, truths: Tensor) -> dict[str, float]:
    """LPIPS-Alex, and of ten pictures or more FID, KID and U-IDS (held out), against the true faces themselves."""
    found = {"lpips_alex": float(judges.lpips(made, truths).mean())}
    if len(made) >= FEWEST:
        scores = distribution_scores(judges.inception(truths).numpy(), judges.inception(made).numpy(),
                                     edit_groups(range(len(made))))
        found |= {name: float(scores[name].value) for name in SCORES if name in scores}
    return found


def finish(run: AblationRun, bench: Bench, judges: Judges, test_set: TestSet, tell: Tell = untold) -> dict[str, Any]:
    """Train ``run`` as far as it is not, score it, and keep the outcome as JSON; returns that. A finished run costs nothing."""
    if (kept := run.outcome()) is not None:
        tell(f"{run.name}: known")
        return kept
    train_run(run, bench, tell)
    weights = run.plan.folder / "weights" / "generator.safetensors"
    generator = load_module(weights, RefinementGenerator.from_config, bench.device)
    stage = bench.stage(run)
    lines = [json.loads(line) for line in (run.plan.folder / "stats.jsonl").read_text(encoding="utf-8").splitlines()]
    outcome = {
        "variant": run.variant, "seed": run.seed, "hash": run.hash, "test": run.budget.test,
        "budget": asdict(run.budget) | {"data": Path(run.budget.data).name, "settings": dict(run.budget.settings)},
        "scores": {view: score(judges, *pictures(stage, generator, test_set, view, run.budget.test)) for view in VIEWS},
        "curve": [{"images": line["images"], **line["scores"]} for line in lines if "scores" in line],
        "losses": [{"images": line["images"], **line["losses"]} for line in lines if "losses" in line],
    }
    write_json(run.plan.folder.parent / f"{run.name}.json", outcome)
    tell(f"{run.name}: LPIPS {outcome['scores']['hole']['lpips_alex']:.4f}")
    return outcome


# -- comparing ------------------------------------------------------------------------------------------------------------


def over_seeds(outcomes: Sequence[Mapping[str, Any]], view: str) -> dict[str, dict[str, metrics.Score]]:
    """Variant → score → its mean over seeds, with the standard error of that mean where there are two seeds or more."""
    found: dict[str, dict[str, metrics.Score]] = {}
    for variant in dict.fromkeys(one["variant"] for one in outcomes):
        mine = [one["scores"][view] for one in outcomes if one["variant"] == variant]
        for name in SCORES:
            values = [scores[name] for scores in mine if name in scores]
            if values:
                error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
                found.setdefault(variant, {})[name] = metrics.Score(statistics.fmean(values), error, len(values))
    return found


def paired(outcomes: Sequence[Mapping[str, Any]], view: str, name: str) -> dict[str, metrics.Score]:
    """Variant → how much its score ``name`` is above A's, seed by seed, with the standard error over seeds.

    Runs of one seed share faces, holes and starting weights, so the differences are less uncertain than the means.
    """
    by_seed = {(one["variant"], one["seed"]): one["scores"][view] for one in outcomes}
    found = {}
    for variant in dict.fromkeys(one["variant"] for one in outcomes):
        values = [scores[name] - by_seed["A", seed][name] for (mine, seed), scores in by_seed.items()
                  if mine == variant != "A" and ("A", seed) in by_seed and name in scores]
        if values:
            error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
            found[variant] = metrics.Score(statistics.fmean(values), error, len(values))
    return found


def order(scores: Mapping[str, Mapping[str, metrics.Score]], name: str = "lpips_alex") -> str:
    """The variants from the best to the worst by one score, such as ``"ACEDB"``; U-IDS is better when higher."""
    sign = -1 if name == "u_ids_heldout" else 1
    return "".join(sorted((variant for variant, found in scores.items() if name in found),
                          key=lambda variant: sign * scores[variant][name].value))


def papers_order(name: str = "lpips_alex") -> str:
    """The same of the paper's Table VI."""
    place = {"fid": 0, "u_ids_heldout": 1, "lpips_alex": 2}[name]
    sign = -1 if name == "u_ids_heldout" else 1
    return "".join(sorted(VARIANTS, key=lambda variant: sign * VARIANTS[variant].paper[place]))
