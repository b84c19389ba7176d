"""Do leases keep processes apart, and does nobody wait forever, if holders are killed?

Processes take the lease of one of two devices, and of both now and then; a file of the device would
show two holders. Some are killed while they hold or wait, and others take their place.
Target: 8 processes with 500 leases each, no overlap, and none stuck.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import timing

_PROCESS = """
import os, random, sys, time
from pathlib import Path
from envmatrix.machine.leases import lease
root, count, seed = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
choose = random.Random(seed)
for _ in range(count):
    devices = choose.choice((["0"], ["1"], ["0"], ["1"], ["0", "1"]))
    with lease(root / "leases", devices, "benchmark", lambda queue: None):
        for device in devices:
            try:
                os.close(os.open(root / f"held-{device}-{os.getpid()}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            for other in root.glob(f"held-{device}-*"):
                process = int(other.name.rpartition("-")[2])
                if process != os.getpid() and os.path.exists(f"/proc/{process}"):
                    (root / f"overlap-{os.getpid()}-{process}").touch()
                elif process != os.getpid():
                    other.unlink(missing_ok=True)
        for device in devices:
            (root / f"held-{device}-{os.getpid()}").unlink(missing_ok=True)
    with (root / "done").open("a") as file:
        file.write("x")
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--leases", type=int, default=500)
    parser.add_argument("--kills", type=int, default=40)
    options = parser.parse_args()
    with TemporaryDirectory(prefix="envmatrix-leases-") as scratch:
        print(
            timing.table(["leases", "kills", "overlaps", "stuck", "time"], [_row(scratch, options)])
        )


def _row(scratch: str, options: argparse.Namespace) -> list[str]:
    root, total = Path(scratch), options.processes * options.leases
    (root / "done").touch()
    choose, kills, started = random.Random(1), 0, time.monotonic()  # noqa: S311 -- which to kill
    running = [_start(root, options.leases, str(number)) for number in range(options.processes)]
    last, moved = 0, time.monotonic()
    while (done := (root / "done").stat().st_size) < total:
        if done > last:
            last, moved = done, time.monotonic()
        if time.monotonic() - moved > 60:
            break
        if kills < options.kills and done > (kills + 1) * total // (options.kills + 2):
            victim = choose.randrange(len(running))
            os.kill(running[victim].pid, signal.SIGKILL)
            running[victim].wait()
            kills += 1
        for index, process in enumerate(running):
            if process.poll() is not None and done < total:
                running[index] = _start(root, options.leases, f"{kills} {index} {done}")
        time.sleep(0.02)
    for process in running:
        process.kill()
        process.wait()
    overlaps = len([*root.glob("overlap-*")])
    seconds = time.monotonic() - started
    stuck = "no" if done >= total else f"after {done}"
    return [f"{done:,}", str(kills), str(overlaps), stuck, f"{seconds:.0f} s"]


def _start(root: Path, count: int, seed: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _PROCESS, str(root), str(count), seed])


if __name__ == "__main__":
    main()
