"""S3-compatible servers as child processes, on free ports: Swift, which is real, and moto, which decides conditions."""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from tests.tracing import untraced

BUCKET = "tests"
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where a server listens, and who may use it."""

    name: str
    url: str
    key: str
    secret: str

    @property
    def env(self) -> Mapping[str, str]:
        """What boto3 is told, and nothing else."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def swift_python() -> str | None:
    """Return the Python that has Swift: this one, or that of the `swift-proxy-server` on the PATH; None without any."""
    if find_spec("swift") is not None:
        return sys.executable
    command = which("swift-proxy-server")
    first = Path(command).read_text(errors="replace").partition("\n")[0] if command else ""
    return first.removeprefix("#!").strip() or None


@contextmanager
def moto_server(log: Path) -> Generator[Server]:
    """Serve moto until the block ends."""
    port = free_port()
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    with child([sys.executable, "-W", "ignore", "-c", code], log, f"http://127.0.0.1:{port}/"):
        yield Server(name="moto", url=f"http://127.0.0.1:{port}", key="moto-key", secret="moto-secret-" + "k" * 20)


@contextmanager
def swift_server(python: str, root: Path) -> Generator[Server]:
    """Serve Swift until the block ends."""
    port = free_port()
    command = [python, str(HERE / "swift_server.py"), str(root / "swift"), str(port)]
    with child(command, root / "swift.log", f"http://127.0.0.1:{port}/healthcheck"):
        yield Server(name="swift", url=f"http://127.0.0.1:{port}", key="test:tester", secret="testing")


@contextmanager
def child(command: list[str], log: Path, url: str) -> Generator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=untraced(), stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        until = time.monotonic() + 60
        while not answers(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=20)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
