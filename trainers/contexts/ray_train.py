"""Training under Ray Train: placement, restarts after a loss, and notices of machines that will be taken away.

Ray runs the workers and starts them again; it does not keep our checkpoints. Rank 0 writes them into the run folder,
which all nodes share, where our manifest commits them the moment they are renamed. Ray commits a reported checkpoint
only when its controller polls the next time, and forgets one whose worker died before (it was measured), so handing
it ours would gain a second, weaker truth. Each worker group that Ray starts looks into the run folder and goes on
from there.

`ray.train.report` carries an epoch's means only: it is limited to one report a controller's poll. Steps go to the event
file, which the driver follows. A worker's working directory is Ray's: every path in the config is absolute.

Source: Ray Train V2 as of 2.60.
"""

import os
import socket
import threading
import uuid
import warnings
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import ray
import ray.train
import torch.distributed as dist
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from resight.cluster.errors import UserError
from resight.cluster.storage import is_url, open_storage
from resight.trainers.checkpoint import Position
from resight.trainers.config import Config, EngineConfig, fingerprint, from_dict, to_dict
from resight.trainers.contexts.context import Notice, Write
from resight.trainers.contexts.in_process import Place
from resight.trainers.contexts.recorder import Recorder
from resight.trainers.lease import Fence
from resight.trainers.mirror import Mirror, pushed_at_the_end, working_folder
from resight.trainers.nonfinite import NonFiniteLoss
from resight.trainers.run_folder import RunFolder
from resight.trainers.signals import StopNote
from resight.trainers.source import require_same, source_sha256
from resight.trainers.worker import work

__all__ = ["RayTrain", "fit_on_ray"]

_ENVIRONMENT: Final = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
}
"""How often the controller looks after its workers, which also bounds how fast reports return; seconds."""

_ALONE: Final = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0", "RAY_TRAIN_METRICS_ENABLED": "0"}
"""For a private cluster on one machine: nobody takes nodes from it or reads its gauges, and each costs a process."""

_ASK_EVERY: Final = 8
"""Steps between questions for preemptions: each is a barrier over the workers of about 5 ms."""

MAX_FAILURES: Final = 3
"""Worker losses that one start of a run survives; preemptions are counted apart, without limit."""


class RayTrain:
    """A `RunContext` for one worker of Ray Train.

    Args:
        recorder: writes into the run folder.
        where: rank and world.
        stop: the driver's note.
    """

    def __init__(self, recorder: Recorder, where: Place, stop: StopNote) -> None:
        self.rank, self.world = where.rank, where.world
        self._recorder = recorder
        self._stop = stop
        self._asked = 0
        self._warned = False

    def checkpoint(self) -> Path | None:
        """Return the run folder's newest checkpoint as this worker group found it."""
        return self._recorder.checkpoint

    def report(self, event: str, **facts: Any) -> None:
        """Write an event; tell Ray about whole epochs."""
        self._recorder.report(event, facts)
        if event == "epoch":
            ray.train.report({"epoch": facts["epoch"], "step": facts["step"], **facts["losses"]})

    def save(self, write: Write, position: Position) -> None:
        """Have rank 0 write a checkpoint."""
        self._recorder.save(write, position)

    def notice(self) -> Notice:
        """Return STOP at the driver's note, and SAVE once when Ray says that a node will be taken away."""
        self._asked += 1
        if not self._warned and self._asked % _ASK_EVERY == 0 and ray.train.get_preemption_info() is not None:
            self._warned = True
            return Notice.SAVE
        return Notice.STOP if self._stop else Notice.NONE


def fit_on_ray(config: Config, run: RunFolder, *, workers: int, private: bool, lease: int) -> None:
    """Train on workers of the Ray cluster this process is connected to; the result is in the run folder.

    Args:
        config: the whole configuration, its paths absolute.
        run: the run folder, which all nodes share.
        workers: how many.
        private: whether the cluster was started for this run, on this machine.
        lease: the number under which the driver holds the run folder, or the run in the bucket.

    Raises:
        NonFiniteLoss: as `fit`.
        UserError: when workers failed more often than is survived.
    """
    gpu = _on_gpu(config.engine, workers)
    config = replace(config, engine=replace(config.engine, device="cuda" if gpu else "cpu"))
    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "config": to_dict(config),
            "fingerprint": fingerprint(config),
            "run": run.place,
            "code": source_sha256(),
            "lease": lease,
        },
        torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers, use_gpu=gpu, resources_per_worker={"CPU": 1, **({"GPU": 1} if gpu else {})}
        ),
        run_config=RunConfig(
            name=f"attempt-{run.attempts() + 1:03d}-{uuid.uuid4().hex[:6]}",
            storage_path=str(run.path / "ray"),
            failure_config=FailureConfig(max_failures=MAX_FAILURES, controller_failure_limit=5),
        ),
    )
    with _settings(_ENVIRONMENT | (_ALONE if private else {})):
        _raise_if_told(_fitted(trainer))


def _worker(sent: Mapping[str, Any]) -> dict[str, str] | None:
    """Run one worker; return a non-finite loss as plain texts, since Ray would start an error over and over."""
    require_same(sent["code"], host=socket.gethostname())
    config = from_dict(sent["config"])
    assert fingerprint(config) == sent["fingerprint"], "a config survives the trip to a worker"
    told = ray.train.get_context()
    where = Place(rank=told.get_world_rank(), world=told.get_world_size(), local_rank=told.get_local_rank())
    try:
        if is_url(sent["run"]):
            _work_in_bucket(config, sent["run"], where, sent["lease"])
            return None
        run = RunFolder(Path(sent["run"]))
        fence = Fence(control=run.control, number=sent["lease"])
        work(config, run, where, lambda recorder: RayTrain(recorder, where, StopNote(run.control)), fence=fence)
    except NonFiniteLoss as error:
        return {"problem": error.problem, "where": error.where, "cure": error.cure}
    return None


def _work_in_bucket(config: Config, url: str, where: Place, lease: int) -> None:
    """Work on this machine's copy of the run, made by its first rank; rank 0 copies up what is new."""
    fence = Fence(control=f"{url}/control", number=lease)
    mirror = Mirror(open_storage(url), working_folder(url), fence if where.rank == 0 else None)
    if where.local_rank == 0:
        mirror.pull(RunFolder.latest)
    if where.world > 1:
        dist.barrier()
    note = StopNote(f"{url}/control")
    with pushed_at_the_end(mirror) if where.rank == 0 else nullcontext():
        work(config, mirror.run, where, lambda recorder: RayTrain(recorder, where, note), mirror=mirror)
    if where.rank != 0:
        mirror.put(mirror.run.events_file(where.rank).name)


def _on_gpu(engine: EngineConfig, workers: int) -> bool:
    """Tell whether each worker gets a GPU; "cuda" asks for them even where none has been started yet."""
    return engine.device == "cuda" or (engine.device == "auto" and ray.cluster_resources().get("GPU", 0) >= workers)


def _fitted(trainer: TorchTrainer) -> dict[str, str] | None:
    """Run the trainer in a thread, where it leaves Ctrl-C to the driver; return what rank 0 returned."""
    answer: Future[dict[str, str] | None] = Future()
    threading.Thread(target=_answer, args=(answer, trainer), daemon=True).start()
    try:
        return answer.result()
    except ray.train.TrainingFailedError as error:
        failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
        for failure in failures.values():
            if isinstance(failure, UserError):
                raise failure from error
        raise UserError(
            f"training on Ray failed: {_gist(failures, error)}",
            cure="start the same command again to go on from the last checkpoint",
        ) from error


def _answer(answer: "Future[dict[str, str] | None]", trainer: TorchTrainer) -> None:
    try:
        answer.set_result(trainer.fit().return_value)
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
        answer.set_exception(error)


def _gist(failures: Mapping[int, Exception], error: Exception) -> str:
    if not failures:
        return str(error).strip()
    last = (f"rank {rank}: {str(failure).strip().splitlines()[-1]}" for rank, failure in failures.items())
    return f"workers were lost more than {MAX_FAILURES} times; the last time {'; '.join(last)}"


def _raise_if_told(returned: dict[str, str] | None) -> None:
    if returned is not None:
        raise NonFiniteLoss(returned["problem"], where=returned["where"], cure=returned["cure"])


@contextmanager
def _settings(wanted: Mapping[str, str]) -> Generator[None]:
    """Set what Ray Train reads from the environment, where the user did not; put it back."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update({name: os.environ.get(name, value) for name, value in wanted.items()})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=DeprecationWarning)
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
