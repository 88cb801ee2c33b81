"""A run in a bucket: what a run folder on a disk would hold, resumed on a machine that has never seen it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from resight.cli.app import run as command
from resight.cluster.errors import UserError
from resight.cluster.storage import Storage, open_storage
from resight.trainers.config import Config, dump_yaml, with_overrides
from resight.trainers.lease import LeaseLost, held
from resight.trainers.mirror import Mirror, mirrored, run_here, working_folder
from resight.trainers.recipes.strong_baseline import strong_baseline
from resight.trainers.run_folder import RunFolder
from resight.trainers.train import train
from tests.datasets.making import crops, write_dataset
from tests.s3.faulty_proxy import EVERY_FAULT, Faults, faulty_proxy
from tests.s3.fixtures import place_on
from tests.s3.servers import Server

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "made"
    people = [*crops("train", ids=12, per_id=6), *crops("query", ids=4, per_id=2, first=50)]
    write_dataset([*people, *crops("gallery", ids=4, per_id=6, first=50)], folder)
    return folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine's temporary disk, of this test only."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def small(data: Path | str, **more: Any) -> Config:
    fixed: dict[str, Any] = {
        "data.sources": [str(data)], "data.threads": 1, "engine.device": "cpu", "augment.height": 32, "model.width": 8,
        "augment.width": 16, "augment.pad": 2, "sampler.ids_per_batch": 5, "sampler.images_per_id": 4,
        "sampler.steps_per_epoch": 4, "run.epochs": 2, "run.keep_last": 1,
    }  # fmt: skip
    return with_overrides(strong_baseline("tiny"), fixed | more)


def weights(run: Storage) -> dict[str, bytes]:
    """The tensors of all checkpoints."""
    return {key: run.read(key) for key in run.list("checkpoints/") if key.endswith(".safetensors")}


def test_a_run_in_a_bucket_is_a_run(
    on_moto: str, data: Path, temporary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = train(small(data), out=temporary / "here")
    there = train(small(data), out=f"{on_moto}/run")
    assert there.place == f"{on_moto}/run"
    bucket = open_storage(there.place)
    assert weights(bucket) == weights(open_storage(here.path))
    assert {"config.yaml", "environment.json", "events.jsonl", "metrics.parquet"} <= set(bucket.list())
    assert [key.split("/")[1] for key in bucket.list("checkpoints/") if key.endswith("manifest.json")] == [
        "0002-0000008"
    ]
    assert json.loads(bucket.read("control/lease-000001.json"))["released"] is True
    secrets = [os.environ["AWS_SECRET_ACCESS_KEY"].encode(), os.environ["AWS_ACCESS_KEY_ID"].encode()]
    assert not [key for key in bucket.list() if any(secret in bucket.read(key) for secret in secrets)]

    shutil.rmtree(working_folder(there.place))
    before = bucket.read("events.jsonl")
    assert train(small(data), out=there.place).finished
    assert bucket.read("events.jsonl") == before
    assert command(["evaluate", there.place, "--data", str(data), "--json", "--quiet"]) == 0
    judged = json.loads(capsys.readouterr().out)
    assert json.loads(bucket.read("evaluations/made/evaluation.json"))["metrics"]["mAP"] == judged["mAP"]
    assert command(["report", there.place]) == 0
    assert capsys.readouterr().out.strip() == f"{there.place}/report.html"
    assert b"mAP" in bucket.read("report.html")
    file, index = str(temporary / "found.parquet"), str(temporary / "index")
    assert command(["embed", there.place, "--data", str(data), "--out", file, "--splits", "gallery", "--quiet"]) == 0
    assert command(["index", file, "--out", index]) == 0
    capsys.readouterr()
    search = ["search", f"{data}:query-0050-00", "--index", index, "--top", "1", "--json"]
    for run in ([], ["--run", there.place], ["--run", f"{there.place}/checkpoints/0002-0000008"]):
        assert command([*search, *run]) == 0
        assert len(json.loads(capsys.readouterr().out)["found"][0]["results"]) == 1
    assert command([*search, "--run", f"{there.place}/checkpoints/0001-0000004"]) == 2
    assert "no such checkpoint" in capsys.readouterr().err
    assert command(["search", f"{data}:query-0050-00", "--index", f"{on_moto}/index"]) == 2
    assert "is a URL" in capsys.readouterr().err
    assert weights(bucket) == weights(open_storage(here.path))


@pytest.mark.slow
def test_a_killed_run_goes_on_elsewhere(
    moto: Server, data: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is lost with its disk, on a network that fails; another one goes on from the bucket."""
    with faulty_proxy(moto.url, Faults(kinds=(*EVERY_FAULT, *[""] * 15), each=1)) as url:
        place = place_on(replace(moto, url=url), monkeypatch)
        config = small(data, **{"run.epochs": 3, "run.checkpoint_every_steps": 2})
        file = temporary / "config.yaml"
        file.write_text(dump_yaml(config))
        words = [sys.executable, "-m", "resight", "train", "--config", str(file), "--out", place, "--quiet"]
        other = temporary / "other"
        other.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(other)}
        started = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        bucket, until = open_storage(place), time.monotonic() + 100
        while not [key for key in bucket.list("checkpoints/") if key.endswith("manifest.json")]:
            assert started.poll() is None, started.communicate()[1]
            assert time.monotonic() < until
        started.kill()
        started.communicate()
        assert not bucket.exists("checkpoints/0003-0000012/manifest.json")
        resumed = train(config, out=place, resume="must")
        found = weights(bucket)
    calm = train(config, out=temporary / "calm")
    assert resumed.finished
    assert resumed.attempts() == 2
    assert found == weights(open_storage(calm.path))


@pytest.mark.slow
def test_on_ray_workers_share_a_run_in_a_bucket(on_moto: str, data: Path, tmp_path: Path) -> None:
    """Stopped by SIGTERM, started again on another machine: what two workers did is in the bucket, and nowhere else."""
    config, place, bucket = small(data, **{"run.epochs": 3}), f"{on_moto}/run", open_storage(f"{on_moto}/run")
    file = tmp_path / "config.yaml"
    file.write_text(dump_yaml(config))
    words = [sys.executable, "-m", "resight", "train", "--config", str(file), "--out", place, "--quiet", "--backend"]

    def start(name: str) -> subprocess.Popen[bytes]:
        (tmp_path / name).mkdir()
        more = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / name)}
        return subprocess.Popen([*words, "ray", "--workers", "2"], env={**os.environ, **more}, stderr=subprocess.PIPE)

    first, until = start("a"), time.monotonic() + 200
    while not [key for key in bucket.list("checkpoints/") if key.endswith("manifest.json")]:
        assert first.poll() is None, first.communicate()[1]
        assert time.monotonic() < until
    first.terminate()
    said = first.communicate(timeout=200)[1]
    assert first.returncode == 0, said
    second = start("b")
    said = second.communicate(timeout=200)[1]
    assert second.returncode == 0, said
    events = [json.loads(line) for line in bucket.read("events.jsonl").splitlines()]
    assert events[-1]["event"] == "finish"
    assert {"config.yaml", "environment.json", "metrics.parquet", "events-01.jsonl"} <= set(bucket.list())
    assert bucket.exists("checkpoints/0003-0000012/manifest.json")
    assert [event["step"] for event in events if event["event"] == "step"] == list(range(1, 13))


@pytest.mark.slow
def test_under_torchrun_ranks_share_a_working_copy(on_moto: str, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(dump_yaml(small(data)))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*torchrun, "-m", "resight", "train", "--config", str(file), "--out", on_moto, "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    bucket = open_storage(on_moto)
    sizes: list[int] = []
    for _ in range(2):  # the second time it is finished, which all ranks have to know
        done = subprocess.run(words, env=environment, capture_output=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        sizes.append(bucket.size("events.jsonl"))
    assert bucket.exists("checkpoints/0002-0000008/manifest.json")
    assert bucket.exists("events-01.jsonl")
    assert sizes[0] == sizes[1]


def test_one_start_at_a_time(on_moto: str, data: Path, temporary: Path) -> None:
    with held(f"{on_moto}/control", attempt=1), pytest.raises(UserError, match="another run is writing") as caught:
        train(small(data), out=on_moto)
    assert caught.value.where == on_moto
    with pytest.raises(LeaseLost):
        lose(on_moto)
    assert not open_storage(on_moto).exists("environment.json")


def test_what_a_bucket_cannot_take_is_refused(
    on_moto: str, data: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as torchrun:
        for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}.items():
            torchrun.setenv(name, value)
        with pytest.raises(UserError, match="on one machine only") as caught:
            train(small(data), out=on_moto)
    assert "mount" in caught.value.cure
    open_storage(on_moto).publish(b"precious", "thesis.pdf")
    with pytest.raises(UserError, match=r"other files than a run's here, e\.g\. 'thesis\.pdf'"):
        train(small(data), out=on_moto)
    with pytest.raises(UserError, match="there is no run here"), run_here(on_moto):
        pass


def lose(place: str) -> None:
    """Have the run taken away while it is written."""
    with mirrored(place, rank=0) as mirror:
        mirror.run.write_environment({})
        newer = json.dumps({"host": "elsewhere", "pid": 1, "machine": "", "born": 0, "since": 0.0, "attempt": 9})
        open_storage(place).publish(newer.encode(), "control/lease-000003.json")
        mirror.push()


@pytest.fixture
def copies(on_moto: str, tmp_path: Path) -> Iterator[tuple[Mirror, RunFolder, Storage]]:
    """A mirror that holds the lease, its working copy, and the bucket."""
    with held(f"{on_moto}/control", attempt=1) as fence:
        mirror = Mirror(open_storage(on_moto), tmp_path / "copy", fence)
        mirror.pull(RunFolder.latest)
        mirror.run.path.joinpath("config.yaml").write_text("x")
        yield mirror, mirror.run, open_storage(on_moto)


def test_a_checkpoint_without_its_manifest_is_not_there(
    copies: tuple[Mirror, RunFolder, Storage], tmp_path: Path
) -> None:
    mirror, run, bucket = copies
    for name in ("0001-0000001", "0002-0000002"):
        (run.checkpoints / name).mkdir(parents=True)
        for file in ("manifest.json", "model.safetensors", "state.json"):
            (run.checkpoints / name / file).write_text(name)
    mirror.push()
    assert len(bucket.list("checkpoints/")) == 6
    shutil.rmtree(run.checkpoints / "0001-0000001")
    (run.path / "events.jsonl").write_text("more\n")
    mirror.push()
    assert [key.split("/")[1] for key in bucket.list("checkpoints/")] == ["0002-0000002"] * 3
    bucket.publish(b"torn", "checkpoints/0003-0000003/model.safetensors")
    other = Mirror(bucket, tmp_path / "other")
    other.pull(RunFolder.latest)
    assert other.run.latest() == tmp_path / "other" / "checkpoints" / "0002-0000002"
    assert (tmp_path / "other" / "checkpoints" / "0002-0000002" / "model.safetensors").exists()
    assert (tmp_path / "other" / "events.jsonl").read_text() == "more\n"
    mirror.pull(RunFolder.latest)
    mirror.push()
    assert not bucket.list("checkpoints/0003")
