"""`s3://bucket/prefix`, taken apart. What looks like a credential in it is refused without being repeated."""

import re
from dataclasses import dataclass
from typing import Final

from resight.cluster.errors import UserError

__all__ = ["S3Place", "parse_place"]

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_CURE: Final = (
    "write s3://bucket or s3://bucket/prefix; the server and the credentials are boto3's settings, not the URL's"
)


@dataclass(frozen=True, kw_only=True)
class S3Place:
    """A bucket and the beginning of its keys.

    Attributes:
        bucket: its name.
        prefix: "", or ends with a slash.
    """

    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        """The place as a URL, without a slash at its end."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def parse_place(url: str) -> S3Place:
    """Return the bucket and prefix of an S3 URL.

    Raises:
        UserError: for a URL without a bucket, with '..', or with a user, a password or a query.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    parts = [part for part in prefix.split("/") if part]
    secret = "@" in bucket or ":" in bucket or "?" in url
    if secret or not url.startswith("s3://"):
        raise UserError("this URL has more in it than a bucket and a prefix", where="s3://...", cure=_CURE)
    if not _BUCKET.fullmatch(bucket):
        raise UserError(f"{bucket!r} is no name for a bucket", where=url, cure=_CURE)
    if {".", ".."} & set(parts) or "\\" in prefix or "\0" in prefix:
        raise UserError(f"{prefix!r} is not a prefix of keys", where=url, cure=_CURE)
    return S3Place(bucket=bucket, prefix="".join(f"{part}/" for part in parts))
