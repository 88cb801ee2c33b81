"""Checkpoints: whole or not there, equal after a round trip, and damage is told."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from resight.cluster.errors import UserError
from resight.trainers import checkpoint as checkpoints
from resight.trainers.checkpoint import Moving, Position
from resight.trainers.optim import OptimConfig, make_optimizer

FACTS = {"config": {"seed": 0}}


def moving(kind: str = "adam", *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Moving:
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(4)
    norm.bias.requires_grad_(False)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), norm)
    models = nn.ModuleDict({"net": net, "head": nn.Linear(4, 2, bias=False)}).to(dtype)
    optimizer = make_optimizer(models, OptimConfig(kind=kind, undecayed="vectors", bias_lr_scale=2.0))  # type: ignore[arg-type]
    return Moving(models=models, optimizer=optimizer, state={"memory": torch.zeros(2, 3), "count": torch.tensor(0)})


def train(job: Moving, steps: int) -> None:
    some = next(job.models.parameters())
    for _ in range(steps):
        x = torch.rand(5, 3, 6, 6).to(some)
        loss = job.models["head"](job.models["net"](x).mean((2, 3))).square().sum()
        job.optimizer.zero_grad()
        loss.backward()
        job.optimizer.step()
        job.state["memory"] += loss.item()
        job.state["count"] += 1


def everything(job: Moving) -> dict[str, Tensor]:
    state = job.optimizer.state_dict()["state"]
    slots = {f"{i}/{k}": torch.as_tensor(v) for i, entry in state.items() for k, v in entry.items() if v is not None}
    return {**job.models.state_dict(), **slots, **job.state, "rng": torch.get_rng_state()}


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_moves_comes_back_to_the_bit(tmp_path: Path, kind: str, dtype: torch.dtype) -> None:
    first = moving(kind, dtype=dtype)
    train(first, 3)
    first.optimizer.param_groups[0]["lr"] = 0.1 + 0.2
    path = checkpoints.save(tmp_path, first, Position(epoch=1, step=3), FACTS)
    kept = {name: value.clone() for name, value in everything(first).items()}
    train(first, 2)
    second = moving(kind, seed=9, dtype=dtype)
    checkpoints.load(path, second)
    found = everything(second)
    assert sorted(found) == sorted(kept)
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in kept.items())
    assert second.optimizer.param_groups[0]["lr"] == 0.1 + 0.2
    train(second, 2)
    assert all(torch.equal(value, everything(first)[name]) for name, value in everything(second).items())
    assert checkpoints.read_position(path) == Position(epoch=1, step=3)
    assert checkpoints.read_state(path)["config"] == {"seed": 0}


def test_no_file_is_a_pickle_and_all_are_sealed(tmp_path: Path) -> None:
    job = moving()
    train(job, 1)
    path = checkpoints.save(tmp_path, job, Position(step=1), FACTS)
    assert path.name == "0000-0000001"
    names = {file.name for file in path.iterdir()}
    assert names == {"model.safetensors", "optim.safetensors", "state.json", "manifest.json"}
    assert set(json.loads((path / "manifest.json").read_text())["files"]) == names - {"manifest.json"}
    assert not [file.name for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_tied_and_transposed_weights_are_kept(tmp_path: Path) -> None:
    first, second = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    second.weight = first.weight
    turned = torch.arange(6.0).view(2, 3).T
    first.register_buffer("turned", turned)
    models = nn.ModuleDict({"a": first, "b": second})
    job = Moving(models=models, optimizer=Adam(models.parameters()), state={})
    path = checkpoints.save(tmp_path, job, Position(), FACTS)
    before = first.weight.detach().clone()
    nn.init.zeros_(first.weight)
    turned.zero_()
    checkpoints.load_models(path, models)
    assert torch.equal(second.weight, before)
    assert torch.equal(turned, torch.arange(6.0).view(2, 3).T)


@pytest.mark.parametrize("name", ["model.safetensors", "optim.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "delete"])
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, name: str, harm: str) -> None:
    if name == "manifest.json" and harm == "delete":
        return  # then it is no checkpoint
    job = moving()
    path = checkpoints.save(tmp_path, job, Position(), FACTS)
    file = path / name
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    if harm == "delete":
        file.unlink()
    else:
        file.write_bytes(bytes(data if harm == "flip" else data[: len(data) // 2]))
    with pytest.raises(UserError, match=name):
        checkpoints.load(path, job)


def test_other_networks_are_refused_by_name(tmp_path: Path) -> None:
    path = checkpoints.save(tmp_path, moving(), Position(), FACTS)
    other = moving()
    other.models["extra"] = nn.Linear(2, 2)
    with pytest.raises(UserError, match=r"lacks \['extra.bias', 'extra.weight'\]"):
        checkpoints.load(path, other)


def test_other_parameter_groups_are_refused(tmp_path: Path) -> None:
    job = moving()
    path = checkpoints.save(tmp_path, job, Position(), FACTS)
    plain = Moving(models=job.models, optimizer=Adam(job.models["head"].parameters()), state=job.state)
    with pytest.raises(UserError, match="other parameters"):
        checkpoints.load(path, plain)


def test_only_committed_folders_count_and_the_rest_is_swept(tmp_path: Path) -> None:
    assert checkpoints.committed(tmp_path / "none") == []
    assert checkpoints.sweep(tmp_path / "none") == []
    job = moving()
    for step in (1, 2, 10):
        checkpoints.save(tmp_path, job, Position(epoch=step // 2, step=step), FACTS)
    (tmp_path / ".tmp-crashed").mkdir()
    (tmp_path / ".tmp-crashed" / "manifest.json").write_text("{}")
    (tmp_path / "0009-0000099").mkdir()
    (tmp_path / "0009-0000099" / "model.safetensors").write_bytes(b"half")
    names = [path.name for path in checkpoints.committed(tmp_path)]
    assert names == ["0000-0000001", "0001-0000002", "0005-0000010"]
    assert checkpoints.sweep(tmp_path) == [".tmp-crashed", "0009-0000099"]
    checkpoints.prune(tmp_path, keep=2, keep_best=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert [path.name for path in checkpoints.committed(tmp_path)] == names[1:]


def test_saving_a_position_again_replaces_it(tmp_path: Path) -> None:
    job = moving()
    checkpoints.save(tmp_path, job, Position(), FACTS)
    train(job, 1)
    path = checkpoints.save(tmp_path, job, Position(), FACTS)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    before = everything(job)
    checkpoints.load(path, job)
    assert all(torch.equal(value, before[name]) for name, value in everything(job).items())


def test_optimisers_without_state_yet(tmp_path: Path) -> None:
    kinds: tuple[type[Optimizer], ...] = (Adam, AdamW, SGD)
    for kind in kinds:
        models = nn.ModuleDict({"a": nn.Linear(2, 2)})
        job = Moving(models=models, optimizer=kind(models.parameters(), lr=0.1), state={})
        checkpoints.load(checkpoints.save(tmp_path, job, Position(), FACTS), job)
        assert not job.optimizer.state
