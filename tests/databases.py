"""A real PostgreSQL for tests: Debian's, in a container of the project's own base, on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from tests.images import with_package

IMAGE = "envmatrix-test/postgresql"
PORT = 5432
_START = """\
set -e
PATH=/usr/lib/postgresql/15/bin:$PATH
test -d /var/lib/postgresql/data ||
  su postgres -c "initdb -D /var/lib/postgresql/data --auth=trust -E UTF8 --locale=C.UTF-8"
echo 'host all all all trust' >>/var/lib/postgresql/data/pg_hba.conf
exec su postgres -c "postgres -D /var/lib/postgresql/data -c listen_addresses=* \\
  -c max_connections=200 -c fsync=off"
"""


@dataclass(frozen=True, slots=True)
class RealPostgresql:
    """`address` is where its databases are."""

    address: str
    container: DockerContainer

    def database(self, name: str) -> str:
        """Return the URL of a database that is new."""
        with psycopg.connect(f"{self.address}/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return f"{self.address}/{name}"

    def stop(self) -> None:
        self.container.get_wrapped_container().stop(timeout=5)

    def start(self) -> None:
        self.container.get_wrapped_container().start()
        _await(self.address)


def image(base: str, archive: str) -> str:
    """Return the name of an image with PostgreSQL on `base`, whose packages are at `archive`."""
    return with_package(IMAGE, base, archive, "postgresql", '"sh", "-c"')


@contextmanager
def serve(image: str, port: int) -> Iterator[RealPostgresql]:
    """A server that is empty, and gone at the end, on `port` of this machine."""
    container = (
        DockerContainer(image)
        .with_command([_START])
        .with_bind_ports(PORT, port)
        .waiting_for(LogMessageWaitStrategy("ready to accept connections"))
    )
    with container as started:
        address = f"postgresql://postgres@127.0.0.1:{port}"
        _await(address)
        yield RealPostgresql(address, started)


def _await(address: str) -> None:
    for _ in range(100):
        try:
            psycopg.connect(f"{address}/postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"nothing answers at {address}")
