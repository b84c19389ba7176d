from __future__ import annotations

import subprocess
import sys

# The kernel may give a signal for a process to any thread of it.
PROGRAM = """
import select, signal, threading
from envmatrix.engine.containers import ContainerSpec, _watched

signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    with _watched(None, ContainerSpec("image", "linux/amd64", [], [])):
        (watcher,) = set(threading.enumerate()) - {threading.main_thread()}
        told = (watcher.ident, signal.SIGTERM)
        threading.Timer(0.1, signal.pthread_kill, told).start()
        select.poll().poll()  # for ever
except KeyboardInterrupt:
    print("interrupted")
"""


def test_whoever_waits_for_a_container_is_interrupted_by_a_signal_to_another_thread() -> None:
    program = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "interrupted\n"
