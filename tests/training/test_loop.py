"""The loop: resuming, averaging, several processes, limits, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import IMPORTABLE, equal, in_process, train
from torch import nn
from toy import RUN, ToyFaces, ToyStage

from facemug_lib.errors import FacemugError
from facemug_lib.training.checkpoints import newest_checkpoint, save_checkpoint
from facemug_lib.training.state import RunState
from facemug_lib.weights import read_weights


def final_state(folder: Path) -> dict:
    images_seen, state = newest_checkpoint(folder)
    assert images_seen == RUN["images"]
    state.pop("seconds")
    return state


KILLED = """
import sys
from runs import train
from toy import RUN, ToyFaces, ToyStage
train(ToyStage(kill_at=int(sys.argv[2])), ToyFaces(), sys.argv[1], **RUN)
"""


def test_killed_and_resumed_is_bit_equal_to_uninterrupted(tmp_path: Path) -> None:
    train(ToyStage(), ToyFaces(), tmp_path / "whole", **RUN)
    # 56 is no multiple of the checkpoint interval, so finished steps are lost and made again.
    killed = in_process(KILLED, str(tmp_path / "killed"), "56")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert newest_checkpoint(tmp_path / "killed")[0] == 48
    train(ToyStage(), ToyFaces(), tmp_path / "killed", **RUN)
    assert equal(final_state(tmp_path / "whole"), final_state(tmp_path / "killed"))
    shipped = [read_weights(tmp_path / name / "weights" / "toy.safetensors")[0] for name in ("whole", "killed")]
    assert equal(*shipped)
    other = train(ToyStage(), ToyFaces(), tmp_path / "other", **RUN | {"seed": 1})
    assert not equal(final_state(tmp_path / "whole"), final_state(other.out))


def test_a_line_that_a_full_disk_cut_short_is_dropped(tmp_path: Path) -> None:
    train(ToyStage(), ToyFaces(), tmp_path, **RUN | {"images": 24})
    path = tmp_path / "stats.jsonl"
    before = path.read_text()
    path.write_text(before + '{"images": 32, "los')
    train(ToyStage(), ToyFaces(), tmp_path, **RUN)
    after = path.read_text()
    assert after.startswith(before) and [json.loads(line) for line in after.splitlines()][-1]["images"] == RUN["images"]


def test_training_lowers_the_loss_and_ships_the_averages(tmp_path: Path) -> None:
    stage = ToyStage()
    untrained = stage.evaluate({name: module.eval() for name, module in stage.modules.items()}, 64)["mse"]
    result = train(stage, ToyFaces(), tmp_path, **RUN | {"images": 800, "warmup": 0}, command="toy command")
    assert result.is_finished and result.images_seen == 800
    assert result.scores["mse"] < 0.75 * untrained
    tensors, config, card = read_weights(result.weights["toy"])
    _, state = newest_checkpoint(tmp_path)
    assert config == {"width": 16} and card["images_seen"] == 800 and card["command"] == "toy command"
    for name, value in state["averages"]["net"].items():
        assert torch.equal(tensors[name], value.half().float())
    assert any(not torch.equal(state["averages"]["net"][name], value) for name, value in state["modules"]["net"].items())
    lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines if "losses" in line][-1] == 800
    assert all(line["images_per_second"] > 0 for line in lines if "losses" in line)
    assert lines[-1]["scores"] == result.scores


def test_minutes_stop_early_and_the_same_call_goes_on(tmp_path: Path) -> None:
    first = train(ToyStage(), ToyFaces(), tmp_path, **RUN | {"minutes": 0.0})
    assert not first.is_finished and first.images_seen == 0 and first.weights["toy"].is_file()
    second = train(ToyStage(), ToyFaces(), tmp_path, **RUN)
    assert second.is_finished
    train(ToyStage(), ToyFaces(), tmp_path / "whole", **RUN)
    assert equal(final_state(tmp_path), final_state(tmp_path / "whole"))


def test_average_has_its_half_life() -> None:
    raw, average = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.constant_(raw.weight, 1.0)
    nn.init.constant_(average.weight, 0.0)
    state = RunState({"net": raw}, {"net": average}, {})
    for step in range(10):
        state.images_seen = 10 * (step + 1)
        state.average(10, halflife=100, rampup=None)
    assert average.weight.item() == pytest.approx(0.5)  # after 100 images half of the way is left
    state.images_seen = 110
    state.average(10, halflife=100, rampup=0.0)
    assert average.weight.item() == 1.0  # a ramp-up of 0 follows the network at once


def test_out_of_memory_names_the_batch_that_fits(tmp_path: Path) -> None:
    with pytest.raises(FacemugError, match="batch 32 does not fit .* batch 8 does"):
        train(ToyStage(memory_limit=11), ToyFaces(), tmp_path, **RUN | {"batch": 32})
    with pytest.raises(FacemugError, match="not even the smallest"):
        train(ToyStage(memory_limit=0), ToyFaces(), tmp_path / "none", **RUN | {"batch": 4})


def test_divergence_and_foreign_states_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FacemugError, match="diverged"):
        train(ToyStage(rate=1e30), ToyFaces(), tmp_path / "bad", **RUN | {"warmup": 0})
    train(ToyStage(), ToyFaces(), tmp_path / "run", **RUN)
    wider = ToyStage()
    wider.modules["net"][1] = nn.Linear(192, 24)
    with pytest.raises(FacemugError, match="does not fit these networks"):
        train(wider, ToyFaces(), tmp_path / "run", **RUN)
    codeless = ToyFaces()
    codeless.has_codes = False
    with pytest.raises(FacemugError, match="codes are known"):
        train(ToyStage(), codeless, tmp_path / "codeless", **RUN)


def test_checkpoints_are_sharded_complete_and_few(tmp_path: Path) -> None:
    state = {
        "large": torch.arange(300_000, dtype=torch.float32).view(3, 100_000), "half": torch.ones(5, dtype=torch.float16),
        "empty": torch.zeros(0, 4), "scalar": torch.tensor(7), "nested": {0: {"betas": (0.0, 0.99), "flag": None}, "name": "x"},
    }
    for images_seen in (10, 20, 30):
        folder = save_checkpoint(tmp_path, images_seen, state | {"images_seen": images_seen}, max_shard_mib=0.25)
    assert all(path.stat().st_size <= 0.27 * 2**20 for path in folder.glob("shard-*"))
    assert len(list(folder.glob("shard-*"))) >= 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["resume-000000000020", "resume-000000000030"]
    images_seen, read = newest_checkpoint(tmp_path)
    assert images_seen == 30 and torch.equal(read["large"], state["large"]) and read["half"].dtype == torch.float16
    assert read["empty"].shape == (0, 4) and read["scalar"].item() == 7
    assert read["nested"] == {0: {"betas": [0.0, 0.99], "flag": None}, "name": "x"}
    # A copy that was cut short is passed over.
    (folder / "shard-001.safetensors").write_bytes(b"cut")
    assert newest_checkpoint(tmp_path)[0] == 20


RANK = """
import sys
from runs import train
from toy import RUN, ToyFaces, ToyStage
stage = ToyStage(noise=0.0)
result = train(stage, ToyFaces(), sys.argv[1], **RUN)
"""


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """The same total batch on two gloo processes gives the gradients, and so the networks, of one process."""
    train(ToyStage(noise=0.0), ToyFaces(), tmp_path / "one", **RUN)
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    environment = os.environ | {"PYTHONPATH": IMPORTABLE, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0",
                           "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", str(script), str(tmp_path / "two")],
                          env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = final_state(tmp_path / "one"), final_state(tmp_path / "two")
    for name, value in one["modules"]["net"].items():
        np.testing.assert_allclose(two["modules"]["net"][name], value, rtol=1e-4, atol=1e-6)
    # The first moments are averages of the very gradients.
    for index, moments in one["optimizers"]["net"]["state"].items():
        np.testing.assert_allclose(two["optimizers"]["net"]["state"][index]["exp_avg"], moments["exp_avg"], rtol=1e-3, atol=1e-6)
