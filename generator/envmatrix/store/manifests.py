"""Manifests and indexes, as registries keep them.

https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from envmatrix.errors import LookupFailed

_Part = TypeVar("_Part")

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a registry keeps under a digest or a tag."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.content)

    @property
    def descriptor(self) -> dict[str, Any]:
        """What refers to it has this."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}

    @property
    def document(self) -> Any:
        return self.read(lambda its: {**its})

    def rows(self) -> list[dict[str, Any]]:
        """Of an index, the descriptors of its manifests."""
        return self._descriptors("manifests")

    def by_architecture(self) -> dict[str, str]:
        """Of an index, the digest of each image that says its platform."""
        return self.read(
            lambda its: {
                row["platform"]["architecture"]: str(row["digest"])
                for row in its["manifests"]
                if "platform" in row
            }
        )

    def layers(self) -> list[dict[str, Any]]:
        """Of an image, the descriptors of its layers."""
        return self._descriptors("layers")

    def _descriptors(self, key: str) -> list[dict[str, Any]]:
        return self.read(lambda its: [{**row, "digest": row["digest"]} for row in its[key]])

    def read(self, part: Callable[[Any], _Part]) -> _Part:
        """A part of the document; LookupFailed where that is not as the specification has it."""
        try:
            return part(json.loads(self.content))
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            kind = self.media_type or "what came"
            raise LookupFailed(
                f"{self.digest} is malformed: {type(error).__name__}: {error}",
                details=[f"{kind}: {self.content[:_SHOWN].decode(errors='replace')}"],
                hint="does the registry, or a proxy before it, answer something else?",
            ) from error


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def canonical(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
