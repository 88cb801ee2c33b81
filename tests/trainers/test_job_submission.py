"""`ray job submit --working-dir .` on a cluster whose machines do not have this package, or have an old copy of it."""

import json
from pathlib import Path

import pytest

from resight.cluster.errors import UserError
from resight.trainers.run_folder import RunFolder
from resight.trainers.source import package_folder, require_same, sha256_of, source_sha256
from tests.checkout import check_out
from tests.datasets.making import crops, write_dataset
from tests.trainers.other_cluster import OtherCluster, other_cluster, until

QUICK = (
    "--size tiny --run.epochs 1 --sampler.steps-per-epoch 100000 --sampler.ids-per-batch 2 --sampler.images-per-id 2 "
    "--augment.height 16 --augment.width 8 --augment.pad 1 --model.width 2 --data.threads 1"
)
NOT_SHIPPED = (".venv/lib/big.so", "demo/report.html", "data/market/shards/train-000000.tar", "runs/a/events.jsonl")
PATIENT = '{"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}}'


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the things beside it that a user has there."""
    target = check_out(tmp_path_factory.mktemp("tree") / "resight")
    for name in NOT_SHIPPED:
        (target / name).parent.mkdir(parents=True)
        (target / name).write_bytes(bytes(1 << 20))
    return target


def install_old_copy(cluster: OtherCluster) -> Path:
    old = cluster.packages / "resight"
    old.mkdir()
    (old / "__init__.py").write_text('raise ImportError("an old copy of the package was imported")\n')
    return old


@pytest.mark.ray
def test_a_job_runs_the_code_it_brings(tree: Path, tmp_path: Path) -> None:
    """Driver and Train worker run it in spite of an old copy; `ray job stop` saves; then without any copy at all."""
    write_dataset(crops("train", ids=4, per_id=2), tmp_path / "data")
    run = RunFolder(tmp_path / "run")
    train = f"python -m resight train strong_baseline --data {tmp_path}/data --out {run.path} --backend ray {QUICK}"
    with other_cluster() as cluster:
        old = install_old_copy(cluster)
        ship = ("--working-dir", ".", "--submission-id")
        cluster.job("submit", "--no-wait", "--runtime-env-json", PATIENT, *ship, "long", "--", *train.split(), cwd=tree)
        until(
            lambda: any(event["event"] == "step" for event in run.events()), or_else=lambda: cluster.job("logs", "long")
        )
        cluster.job("stop", "long")
        assert str(run.path) in cluster.job("logs", "long").splitlines()[-1]
        old.rename(old.with_name("removed"))
        assert "resight 0.1.0" in cluster.job(
            "submit", *ship, "short", "--", "python", "-m", "resight", "--version", cwd=tree
        )
        (brought,) = cluster.shipped
        shipped = {path.relative_to(brought).as_posix(): path for path in brought.rglob("*") if path.is_file()}
        assert not shipped.keys() & set(NOT_SHIPPED)
        assert not [name for name in shipped if name.startswith(("docs/", "tests/", "benchmarks/"))]
        assert sum(path.stat().st_size for path in shipped.values()) < 8 << 20
        steps = [event["step"] for event in run.events() if event["event"] == "step"]
        begun = next(event for event in run.events() if event["event"] == "start")
    code = json.loads(run.environment_file.read_text())["code"]
    assert code == {"path": f"{brought}/resight", "sha256": source_sha256()}
    assert begun["code"] == f"{brought}/resight"
    saved = run.latest()
    assert saved is not None
    assert saved.name == f"0000-{steps[-1]:07d}"
    assert not run.finished


def test_a_worker_of_other_code_is_refused() -> None:
    require_same(source_sha256(), host="here")
    with pytest.raises(UserError, match="other code than the driver") as caught:
        require_same("0" * 64, host="node-7")
    assert caught.value.where == f"node-7: {package_folder()}"
    assert "--working-dir" in caught.value.cure


@pytest.mark.parametrize("name", ["resight/__init__.py", "cluster/errors.py", "trainers/losses/triplet.py"])
def test_a_change_in_any_room_is_another_code(tree: Path, name: str) -> None:
    whole = (tree / name).read_bytes()
    assert sha256_of(tree / "resight") == source_sha256()
    (tree / name).write_bytes(whole + b"\n")
    assert sha256_of(tree / "resight") != source_sha256()
    (tree / name).write_bytes(whole)
