"""What can go wrong with a bucket: refusals, each told in one line without a secret, and networks that fail."""

import logging
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from resight.cluster import s3_client, s3_download
from resight.cluster.errors import UserError
from resight.cluster.s3_download import Download
from resight.cluster.s3_storage import S3Storage
from resight.cluster.storage import open_storage
from tests.s3.faulty_proxy import EVERY_FAULT, Faults, faulty_proxy
from tests.s3.fixtures import client_of, place_on
from tests.s3.servers import BUCKET, Server, free_port

SECRETS = ("SECRETKEY", "SECRETTOKEN", "AKIASECRETID")


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait for next to nothing; how often is left as it is."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr(s3_download, "_WAIT_S", 0.001)


@pytest.fixture
def faults(moto: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """What goes wrong on the way to moto."""
    faults = Faults()
    with faulty_proxy(moto.url, faults) as url:
        place_on(replace(moto, url=url), monkeypatch)
        yield faults


def asks(storage: S3Storage, path: Path) -> list[Callable[[], object]]:
    """Everything that reaches the server."""
    path.write_bytes(b"x")
    return [
        lambda: storage.exists("a"),
        lambda: storage.size("a"),
        lambda: storage.read("a"),
        lambda: list(storage.chunks("a")),
        lambda: storage.read_range("a", 0, 1),
        lambda: storage.list(),
        lambda: storage.publish(b"", "a"),
        lambda: storage.publish(b"", "a", exclusive=True),
        lambda: storage.publish_file(path, "a"),
        lambda: storage.delete("a"),
        lambda: storage.local("a"),
    ]


@pytest.mark.parametrize(
    ("refuse", "problem", "cure"),
    [
        ((403, "AccessDenied"), "permission denied", "s3:ListBucket"),
        ((403, "InvalidAccessKeyId"), "the access key is not known there", "AWS_ACCESS_KEY_ID"),
        ((403, "SignatureDoesNotMatch"), "the secret key is wrong", "AWS_SECRET_ACCESS_KEY"),
        ((400, "ExpiredToken"), "the session's credentials have expired", "get new credentials"),
        ((403, "RequestTimeTooSkewed"), "clock", "clock"),
        ((404, "NoSuchBucket"), "there is no such bucket", "make the bucket first"),
        ((507, "InsufficientStorage"), "no space left there", "free space"),
        ((503, "SlowDown"), "too many requests, after several tries", "overloaded"),
        ((418, "Teapot"), r"the server answers Teapot \(418\)", "see the server's log"),
    ],
)
def test_each_refusal_is_one_line_with_its_cure(
    faults: Faults,
    short_waits: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    refuse: tuple[int, str],
    problem: str,
    cure: str,
):
    for name, secret in zip(("SECRET_ACCESS_KEY", "SESSION_TOKEN", "ACCESS_KEY_ID"), SECRETS, strict=True):
        monkeypatch.setenv(f"AWS_{name}", secret)
    caplog.set_level(logging.DEBUG)
    faults.refuse = refuse
    storage = S3Storage(f"s3://{BUCKET}/x")
    for number, ask in enumerate(asks(storage, tmp_path / "file")):
        if refuse[1] == "NoSuchBucket" and number in (0, 1, 7, 10):
            continue  # a request without a body in its answer cannot tell a missing bucket from a missing object
        with pytest.raises(UserError, match=problem) as caught:
            ask()
        assert "\n" not in caught.value.problem
        assert cure in caught.value.cure
        assert caught.value.where.startswith(f"s3://{BUCKET}/x at http://127.0.0.1:")
        assert not [secret for secret in SECRETS if secret in f"{caught.value}{caplog.text}"]


def test_swift_says_who_may_not(swift: Server, monkeypatch: pytest.MonkeyPatch):
    for changed, problem in (
        (replace(swift, secret="wrong"), "the secret key is wrong"),
        (replace(swift, key="test:guest", secret="guessing"), "permission denied"),
    ):
        storage = open_storage(place_on(changed, monkeypatch))
        for ask in (storage.exists, storage.read, storage.list, partial(storage.publish, b"")):
            with pytest.raises(UserError, match=problem):
                ask("a")


@pytest.mark.parametrize("server", ["moto", "swift"])
def test_a_bucket_that_is_not_there(server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    place_on(request.getfixturevalue(server), monkeypatch)
    storage = open_storage("s3://nobody-made-this/x")
    assert not storage.exists("a")
    for ask in (storage.read, storage.list, lambda key: storage.publish(b"", key)):
        with pytest.raises(UserError, match="there is no such bucket"):
            ask("a")


def test_a_server_that_is_not_there(moto: Server, monkeypatch: pytest.MonkeyPatch, short_waits: None):
    address = f"http://me:SECRETKEY@127.0.0.1:{free_port()}"
    storage = open_storage(place_on(replace(moto, url=address), monkeypatch))
    with pytest.raises(UserError, match="the server cannot be reached") as caught:
        storage.read("a")
    assert "AWS_ENDPOINT_URL_S3" in caught.value.cure
    assert "SECRETKEY" not in str(caught.value)


def test_no_credentials(moto: Server, monkeypatch: pytest.MonkeyPatch):
    place = place_on(moto, monkeypatch)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UserError, match="boto3 finds no credentials"):
        open_storage(place).read("a")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "half")
    with pytest.raises(UserError, match="only a part of the credentials"):
        open_storage(place).read("a")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UserError, match="does not find the profile"):
        open_storage(place)


def test_a_slow_server(faults: Faults, short_waits: None, monkeypatch: pytest.MonkeyPatch):
    quick = s3_client._CONFIG.merge(Config(read_timeout=0.05))  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(s3_client, "_CONFIG", quick)
    storage = S3Storage(f"s3://{BUCKET}/slow")
    faults.kinds, faults.each = ["delay"], 99
    with pytest.raises(UserError, match="does not answer in time") as caught:
        storage.read("a")
    assert "the network" in caught.value.cure


def test_everything_gets_through_a_failing_network(faults: Faults, short_waits: None, tmp_path: Path):
    faults.kinds, faults.each = EVERY_FAULT, 2
    storage = S3Storage(f"s3://{BUCKET}/faults")
    (tmp_path / "big").write_bytes(random.Random(0).randbytes(20 << 20))
    data = (tmp_path / "big").read_bytes()
    for number in range(6):
        assert storage.publish(b"first %d" % number, f"once/{number}", exclusive=True)
        assert not storage.publish(b"second", f"once/{number}", exclusive=True)
    storage.publish_file(tmp_path / "big", "big")
    assert storage.local("big").read_bytes() == data
    assert b"".join(storage.chunks("big")) == data
    assert storage.read_range("big", 5_000_000, 3_000_000) == data[5_000_000:8_000_000]
    assert [storage.read(key) for key in storage.list("once/")] == [b"first %d" % number for number in range(6)]
    storage.delete("big")
    assert not storage.exists("big")
    assert set(faults.met) == set(EVERY_FAULT)


def test_a_body_that_breaks_off_goes_on_from_there(faults: Faults, short_waits: None):
    storage = S3Storage(f"s3://{BUCKET}/cut")
    data = random.Random(0).randbytes(8 << 20)
    storage.publish(data, "big")
    faults.kinds, faults.each, faults.only = ["cut"], 3, ["GET"]
    assert storage.read("big") == data
    faults.each = 99
    with pytest.raises(UserError, match="the connection broke again and again"):
        storage.read("big")


def test_damaged_bytes_are_fetched_again_and_then_refused(faults: Faults):
    storage = S3Storage(f"s3://{BUCKET}/damaged")
    storage.publish(b"precious", "a")
    storage.publish(b"precious", "b")
    faults.kinds, faults.each, faults.only = ["corrupt"], 2, ["GET"]
    assert storage.read("a") == b"precious"
    assert storage.local("b").read_bytes() == b"precious"
    faults.each = 99
    for ask in (storage.read, storage.local):
        storage.publish(b"other", "a")
        with pytest.raises(UserError, match="differs from its checksum"):
            ask("a")


def test_an_object_that_is_replaced_while_it_is_read(on_moto: str, monkeypatch: pytest.MonkeyPatch):
    storage = S3Storage(on_moto)
    storage.publish(b"x" * (4 << 20), "key")
    reader = storage.chunks("key")
    next(reader)
    storage.publish(b"y" * (4 << 20), "key")
    rest = b"".join(reader)  # the server goes on with what it began, or breaks off: never a mixture
    assert set(rest) == {ord("x")}


def test_a_server_that_ignores_ranges_is_refused():
    def get(span: str) -> dict[str, Any]:
        return {"Body": StreamingBody(BytesIO(b"012345"), 10), "ContentLength": 10, "ETag": "x"}

    with pytest.raises(UserError, match="gives no ranges"):
        b"".join(Download(get))
    with pytest.raises(UserError, match="gives no ranges"):
        Download(get, first=3)


@pytest.mark.parametrize("server", ["moto", "swift"])
def test_uploads_that_nobody_finished_are_swept(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    found: Server = request.getfixturevalue(server)
    place = place_on(found, monkeypatch)
    storage, client = S3Storage(place), client_of(found)
    prefix = place.removeprefix(f"s3://{BUCKET}/")
    for key in (f"{prefix}/a", f"{prefix}-elsewhere/b"):
        client.create_multipart_upload(Bucket=BUCKET, Key=key)
    if server == "swift":  # moto says that all were begun in 2010
        assert storage.sweep_temporaries(3600) == 0
    time.sleep(1.1)
    assert storage.sweep_temporaries(0) == 1
    left = client.list_multipart_uploads(Bucket=BUCKET, Prefix=prefix).get("Uploads", [])
    assert [each["Key"] for each in left] == [f"{prefix}-elsewhere/b"]


@pytest.mark.parametrize("code", ["AccessDenied", "NotImplemented"])
def test_sweeping_is_left_out_where_it_is_not_allowed(faults: Faults, code: str):
    faults.refuse = (403 if code == "AccessDenied" else 501, code)
    assert S3Storage(f"s3://{BUCKET}/x").sweep_temporaries(0) == 0


def test_a_server_without_conditions(on_moto: str, monkeypatch: pytest.MonkeyPatch):
    storage = S3Storage(on_moto)
    put: Any = storage._client.put_object  # pyright: ignore[reportPrivateUsage]

    def unconditional(**request: Any) -> Any:
        if "IfNoneMatch" in request:
            answer = {"Error": {"Code": "NotImplemented"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
            raise ClientError(answer, "PutObject")
        return put(**request)

    monkeypatch.setattr(storage._client, "put_object", unconditional)  # pyright: ignore[reportPrivateUsage]
    assert storage.publish(b"first", "key", exclusive=True)
    assert not storage.publish(b"second", "key", exclusive=True)
    assert storage.read("key") == b"first"


def test_a_full_disk_here_is_explained(on_moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        storage = S3Storage(on_moto)
        storage.publish(b"x" * 200_000, "big")
        with pytest.raises(UserError, match="No space left on device") as caught:
            storage.local("big")
        assert "free some disk space" in caught.value.cure
        storage.publish(b"small", "small")
        assert storage.local("small").read_bytes() == b"small"
        del storage
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
