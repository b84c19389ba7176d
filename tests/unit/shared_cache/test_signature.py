"""Signatures of requests to S3: as botocore 1.44.8 makes them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from envmatrix.shared_cache.signature import Credentials, SignatureV4, credentials_of

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ENTRY = "https://bucket.s3.eu-central-1.amazonaws.com/some/prefix/ab/abcd"
LOCAL = "http://127.0.0.1:9000/bucket/a+b/ab/abcd"


@pytest.mark.parametrize(
    ("method", "url", "content", "token", "signature"),
    [
        ("GET", ENTRY, b"", "", "54b57de78b012d96c775493e38d3da8dc05e1b3fbcf3c2a121cd58326400bb14"),
        (
            *("PUT", LOCAL, b"object", ""),
            "c645621e314fbb86f1d4816e6f4645c4ed1d5c746cf2dedd3ea0fc9f3b61cb5d",
        ),
        (
            *("GET", ENTRY, b"", "token"),
            "33cb21e319bd81cf9152908e938471141ff5038658aabf994eaca475d528c7d6",
        ),
    ],
)
def test_a_request_is_signed_as_awss_programs_sign_it(
    method: str, url: str, content: bytes, token: str, signature: str
) -> None:
    requests: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200)

    auth = SignatureV4(Credentials(KEY, SECRET, token), "eu-central-1", lambda: MOMENT)
    with httpx.Client(transport=httpx.MockTransport(respond)) as client:
        client.request(method, url, content=content, auth=auth)
    (request,) = requests
    assert request.headers["Authorization"].endswith(f",Signature={signature}")


FILE = """\
[default]
aws_access_key_id = one
aws_secret_access_key = two
[other]
aws_access_key_id = three
aws_secret_access_key = four%
aws_session_token = five
"""


def test_credentials_are_those_of_awss_programs(tmp_path: Path) -> None:
    assert credentials_of({}) is None
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(FILE)
    home = {"HOME": str(tmp_path)}
    assert credentials_of(home) == Credentials("one", "two")
    assert credentials_of({**home, "AWS_PROFILE": "other"}) == Credentials("three", "four%", "five")
    assert credentials_of({**home, "AWS_PROFILE": "none"}) is None
    variables = {"AWS_ACCESS_KEY_ID": "six", "AWS_SECRET_ACCESS_KEY": "seven"}
    assert credentials_of({**home, **variables}) == Credentials("six", "seven")


@pytest.mark.parametrize("text", ["no section", "[default]\n", "[default]\n[default]\n", "\0"])
def test_a_file_without_credentials_has_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "credentials"
    file.write_text(text)
    assert credentials_of({"AWS_SHARED_CREDENTIALS_FILE": str(file)}) is None
