"""Signatures of requests to S3, version 4
(https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html)."""

from __future__ import annotations

import configparser
import hashlib
import hmac
from collections.abc import Callable, Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import httpx

from envmatrix.files import readable_text
from envmatrix.records import dataclass


@dataclass(frozen=True, slots=True)
class Credentials:
    key: str
    secret: str
    token: str = ""


def credentials_of(environment: Mapping[str, str]) -> Credentials | None:
    """Return the credentials in variables, or in the file of AWS's programs."""
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:
        return Credentials(key, secret, environment.get("AWS_SESSION_TOKEN", ""))
    default = Path(environment.get("HOME", "/nonexistent")) / ".aws/credentials"
    profiles = configparser.RawConfigParser()
    try:
        profiles.read_string(
            readable_text(Path(environment.get("AWS_SHARED_CREDENTIALS_FILE", default)))
        )
        profile = profiles[environment.get("AWS_PROFILE", "default")]
        return Credentials(
            profile["aws_access_key_id"],
            profile["aws_secret_access_key"],
            profile.get("aws_session_token", ""),
        )
    except (configparser.Error, KeyError):
        return None


def region_of(environment: Mapping[str, str]) -> str:
    names = ("AWS_REGION", "AWS_DEFAULT_REGION")
    return next(filter(None, map(environment.get, names)), "us-east-1")


def signature_of(environment: Mapping[str, str]) -> SignatureV4 | None:
    """Return what signs requests; None without credentials, for a bucket that everyone may read."""
    credentials = credentials_of(environment)
    return SignatureV4(credentials, region_of(environment)) if credentials else None


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class SignatureV4(httpx.Auth):
    """Signs requests without a query."""

    credentials: Credentials
    region: str
    now: Callable[[], datetime] = _now

    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        moment = self.now().strftime("%Y%m%dT%H%M%SZ")
        request.headers["x-amz-date"] = moment
        request.headers["x-amz-content-sha256"] = hashlib.sha256(request.content).hexdigest()
        if self.credentials.token:
            request.headers["x-amz-security-token"] = self.credentials.token
        request.headers["Authorization"] = self._authorization(request, moment)
        yield request

    def _authorization(self, request: httpx.Request, moment: str) -> str:
        signed = {
            name: value.strip()
            for name, value in sorted(request.headers.items())
            if name == "host" or name.startswith("x-amz-")
        }
        names = ";".join(signed)
        canonical = "\n".join(
            (
                request.method,
                request.url.raw_path.decode("ascii"),
                "",
                *(f"{name}:{value}" for name, value in signed.items()),
                "",
                names,
                request.headers["x-amz-content-sha256"],
            )
        )
        scope = f"{moment[:8]}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{self.credentials.secret}".encode()
        for word in scope.split("/"):
            key = _hmac(key, word)
        signature = _hmac(key, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}").hex()
        credential = f"Credential={self.credentials.key}/{scope}"
        return f"AWS4-HMAC-SHA256 {credential},SignedHeaders={names},Signature={signature}"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
