"""Debian's nginx as a storage of a shared compiler cache: everyone reads, and one user writes."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests import tools
from tests.redis import free_port

_CONFIGURATION = """\
daemon off;
master_process off;
pid nginx.pid;
error_log nginx.log;
events {{}}
http {{
    access_log off;
    client_max_body_size 40m;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        root files;
        location /ccache/ {{
            dav_methods PUT;
            create_full_put_path on;
            limit_except GET {{ auth_basic writers; auth_basic_user_file writers; }}
        }}
    }}
}}
"""


@contextmanager
def nginx(directory: Path, user: str, password: str) -> Iterator[str]:
    """Yield the URL of an empty storage that a user can write to."""
    port = free_port()
    (directory / "files/ccache").mkdir(parents=True)
    (directory / "nginx.conf").write_text(_CONFIGURATION.format(port=port))
    digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()  # noqa: S324
    (directory / "writers").write_text(f"{user}:{{SHA}}{digest}\n")
    environment = {**os.environ, "PATH": tools.path_with("nginx")}
    argv = ["nginx", "-p", str(directory), "-c", "nginx.conf", "-e", "nginx.log"]
    process = subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/ccache"
    try:
        _wait(url, directory)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, directory: Path) -> None:
    for _ in range(100):
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError((directory / "nginx.log").read_text())
