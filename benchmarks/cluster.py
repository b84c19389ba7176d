"""Run a program as a user of the cluster for tests:

  python -m benchmarks.cluster python -m benchmarks.many --on kubernetes

It is that of $ENVMATRIX_TEST_KUBECONFIG, with a namespace and a registry of its own, which the
program has in the user's configuration, in $KUBECONFIG and in $ENVMATRIX_REGISTRY.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import docker
from benchmarks import engine
from benchmarks.stored import own_registry
from tests.executors import KUBECONFIG, kubernetes_configuration, kubernetes_site

from envmatrix.files import readable_text
from envmatrix.machine.configuration import user_configuration


def main() -> int:
    kubeconfig = os.environ.get(KUBECONFIG)
    if not kubeconfig:
        sys.exit(f"${KUBECONFIG} names no cluster")
    with (
        TemporaryDirectory(prefix="envmatrix-cluster-") as scratch,
        closing(docker.from_env()) as client,
        own_registry(Path(scratch, "registry")) as registry,
        kubernetes_site(client, engine.host_base(), registry, kubeconfig) as site,
    ):
        configuration = Path(scratch, "envmatrix/config.toml")
        configuration.parent.mkdir()
        others = readable_text(user_configuration())
        configuration.write_text(f"{others}\n{kubernetes_configuration(site, registry)}")
        variables = {
            "XDG_CONFIG_HOME": scratch,
            "KUBECONFIG": kubeconfig,
            "ENVMATRIX_REGISTRY": f"{registry}/images",
        }
        environment = {**os.environ, **variables}
        return subprocess.run(sys.argv[1:], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
