"""Facts of machines: one on which nothing is missing, and others."""

from __future__ import annotations

from dataclasses import replace

from envmatrix.machine.engine_address import EngineAddress
from envmatrix.machine.host import Docker, Emulator, Engine, HostFacts
from envmatrix.machine.host_settings import Settings
from envmatrix.machine.host_storage import Storage

ENGINE = Engine(
    "26.1.5+dfsg1",
    has_containerd_store=True,
    has_cdi=True,
    security=frozenset({"seccomp"}),
    data="/var/lib/docker",
    time=1_800_000_000.0,
)
DISK = Storage(
    path="/home/me/.cache/envmatrix",
    is_directory=True,
    is_writable=True,
    owner=1000,
    kind="ext4",
    is_executable=True,
    free_bytes=100 << 30,
    free_inodes=1 << 20,
)
SETTINGS = Settings(
    user=1000,
    kernel="6.12.0",
    encoding="utf-8",
    open_files=1 << 20,
    memory=8 << 30,
    closed_namespaces="",
    proxies={},
    has_certificates=True,
    absent_certificates=(),
    absent_helpers=(),
    foreign_checkout="",
    has_pip=True,
    configuration_problem="",
    absent_mirror="",
    context="default",
    now=1_800_000_000.0,
    installed=1_790_000_000.0,
)
READY = HostFacts(
    os_id="debian",
    os_release=12,
    architecture="x86_64",
    privilege="root",
    group=0,
    has_systemd=False,
    mirror="http://mirror.example/debian",
    docker=Docker("26.1.5", "0.13.1+ds1", ENGINE),
    is_remote=False,
    clients=("/usr/bin/docker",),
    has_buildx_plugin=True,
    dockerd="26.1.5",
    daemon_pid=None,
    has_answer=True,
    has_daemon_configuration=True,
    programs=frozenset({"apt-get", "arch-test", "git", "mmdebstrap", "mount", "newuidmap"}),
    emulators=(Emulator("aarch64", "POF", has_rule=True),),
    has_subordinate_ids=True,
    absent_keyrings=(),
    address=EngineAddress(),
    gpu=None,
    cache=DISK,
    temporary=replace(DISK, path="/tmp"),
    working=replace(DISK, path="/home/me/repository"),
    engine_data=replace(DISK, path="/var/lib/docker"),
    settings=SETTINGS,
)
BARE = replace(
    READY,
    docker=Docker(),
    clients=(),
    has_buildx_plugin=False,
    dockerd=None,
    has_answer=False,
    has_daemon_configuration=False,
    programs=frozenset({"apt-get", "git", "mount"}),
    emulators=(Emulator("aarch64", None, has_rule=False),),
    address=EngineAddress(is_absent=True),
    engine_data=None,
)
STOPPED = replace(
    READY, docker=Docker("26.1.5", "0.13.1", error="Cannot connect"), has_answer=False
)
