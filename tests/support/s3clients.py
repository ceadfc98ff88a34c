"""S3 clients that nobody here wrote, pointed at a server of ours."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from yarnmill.blobs.http.tokens import key_id_of, load_rules, s3_secret

if TYPE_CHECKING:
    from conftest import Face


def pair_of(face: "Face", token: str) -> tuple[str, str]:
    """Return the access key id and the secret of a token."""
    rules = load_rules(face.tokens)
    digest = hashlib.sha256(token.encode()).hexdigest()
    (entry,) = (each for each in rules.tokens if each.sha256 == digest)
    return key_id_of(entry), s3_secret(rules, entry)


def config(**options: Any) -> Config:
    """Return how a client addresses us: by path, tried once."""
    said = {"signature_version": "s3v4", "retries": {"total_max_attempts": 1}, "read_timeout": 300, **options}
    return Config(s3={"addressing_style": "path"}, **said)


@contextmanager
def s3_client(
    face: "Face", *, token: str | None = None, account: str = "ml", url: str = "", **options: Any
) -> Iterator[Any]:
    """Yield boto3's client of an account, by the token of all rights if no other is given; by none if it is empty."""
    key_id, secret = pair_of(face, face.token if token is None else token) if token != "" else (None, None)
    said = options.pop("config", {}) | ({} if key_id else {"signature_version": UNSIGNED})
    client = boto3.client(
        "s3",
        endpoint_url=f"{url or face.url}/s3/{account}",
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=config(**said),
        **options,
    )
    try:
        yield client
    finally:
        client.close()


def refused(call: Any, **arguments: Any) -> tuple[int, str]:
    """Return status and code of a call that is refused."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    raise AssertionError("it was done")
