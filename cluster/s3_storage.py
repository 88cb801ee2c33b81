"""Published things in a bucket: the back end of `storage.py` for S3 and for servers that speak its language.

An object appears when its last byte has arrived, never before: small ones by one request, large ones in parts of a
fixed size that are put together at the end. Each object carries its sha256, and a mark of the call that published it;
the mark tells a retry whose first answer was lost from somebody else's object.

Exclusive publishing is "If-None-Match: *", which Amazon's S3 decides for exactly one of any number of publishers. Where
the condition is not taken (HTTP 501) or not decided in one step (OpenStack Swift: up to all of eight publishers in the
same moment are told they won), it is a look before and a look after: who comes later sees what is there and leaves it
alone, and a publisher whose object was replaced at once is told that it lost. What is left of the race there: of
publishers in the same instant two may be told that they won, and the last one's bytes stay. The pool may live with
that because a unit's bytes are a function of its specification.

Source: the S3 API reference. Trade-off: a hundred small objects cost a hundred requests; a shard is one object.
"""

import hashlib
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from resight.cluster.errors import UserError
from resight.cluster.local_copies import LocalCopies
from resight.cluster.refusal import writing
from resight.cluster.s3_client import make_client
from resight.cluster.s3_download import Download
from resight.cluster.s3_place import parse_place
from resight.cluster.s3_refusal import asking, code_of, plain_endpoint, status_of
from resight.cluster.storage_keys import checked

__all__ = ["S3Storage"]

PART_BYTES: Final = 16 << 20
"""A larger object goes up in parts of this size; so the parts of one file are the same at each upload."""

_TRANSFER: Final = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=4)
_TRIES: Final = 3  # a copy that fails its checksum is fetched again
_SHA256: Final = "sha256"
_MARK: Final = "publication"
_TAKEN: Final = {409, 412}
_NO_CONDITION: Final = 501
_NOT_OURS_TO_LIST: Final = ("AccessDenied", "NotImplemented", "MethodNotAllowed")


class S3Storage:
    """The objects of a bucket whose keys start with a prefix. Travels to other processes as its URL.

    Args:
        url: `s3://bucket` or `s3://bucket/prefix`.

    Raises:
        UserError: for another URL, or settings that boto3 cannot work with.
    """

    def __init__(self, url: str) -> None:
        place = parse_place(url)
        self._bucket, self._prefix, self._url = place.bucket, place.prefix, place.url
        with asking("open the storage", self._url, "the endpoint that boto3 is told"):
            self._client: Any = make_client()
        self._endpoint = plain_endpoint(self._client.meta.endpoint_url)
        self._copies = LocalCopies()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel without credentials: the receiver finds its own."""
        return (S3Storage, (self._url,))

    def __repr__(self) -> str:
        """Name the place."""
        return f"S3Storage({self._url!r})"

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`, without a slash at its end."""
        return self._url

    def exists(self, key: str) -> bool:
        """Tell whether `key` is published; False also when the bucket is not there."""
        return self._head(key) is not None

    def size(self, key: str) -> int:
        """Return the object's length in bytes."""
        return int(self._found(key)["ContentLength"])

    def read(self, key: str) -> bytes:
        """Return the whole object, compared with its checksum where it has one."""
        for _ in range(_TRIES):
            with self._asking(f"read {key!r}"):
                download = self._download(key)
                data = b"".join(download)
            if download.metadata.get(_SHA256) in (None, hashlib.sha256(data).hexdigest()):
                return data
        raise self._damaged(key)

    def chunks(self, key: str) -> Iterator[bytes]:
        """Yield the object's bytes in order, up to a MiB at a time; its readers compare checksums of their own."""
        with self._asking(f"read {key!r}"):
            yield from self._download(key)

    def read_range(self, key: str, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer only at the object's end."""
        with self._asking(f"read {key!r}"):
            try:
                return b"".join(self._download(key, first=offset, last=offset + size - 1)) if size > 0 else b""
            except ClientError as error:
                if code_of(error) == "InvalidRange":  # begins at the end, or behind it
                    return b""
                raise

    def list(self, prefix: str = "") -> list[str]:
        """Return the sorted keys that start with `prefix`."""
        return list(self.sizes(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Return the length in bytes of every object whose key starts with `prefix`, by sorted key."""
        found: dict[str, int] = {}
        with self._asking("list what is there"):
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for each in page.get("Contents", ()):
                    key = each["Key"].removeprefix(self._prefix)
                    if key and not key.endswith("/"):  # some tools keep an empty object in place of a folder
                        found[key] = int(each["Size"])
        return dict(sorted(found.items()))

    def age_s(self, key: str) -> float:
        """Return how long ago the object was published, by the server's clock; it counts whole seconds."""
        head = self._found(key)
        now = parsedate_to_datetime(head["ResponseMetadata"]["HTTPHeaders"]["date"])
        return (now - head["LastModified"]).total_seconds()

    def publish(self, data: bytes, key: str, *, exclusive: bool = False) -> bool:
        """Publish `data` under `key` by one request, whose signature carries the bytes' sha256."""
        mark = uuid.uuid4().hex
        metadata = {_SHA256: hashlib.sha256(data).hexdigest(), _MARK: mark}
        request = {"Bucket": self._bucket, "Key": self._name(key), "Body": data, "Metadata": metadata}
        with self._asking(f"write {key!r}"):
            if not exclusive:
                self._client.put_object(**request)
                return True
            if self._head(key) is not None:
                return False
            self._put_if_absent(request)
            return self._mark_of(key) == mark

    def publish_file(self, path: Path, key: str) -> None:
        """Publish a finished file that nobody will change, in parts when it is large; `path` itself is left alone."""
        name, mark = self._name(key), uuid.uuid4().hex
        with writing(repr(key), self._url), path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.seek(0, 2)
            file.seek(0)
            with self._asking(f"write {key!r}"):
                try:
                    extra = {"Metadata": {_SHA256: digest, _MARK: mark}}
                    self._client.upload_fileobj(file, self._bucket, name, ExtraArgs=extra, Config=_TRANSFER)
                except ClientError as error:
                    if code_of(error) != "NoSuchUpload" or self._mark_of(key) != mark:
                        raise  # else the parts were put together by a try whose answer was lost
        if (found := self.size(key)) != size:
            problem = f"{key!r} has {found:,} bytes after {size:,} were sent"
            raise UserError(problem, where=self._url, cure="see whether somebody else writes there, and start again")

    def delete(self, key: str) -> None:
        """Remove `key`; harmless when it is not there."""
        with self._asking(f"delete {key!r}"):
            self._client.delete_object(Bucket=self._bucket, Key=self._name(key))

    def local(self, key: str) -> Path:
        """Return a verified copy on this machine's disk (TMPDIR), fetched unless it is there and up to date."""
        version = str(self._found(key).get("ETag", ""))
        return self._copies.path(key, version, lambda path: self._fetch(key, path))

    def sweep_temporaries(self, older_than_s: float) -> int:
        """Abort uploads in parts that were begun so long ago and never finished; return how many.

        Where the server does not let us list them, 0: a life-cycle rule of the bucket has to do it there.
        """
        before = datetime.now(UTC) - timedelta(seconds=older_than_s)
        with self._asking("list unfinished uploads"):
            try:
                paginator = self._client.get_paginator("list_multipart_uploads")
                pages = list(paginator.paginate(Bucket=self._bucket, Prefix=self._prefix))
            except ClientError as error:
                if code_of(error) in _NOT_OURS_TO_LIST:
                    return 0
                raise
        old = [each for page in pages for each in page.get("Uploads", ()) if each["Initiated"] < before]
        for each in old:
            with self._asking("abort an unfinished upload"):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=each["Key"], UploadId=each["UploadId"])
        return len(old)

    def _asking(self, what: str) -> Any:
        return asking(what, self._url, self._endpoint)

    def _name(self, key: str) -> str:
        return f"{self._prefix}{checked(key, self._url).as_posix()}"

    def _download(self, key: str, *, first: int = 0, last: int | None = None) -> Download:
        name = self._name(key)

        def get(span: str) -> Any:
            return self._client.get_object(Bucket=self._bucket, Key=name, **({"Range": span} if span else {}))

        with self._absence(key):
            return Download(get, first=first, last=last)

    @contextmanager
    def _absence(self, key: str) -> Generator[None]:
        try:
            yield
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                raise self._absent(key) from None
            raise

    def _fetch(self, key: str, path: Path) -> None:
        for _ in range(_TRIES):
            digest = hashlib.sha256()
            with self._asking(f"read {key!r}"), path.open("wb") as file:
                download = self._download(key)
                for piece in download:
                    digest.update(piece)
                    file.write(piece)
            if download.metadata.get(_SHA256) in (None, digest.hexdigest()):
                return
        raise self._damaged(key)

    def _head(self, key: str) -> Any | None:
        """Return the answer to HeadObject, None when the object is not there."""
        request = {"Bucket": self._bucket, "Key": self._name(key)}
        with self._asking(f"look for {key!r}"):
            try:
                return self._client.head_object(**request)
            except ClientError as error:
                if status_of(error) == 404:
                    return None
                # HEAD has no body and so no reason; GET has one
                self._client.get_object(**request, Range="bytes=0-0")["Body"].close()
                raise

    def _found(self, key: str) -> Any:
        head = self._head(key)
        if head is None:
            raise self._absent(key)
        return head

    def _mark_of(self, key: str) -> str:
        head = self._head(key) or {}
        return {name.lower(): value for name, value in head.get("Metadata", {}).items()}.get(_MARK, "")

    def _put_if_absent(self, request: dict[str, Any]) -> None:
        try:
            self._client.put_object(**request, IfNoneMatch="*")
        except ClientError as error:
            if status_of(error) == _NO_CONDITION:
                self._client.put_object(**request)
            elif status_of(error) not in _TAKEN:
                raise

    def _absent(self, key: str) -> UserError:
        return UserError(f"{key!r} is not there", where=self._url, cure="check the path, or make it again")

    def _damaged(self, key: str) -> UserError:
        return UserError(
            f"{key!r} differs from its checksum, each of {_TRIES} times", where=self._url, cure="make it again"
        )
