"""What programs say of servers, in the words that they have for it."""

from __future__ import annotations

import pytest

from envmatrix.engine.refusals import refusal


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("E: Failed to fetch http://mirror.example/dists/x/InRelease  404  Not Found [IP: ::1]",
         "absent"),
        ("E: Failed to fetch http://mirror.example/dists/x/InRelease  410  Gone [IP: ::1]",
         "absent"),
        ("E: The repository 'http://mirror.example x Release' does not have a Release file.",
         "absent"),
        ("Status code: 404 for http://mirror.example/repodata/repomd.xml", "absent"),
        ("Error response from daemon: manifest for a/b:c not found: manifest unknown", "absent"),
        ('failed to resolve reference "docker.io/a/b:c": docker.io/a/b:c: not found', "absent"),
        ("a/b:c: failed to resolve source metadata for a/b:c: a/b:c: not found", "absent"),
        ("pull access denied for a/b, repository does not exist or may require 'docker login'",
         "login"),
        ("E: Failed to fetch http://127.0.0.1:1/x  Could not connect to 127.0.0.1:1",
         "unreachable"),
        ("Temporary failure resolving 'mirror.example'", "unreachable"),
        ("dial tcp: lookup registry.example: no such host", "unreachable"),
        ("dial tcp 192.0.2.1:443: i/o timeout", "unreachable"),
        ("E: Unable to locate package nothing", None),
        ("sh: 1: zypper: not found", None),
        ("Get:1 http://mirror.example x/main amd64 Packages [410 kB]", None),
        ("500 Internal Server Error", None),
    ],
)  # fmt: skip
def test_what_a_program_says_of_a_server(said: str, kind: str | None) -> None:
    assert refusal(said) == kind
