"""A fake `envmatrix` for tests of what engines do with jobs: it reads `fake.json` of the checkout,
and does nothing but keep the files and exit codes of `envmatrix ci`.

`plan` is the text of plan.json, `outputs` that for $GITHUB_OUTPUT, `needs` the ids that a job needs
by id, `codes` the exit codes of a job by id, one an attempt: 0 without.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

JOBS = Path("build/ci/jobs")
STATES = {0: "done", 1: "failed", 75: "infrastructure"}


def write_outputs(lines: str) -> None:
    with Path(os.environ["GITHUB_OUTPUT"]).open("a") as file:
        file.write(lines)


def plan(fake: Any) -> int:
    variables = {key: value for key, value in os.environ.items() if key.startswith("ENVMATRIX_CI_")}
    print("asked", json.dumps(variables, sort_keys=True))
    Path("build/ci").mkdir(parents=True, exist_ok=True)
    Path("build/ci/plan.json").write_text(fake["plan"])
    write_outputs(fake["outputs"])
    return 0


def run(fake: Any, job: str, attempt: int) -> int:
    missing = [
        need for need in fake["needs"].get(job, []) if not (JOBS / need / "outputs").exists()
    ]
    codes = fake["codes"].get(job, [0, 0])
    code = (75 if attempt == 1 else 1) if missing else codes[attempt - 1]
    before = JOBS / job / "outcome.json"
    if attempt == 1 and before.exists():
        sys.exit(f"`{before}` is there in the first attempt")
    print(f"ran {job} {attempt} {json.dumps(missing)}")
    (JOBS / job / "outputs").mkdir(parents=True, exist_ok=True)
    (JOBS / job / "outputs" / "contents.outputs").write_text(job)
    before.write_text(json.dumps({"state": STATES[code], "attempt": attempt}))
    return int(code)


def again(fake: Any, stage: str) -> int:
    outcomes = {file.parent.name: json.loads(file.read_text()) for file in JOBS.glob("*/*.json")}
    worth = {job for job, outcome in outcomes.items() if outcome["state"] == "infrastructure"}
    waiting = {
        job
        for job, needs in fake["needs"].items()
        if job not in outcomes and worth.intersection(needs)
    }
    value = dict(line.split("=", 1) for line in fake["outputs"].splitlines())[stage]
    rows = []
    for row in (row for chunk in json.loads(value) for row in chunk):
        ids = [job for job in row["ids"].split() if job in worth | waiting]
        rows += [{**row, "ids": " ".join(ids), "all": row["ids"]}] if ids else []
    print("again", *worth)
    write_outputs(f"again={json.dumps([rows] if rows else [])}\n")
    return 0


def report(fake: Any) -> int:
    ids = [job["id"] for job in json.loads(fake["plan"])["jobs"]]
    states = {}
    for job in ids:
        file = JOBS / job / "outcome.json"
        states[job] = json.loads(file.read_text())["state"] if file.exists() else "missing"
    print("report", json.dumps(states))
    Path("build/ci/summary.md").write_text("summary\n")
    Path("build/ci/findings.sarif").write_text("{}\n")
    return 0 if set(states.values()) <= {"done"} else 1


def main(words: Sequence[str]) -> int:
    fake = json.loads(Path("fake.json").read_text())
    verb = words[1]
    if verb == "plan":
        return plan(fake)
    if verb == "run":
        return run(fake, words[2], int(words[4]))
    if verb == "again":
        return again(fake, words[3])
    return report(fake)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
