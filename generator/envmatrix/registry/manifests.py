"""Manifests and indexes, as registries store them.

https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from envmatrix.errors import LookupFailed
from envmatrix.records import dataclass

_Part = TypeVar("_Part")

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Manifest:
    """A document that a registry stores under a digest or a tag."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.content)

    @property
    def descriptor(self) -> dict[str, Any]:
        """The descriptor for references to this document."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}

    def by_architecture(self) -> dict[str, str]:
        """Return architecture -> digest of the images of an index that name their platform."""
        return self.read(
            lambda document: {
                row["platform"]["architecture"]: str(row["digest"])
                for row in document["manifests"]
                if "platform" in row
            }
        )

    @property
    def document(self) -> Any:
        return self.read(lambda document: {**document})

    def descriptors(self, key: str) -> list[dict[str, Any]]:
        """Return the descriptors of the `manifests` of an index, or of the `layers` of an image."""
        return self.read(
            lambda document: [{**row, "digest": row["digest"]} for row in document[key]]
        )

    def read(self, part: Callable[[Any], _Part]) -> _Part:
        """Return a part of the document; LookupFailed where it violates the specification."""
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
