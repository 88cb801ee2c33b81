"""Fixtures of S3 tests: servers, once a session, and places in their bucket, new for each test."""

import uuid
from collections.abc import Generator
from typing import Any

import boto3
import pytest

from tests.s3.servers import BUCKET, Server, moto_server, swift_python, swift_server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """moto's server, with a bucket."""
    with moto_server(tmp_path_factory.mktemp("moto") / "log") as server:
        client_of(server).create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """Swift with its S3 interface, with a bucket."""
    python = swift_python()
    if python is None:
        pytest.skip("OpenStack Swift is not installed (the extra `dev`)")
    with swift_server(python, tmp_path_factory.mktemp("swift")) as server:
        client_of(server).create_bucket(Bucket=BUCKET)
        yield server


@pytest.fixture
def on_moto(moto: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new place on moto; boto3 finds its way there."""
    return place_on(moto, monkeypatch)


def place_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def client_of(server: Server) -> Any:
    session: Any = boto3.Session(
        aws_access_key_id=server.key, aws_secret_access_key=server.secret, region_name="us-east-1"
    )
    return session.client("s3", endpoint_url=server.url)
