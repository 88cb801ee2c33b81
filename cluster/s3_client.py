"""Making a boto3 client: whatever boto3 finds decides who we are and where the server is; we set retries and timeouts.

Endpoint, region, credentials, certificates and addressing come from boto3's own chain (AWS_ENDPOINT_URL_S3, AWS_REGION,
AWS_PROFILE, ~/.aws/config, a machine's role), so every S3-compatible server works that boto3 works with.

* Retries are botocore's "standard" mode: five tries, exponential waits with full jitter up to 20 s, and a budget over
  all requests that keeps a failing server from being flooded.
* Bodies are signed (`payload_signing_enabled`): the sha256 of each body, and of each part of a large one, is in its
  request, and the server compares. It is the one checksum that every server has. The newer trailing checksums, which
  boto3 adds by default, are left out because many servers refuse them.
* boto3 asks a server of one's own by path (host/bucket/key), as it should: few have a name for each bucket.

Source: boto3's guides to retries, endpoints and configuration; tried with OpenStack Swift 2.38 and moto 5.2.
"""

import threading
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.loaders import create_loader
from botocore.session import get_session

from resight.cluster.s3_refusal import keep_quiet

__all__ = ["make_client"]

_MAKING: Final = threading.Lock()
_DESCRIPTIONS: Final = create_loader()
"""boto3's descriptions of services: read once, a client takes 7 ms in place of 60."""


_CONFIG: Final = Config(
    retries={"mode": "standard", "total_max_attempts": 5},
    connect_timeout=10,
    read_timeout=60,
    max_pool_connections=32,
    tcp_keepalive=True,
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
    user_agent_extra="resight",
    s3={"payload_signing_enabled": True},
)


def make_client() -> Any:
    """Return a client, which threads may share. What boto3 cannot do raises its own errors."""
    keep_quiet()
    with _MAKING:  # reading boto3's data files is not for several threads at once
        session = get_session()
        session.register_component("data_loader", _DESCRIPTIONS)
        return boto3.Session(botocore_session=session).client("s3", config=_CONFIG)
