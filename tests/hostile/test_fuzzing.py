"""Thousands of changed inputs for everything that reads what others wrote.

`ENVMATRIX_FUZZ_SEED` gives other inputs; a failure names the seed and the files it kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fuzzing import MOST_MEMORY

ROOT = Path(__file__).parents[2]
COUNT = 5_000
SEED = int(os.environ.get("ENVMATRIX_FUZZ_SEED", "4711"))

# In a process of its own, whose memory is that of the readers.
PROGRAM = """
import sys
from pathlib import Path
from tests.fuzzing import fuzzed, memory
from tests.readers import readers
for found in fuzzed(readers(), int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])):
    print(f"{found.reader}: {found.what}: {found.file}")
print(memory())
"""


def test_no_changed_input_does_anything_but_end_in_an_error_of_ours(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(COUNT), str(SEED), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, f"seed {SEED}: {done.stderr[-3000:]}"
    *findings, memory = done.stdout.splitlines()
    assert findings == [], f"seed {SEED}"
    assert int(memory) < MOST_MEMORY
