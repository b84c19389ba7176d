"""A registry in memory, for what needs no real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from envmatrix.registry.client import Registry
from envmatrix.registry.manifests import Manifest

REPOSITORY = "registry.example/team/images"
Answer = Callable[[httpx.Request], "httpx.Response | None"]


@dataclass
class Server:
    """A registry in memory; `answer` may answer instead."""

    answer: Answer = lambda _: None
    has_referrers: bool = False
    manifests: dict[str, Manifest] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    account: Mapping[str, str] | None = None

    def respond(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(f"{request.method} {request.url.path}")
        response = self.answer(request)
        if response is not None:
            return response
        path, method = request.url.path.partition("/team/images/")[2], request.method
        kind, _, name = path.partition("/")
        if kind == "manifests" and method == "PUT":
            manifest = Manifest(request.headers["Content-Type"], request.content)
            self.manifests |= {name: manifest, manifest.digest: manifest}
            headers = {"OCI-Subject": "yes"} if self.has_referrers else {}
            return httpx.Response(201, headers=headers)
        if kind == "manifests" and method == "DELETE":
            left = {tag: each for tag, each in self.manifests.items() if each.digest != name}
            status = 404 if len(left) == len(self.manifests) else 202
            self.manifests = left
            return httpx.Response(status)
        if kind == "manifests" and name in self.manifests:
            manifest = self.manifests[name]
            headers = {
                "Content-Type": manifest.media_type,
                "Docker-Content-Digest": manifest.digest,
            }
            return httpx.Response(200, headers=headers, content=manifest.content)
        if path == "blobs/uploads/":
            return httpx.Response(202, headers={"Location": "/v2/team/images/up?_state=a%2Bb"})
        if kind == "up":
            assert request.url.params["_state"] == "a+b"
            self.blobs[request.url.params["digest"]] = request.content
            return httpx.Response(201)
        if kind == "blobs" and name in self.blobs:
            return httpx.Response(200, content=self.blobs[name])
        if path == "tags/list" and self.manifests:
            return httpx.Response(200, json={"tags": [*self.manifests]})
        if kind == "referrers" and self.has_referrers:
            by_digest = {manifest.digest: manifest for manifest in self.manifests.values()}
            rows = [
                {"digest": digest, "artifactType": manifest.document.get("artifactType")}
                for digest, manifest in by_digest.items()
                if manifest.document.get("subject", {}).get("digest") == name
            ]
            return httpx.Response(200, json={"manifests": rows})
        return httpx.Response(404)

    @contextmanager
    def client(
        self, repository: str = REPOSITORY, *, is_optional: bool = False
    ) -> Iterator[Registry]:
        with httpx.Client(transport=httpx.MockTransport(self.respond)) as client:
            yield Registry(
                repository,
                client,
                lambda _: self.account,
                self.pauses.append,
                is_optional=is_optional,
            )
