"""What an S3 server refuses, in words: one line with the place and the cure, and never a credential in it.

Servers answer a wrong signature with the whole text that was signed, session token included, and put key ids into their
messages. So nothing of an answer is shown but its code, and boto's own errors are shown by their kind only.
Source: the error codes of the S3 API reference; OpenStack Swift's and moto's answers as tried.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from resight.cluster.errors import UserError

__all__ = ["asking", "code_of", "keep_quiet", "plain_endpoint", "status_of"]

_CREDENTIALS: Final = (
    "check the credentials that boto3 finds (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
)
_FRESH: Final = "get new credentials (for single sign-on: `aws sso login`), and start the same command again"
_NONE: Final = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where a role is attached to the machine"
)
_RIGHTS: Final = (
    "the credentials need s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject in it"
)
_BUCKET: Final = "make the bucket first, or check its name and AWS_ENDPOINT_URL_S3"
_REGION: Final = "set AWS_REGION to the bucket's region"
_BUSY: Final = "the server is overloaded: start the same command again later, with fewer workers"
_CLOCK: Final = "set this machine's clock"
_ROOM: Final = "free space on the storage server, or raise its quota, and start the same command again"
_AGAIN: Final = "start the same command again; if it stays so, see the server's log"
_ADDRESS: Final = (
    "check AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL, or the profile), the network, and that the server runs"
)

_CODES: Final = {
    "NoSuchBucket": ("there is no such bucket", _BUCKET),
    "InvalidBucketName": ("the server does not take this bucket name", _BUCKET),
    "AccessDenied": ("permission denied", _RIGHTS),
    "AllAccessDisabled": ("permission denied", _RIGHTS),
    "AccountProblem": ("the storage account has a problem", "ask whoever runs the account"),
    "InvalidAccessKeyId": ("the access key is not known there", _CREDENTIALS),
    "SignatureDoesNotMatch": ("the secret key is wrong", _CREDENTIALS),
    "ExpiredToken": ("the session's credentials have expired", _FRESH),
    "ExpiredTokenException": ("the session's credentials have expired", _FRESH),
    "TokenRefreshRequired": ("the session's credentials have expired", _FRESH),
    "RequestExpired": ("the session's credentials have expired", _FRESH),
    "InvalidToken": ("the session token is not valid", _FRESH),
    "RequestTimeTooSkewed": ("this machine's clock differs from the server's", _CLOCK),
    "PermanentRedirect": ("the bucket is in another region", _REGION),
    "AuthorizationHeaderMalformed": ("the bucket is in another region", _REGION),
    "IllegalLocationConstraintException": ("the bucket is in another region", _REGION),
    "SlowDown": ("too many requests, after several tries", _BUSY),
    "ServiceUnavailable": ("the server is not available, after several tries", _BUSY),
    "RequestTimeout": ("the server waited too long for the data, after several tries", _AGAIN),
    "QuotaExceeded": ("no space left there", _ROOM),
    "InsufficientStorage": ("no space left there", _ROOM),
    "XMinioStorageFull": ("no space left there", _ROOM),
    "BadDigest": ("the bytes were damaged on their way", _AGAIN),
    "XAmzContentSHA256Mismatch": ("the bytes were damaged on their way", _AGAIN),
}
_STATUS: Final = {
    301: "PermanentRedirect",
    403: "AccessDenied",
    413: "QuotaExceeded",
    503: "ServiceUnavailable",
    507: "InsufficientStorage",
}
_KINDS: Final[tuple[tuple[type[Exception], tuple[str, str]], ...]] = (
    (boto.NoCredentialsError, ("boto3 finds no credentials", _NONE)),
    (boto.PartialCredentialsError, ("boto3 finds only a part of the credentials", _NONE)),
    (boto.ProfileNotFound, ("boto3 does not find the profile", "check AWS_PROFILE, and the file ~/.aws/config")),
    (boto.TokenRetrievalError, ("the session's credentials have expired", _FRESH)),
    (boto.SSOTokenLoadError, ("the session's credentials have expired", _FRESH)),
    (boto.UnauthorizedSSOTokenError, ("the session's credentials have expired", _FRESH)),
    (boto.CredentialRetrievalError, ("boto3 cannot get credentials where it is told to look", _CREDENTIALS)),
    (boto.SSLError, ("the server's certificate cannot be verified", "set AWS_CA_BUNDLE, or correct the endpoint")),
    (boto.ProxyConnectionError, ("the network's proxy does not answer", "check HTTPS_PROXY and HTTP_PROXY")),
    (boto.EndpointConnectionError, ("the server cannot be reached", _ADDRESS)),
    (boto.ConnectTimeoutError, ("the server cannot be reached", _ADDRESS)),
    (boto.ReadTimeoutError, ("the server does not answer in time, after several tries", _ADDRESS)),
    (boto.ConnectionClosedError, ("the connection broke again and again", _AGAIN)),
    (boto.IncompleteReadError, ("the connection broke again and again", _AGAIN)),
    (boto.HTTPClientError, ("the connection broke again and again", _AGAIN)),
    (boto.InvalidRegionError, ("the region's name is not valid", _REGION)),
)


@contextmanager
def asking(what: str, url: str, endpoint: str) -> Generator[None]:
    """Turn what boto3 raises in the block into a `UserError`: "could not WHAT: why", where, and the cure.

    Args:
        what: what is being done, e.g. "read 'dataset.json'".
        url: of the storage.
        endpoint: of the server, as `plain_endpoint` gives it.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        why, cure = _explained(error)
        raise UserError(f"could not {what}: {why}", where=f"{url} at {endpoint}", cure=cure) from None


def _explained(error: ClientError | BotoCoreError) -> tuple[str, str]:
    if isinstance(error, ClientError):
        code = code_of(error)
        return _CODES.get(code, (f"the server answers {code or 'an error'} ({status_of(error)})", _AGAIN))
    for kind, said in _KINDS:
        if isinstance(error, kind):
            return said
    if isinstance(error, ValueError):  # boto's name for settings that it does not understand
        return f"boto3 does not take its settings ({type(error).__name__})", "check AWS_* and the file ~/.aws/config"
    return f"boto3 reports {type(error).__name__}", _AGAIN


def code_of(error: ClientError) -> str:
    """Return the code of an answer; what stands for it when an answer had no body (HEAD)."""
    code, status = str(error.response.get("Error", {}).get("Code", "")), status_of(error)
    known = code if code in _CODES or not code.isdigit() else ""
    return known if known.isalnum() else _STATUS.get(status, "")


def status_of(error: ClientError) -> int:
    """Return the HTTP status of an answer, 0 when there was none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def plain_endpoint(url: str) -> str:
    """Return a server's address without what may be secret in it: user, password and query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}".rstrip("/")


def keep_quiet() -> None:
    """Keep boto from logging what it signs, which it does at the level DEBUG, session token included."""
    for name in ("botocore", "boto3", "s3transfer"):
        logger = logging.getLogger(name)
        if logger.getEffectiveLevel() < logging.INFO:
            logger.setLevel(logging.INFO)
