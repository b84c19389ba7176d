"""Signatures of images, by the program `cosign`, stored beside the image as OCI referrers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from envmatrix.engine.transfer import absent_image
from envmatrix.errors import ConfigurationError, EnvmatrixError, LookupFailed
from envmatrix.machine.processes import complete
from envmatrix.matrix.model import Signer
from envmatrix.records import dataclass
from envmatrix.registry.client import is_loopback, open_registry

_HINT = "install it: on Debian 13, `apt install cosign`"

# Exit codes of `cosign verify`: no signature, none that matches, or one of another signer.
_UNSIGNED = {10, 11, 12}

_KIND = "application/vnd.dev.cosign.artifact.sig.v1+json"
_ANNOTATION = "dev.cosignproject.cosign/signature"

_LAST_LINES = 5


@dataclass(frozen=True, slots=True)
class Cosign:
    """Signs and verifies images. Signatures of `signer` count; `root` is the repository with its
    key; `key` is the private key to sign with, where no identity signs."""

    signer: Signer
    root: Path
    key: str | None = None

    def verify(self, image: str) -> None:
        """Raise EnvmatrixError unless `image`, by digest, is signed by the signer."""
        if not self.is_signed(image):
            raise EnvmatrixError(
                f"`{image}` is not signed by `{self.signer.key or self.signer.identity}`",
                hint="have it signed: `envmatrix push --sign`; or build it: "
                "`envmatrix build --no-pull`",
            )

    def is_signed(self, image: str) -> bool:
        """Return whether the signer signed `image`; LookupFailed where that cannot be determined.

        cosign reads only one of several signatures of an image: signatures of a key are passed to
        it one by one, so that none of another signer hides the right one.
        """
        if self.signer.key is None:
            identity = f"--certificate-identity={self.signer.identity}"
            issuer = f"--certificate-oidc-issuer={self.signer.issuer}"
            return self._verifies("--experimental-oci11=true", identity, issuer, image)
        key = f"--key={self._public_key()}"
        return any(self._is_signed_with(key, image, *signature) for signature in _signatures(image))

    def _is_signed_with(self, key: str, image: str, payload: bytes, signature: str) -> bool:
        with TemporaryDirectory(prefix="envmatrix-") as scratch:
            files = {"payload": payload, "signature": signature.encode()}
            for name, content in files.items():
                Path(scratch, name).write_bytes(content)
            files_of_signature = (f"--{name}={scratch}/{name}" for name in files)
            # A key needs no transparency log, which is not reachable in an air gap.
            return self._verifies(key, "--insecure-ignore-tlog=true", *files_of_signature, image)

    def _verifies(self, *arguments: str) -> bool:
        done = self._run("verify", *arguments)
        if done.returncode and "MANIFEST_UNKNOWN" in done.stderr:
            raise absent_image(arguments[-1])
        if done.returncode and done.returncode not in _UNSIGNED:
            raise LookupFailed(
                f"the signature of `{arguments[-1]}` cannot be read",
                details=_messages(done),
                hint="is the registry there? may you read from it?",
            )
        return done.returncode == 0

    def sign(self, images: Sequence[str]) -> None:
        """Sign `images`, all of one registry, by digest; an index recursively."""
        options = ("--recursive", "--registry-referrers-mode=oci-1-1", *self._signing_options())
        done = self._run("sign", *options, *images)
        if done.returncode:
            hint = "its password goes into $COSIGN_PASSWORD" if "decrypt" in done.stderr else None
            raise EnvmatrixError(
                f"`{images[-1]}` was not signed", details=_messages(done), hint=hint
            )

    def _signing_options(self) -> Sequence[str]:
        if not self.signer.key:
            return ("--yes",)
        if self.key is None:
            hint = "name the private half of the key: `envmatrix push --sign --key cosign.key`"
            raise ConfigurationError("nothing says what to sign with", hint=hint)
        return ("--yes", f"--key={self.key}", "--tlog-upload=false")

    def _public_key(self) -> Path:
        file = self.root / str(self.signer.key)
        if not file.is_file():
            hint = "commit the public half: `cosign generate-key-pair` writes it"
            raise ConfigurationError(f"there is no `{self.signer.key}`", hint=hint)
        return file

    def _run(self, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `cosign`; the last of `arguments` is an image."""
        host = arguments[-1].partition("/")[0]
        loopback = ["--allow-http-registry", "--allow-insecure-registry"]
        command = ["cosign", verb, *(loopback if is_loopback(host) else []), *arguments]
        try:
            return complete(command, {**os.environ, "COSIGN_EXPERIMENTAL": "1"})
        except FileNotFoundError as error:
            raise EnvmatrixError("`cosign` is missing", hint=_HINT) from error


def is_signed_file(content: bytes, signature: bytes, key: Path) -> bool:
    """Return whether content has this signature of `cosign sign-blob`, by a public key."""
    with TemporaryDirectory(prefix="envmatrix-") as scratch:
        for name, data in (("content", content), ("signature", signature)):
            Path(scratch, name).write_bytes(data)
        options = (
            f"--key={key}",
            "--insecure-ignore-tlog=true",
            f"--signature={scratch}/signature",
        )
        try:
            done = complete(["cosign", "verify-blob", *options, f"{scratch}/content"])
            return done.returncode == 0
        except FileNotFoundError as error:
            raise EnvmatrixError("`cosign` is missing", hint=_HINT) from error


def _signatures(image: str) -> Iterator[tuple[bytes, str]]:
    """Yield payload and signature (base64) of each signature beside `image`.

    https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
    """
    repository, _, digest = image.partition("@")
    with open_registry(repository) as client:
        if client.digest(digest) is None:
            raise absent_image(image)
        for row in client.referrers(digest):
            manifest = client.manifest(row["digest"]) if row.get("artifactType") == _KIND else None
            for layer in manifest.descriptors("layers") if manifest else ():
                if signature := (layer.get("annotations") or {}).get(_ANNOTATION):
                    yield client.blob(layer["digest"]), signature


def _messages(done: subprocess.CompletedProcess[str]) -> Sequence[str]:
    """Return the last messages of cosign without warnings about flags that users did not pass."""
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith("WARNING")]
    return lines[-_LAST_LINES:]
