"""The run folder: events that survive a crash, tables made from them, no secrets, trackers that cannot stop a run."""

import json
import logging
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from resight.cluster.errors import UserError
from resight.cluster.progress import Step
from resight.trainers.checkpoint import Position
from resight.trainers.contexts.recorder import Recorder
from resight.trainers.environment import environment, without_secrets
from resight.trainers.events import EventWriter, curve, write_metrics
from resight.trainers.following import following
from resight.trainers.run_folder import RunFolder, open_run
from resight.trainers.trackers import ProgressTracker, TensorBoard, Trackers
from tests.trainers.toy import toy_config


def step(number: int, **facts: Any) -> dict[str, Any]:
    losses = {"id": 1.0 / number, "triplet": 0.5}
    speed = {"images_per_s": 10.0, "data_s": 0.1, "step_s": 1.0}
    return {"epoch": 0, "step": number, "losses": losses, "total": 0.5 + 1.0 / number, "lr": 0.1, **speed, **facts}


def test_config_and_environment_are_written_whole(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    config = toy_config()
    run.write_config(config)
    run.write_environment(environment(workers=2, backend="local"))
    assert run.config() == config
    assert open_run(run.path).path == run.path
    facts = json.loads(run.environment_file.read_text())
    assert facts["packages"]["torch"]
    assert facts["workers"] == 2
    assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml", "environment.json"]
    assert "run" in repr(run)


def test_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run in this folder"):
        open_run(tmp_path)


def test_names_of_the_rest(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert run.events_file(3).name == "events-03.jsonl"
    assert run.evaluation("clothes") == tmp_path / "evaluations" / "clothes"
    assert run.report_file.name == "report.html"
    assert run.latest() is None
    assert not run.finished
    assert run.attempts() == 0


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["train", "--optim.lr", "1e-3"], ["train", "--optim.lr", "1e-3"]),
        (["--api-key", "abc", "x"], ["--api-key", "***", "x"]),
        (["--token=abc"], ["--token=***"]),
        (["AWS_SECRET_ACCESS_KEY=abc"], ["AWS_SECRET_ACCESS_KEY=***"]),
        (["--password", "--next", "x"], ["--password", "--next", "x"]),
        (["s3://user:word@host/run"], ["s3://***@host/run"]),
    ],
)
def test_secrets_are_blanked(given: list[str], kept: list[str]) -> None:
    assert without_secrets(given) == kept


def test_events_survive_a_torn_line(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    writer = EventWriter(run.events_file(), attempt=1, rank=0)
    writer.write("start", {"step": 0})
    writer.write("step", step(1))
    writer.close()
    with run.events_file().open("a") as file:
        file.write('{"event":"step","st')
    assert [event["event"] for event in run.events()] == ["start", "step"]
    again = EventWriter(run.events_file(), attempt=2, rank=0)
    again.write("resume", {"step": 1, "value": float("nan"), "values": [float("inf"), 1]})
    again.close()
    events = list(run.events())
    assert [event["event"] for event in events] == ["start", "step", "resume"]
    assert (events[-1]["value"], events[-1]["values"]) == (None, [None, 1])
    assert run.attempts() == 2


def test_a_line_may_be_torn_anywhere(tmp_path: Path) -> None:
    """Also behind an inner brace, where half a line ends like a whole one."""
    run = RunFolder(tmp_path)
    writer = EventWriter(run.events_file(), attempt=1, rank=0)
    writer.write("start", {"step": 0})
    kept = run.events_file().read_bytes()
    writer.write("step", step(1, note="x" * 70_000))
    writer.close()
    line = run.events_file().read_bytes()[len(kept) :]
    near = [at for at in range(len(line)) if at < 300 or line[at - 1 : at] == b"}" or len(line) - at < 3]
    assert any(line[:at].endswith(b"}") for at in near[:-1])
    for cut in near:
        for whole in (kept, b""):
            run.events_file().write_bytes(whole + line[:cut])
            again = EventWriter(run.events_file(), attempt=2, rank=0)
            again.write("resume", {"step": 0})
            again.close()
            kinds = [event["event"] for event in run.events()]
            assert kinds == (["start", "resume"] if whole else ["resume"])


def test_replayed_steps_stand_once_in_the_table(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.jsonl", attempt=1, rank=0)
    events = [writer.write("step", step(n)) for n in (1, 2, 3)]
    writer.attempt = 2
    events += [writer.write("step", step(n, total=9.0)) for n in (3, 4)]
    events += [writer.write("epoch", {"epoch": 0, "step": 4, "losses": {"id": 0.5}, "images_per_s": 3.0})]
    writer.close()
    assert [event["attempt"] for event in curve(events)] == [1, 1, 2, 2]
    write_metrics(events, tmp_path / "metrics.parquet")
    table = pq.read_table(tmp_path / "metrics.parquet").to_pydict()
    assert table["event"] == ["step"] * 4 + ["epoch"]
    assert table["step"] == [1, 2, 3, 4, 4]
    assert table["total"] == [1.5, 1.0, 9.0, 9.0, None]
    assert table["loss/id"][-1] == 0.5


def test_recorder_keeps_the_folder(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (run.checkpoints / ".tmp-left").mkdir(parents=True)

    def write(folder: Path) -> Path:
        path = folder / position.name
        path.mkdir()
        (path / "state.json").write_text(json.dumps({"position": {"epoch": 0, "step": position.step}}))
        (path / "manifest.json").write_text("{}")
        return path

    with Recorder(run, rank=0, keep_last=2) as recorder:
        assert (recorder.checkpoint, recorder.swept) == (None, [".tmp-left"])
        recorder.report("start", {"epoch": 0, "step": 0, "steps_total": 3})
        for number in (1, 2, 3):
            recorder.report("step", step(number))
            position = Position(step=number)
            recorder.save(write, position)
    assert [path.name for path in sorted(run.checkpoints.iterdir())] == ["0000-0000002", "0000-0000003"]
    assert pq.read_table(run.metrics_file).num_rows == 3
    assert list(run.tensorboard.iterdir())
    with pytest.raises(RuntimeError, match="boom"), Recorder(run, rank=0, keep_last=2):
        raise RuntimeError("boom")
    last = list(run.events())[-1]
    assert (last["event"], last["kind"], last["message"], last["attempt"]) == ("error", "RuntimeError", "boom", 2)


def test_other_ranks_only_write_their_events(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with Recorder(run, rank=1, keep_last=2) as recorder:
        recorder.report("start", {"step": 0})
        recorder.save(lambda folder: pytest.fail("rank 0 writes checkpoints"), Position())
    assert [path.name for path in tmp_path.iterdir()] == ["events-01.jsonl"]


def test_tensorboard_holds_the_scalars(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(tmp_path, step=0)
    for number in (1, 2):
        board.record({"event": "step", "time": 1.0, **step(number)})
    board.record({"event": "epoch", "time": 2.0, "epoch": 0, "step": 2, "losses": {"id": 0.7}, "images_per_s": 5.0})
    board.record({"event": "checkpoint", "time": 2.0})
    board.close()
    found = EventAccumulator(str(tmp_path)).Reload()
    assert [event.value for event in found.Scalars("loss/id")] == [1.0, 0.5]
    assert found.Scalars("epoch/loss/id")[0].value == pytest.approx(0.7)


class Broken:
    def record(self, event: object) -> None:
        raise OSError("no space left")

    def close(self) -> None:
        raise OSError("still none")


class BrokenAtTheEnd(Broken):
    def record(self, event: object) -> None:
        pass


def test_a_tracker_that_fails_is_dropped_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Step] = []
    trackers = Trackers([Broken(), ProgressTracker(seen.append), BrokenAtTheEnd()])
    with caplog.at_level(logging.WARNING):
        for number in (1, 2):
            trackers.record({"event": "step", "attempt": 1, **step(number)})
        trackers.close()
    assert len(caplog.records) == 2
    assert [snapshot.done for snapshot in seen] == [1, 2]


def test_progress_counts_steps() -> None:
    seen: list[Step] = []
    tracker = ProgressTracker(seen.append)
    tracker.record({"event": "start", "attempt": 1, "step": 0, "steps_total": 4})
    tracker.record({"event": "step", "attempt": 1, **step(1)})
    tracker.record({"event": "checkpoint", "attempt": 1})
    tracker.record({"event": "resume", "attempt": 2, "step": 1, "steps_total": 4})
    assert [(snapshot.done, snapshot.total) for snapshot in seen] == [(0, 4), (1, 4), (1, 4)]
    assert seen[1].facts["images/s"] == 10.0
    assert seen[2].facts == {"attempt": 2}


def test_following_sees_what_is_appended_and_nothing_older(tmp_path: Path) -> None:
    seen: list[Step] = []
    path = tmp_path / "events.jsonl"
    older = EventWriter(path, attempt=1, rank=0)
    older.write("start", {"step": 0, "steps_total": 9})
    older.close()
    with following(path, ProgressTracker(seen.append)):
        writer = EventWriter(path, attempt=2, rank=0)
        writer.write("resume", {"step": 2, "steps_total": 9})
        writer.write("step", step(3))
        writer.close()
        with path.open("a") as file:
            file.write('{"torn')
    assert [snapshot.done for snapshot in seen] == [2, 3]


def test_following_a_file_that_never_comes(tmp_path: Path) -> None:
    with following(tmp_path / "none.jsonl", ProgressTracker(lambda seen: pytest.fail("nothing was written"))):
        pass
