"""Makes wheels of a build fit to publish: they are read, repaired in the cell, and read again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

from envmatrix.matrix.library import PublishableWheels
from envmatrix.sessions import tasks
from envmatrix.sessions.buildsystems.python import DIST, WHEELS, same_wheels, unpack_wheels
from envmatrix.sessions.context import BuildContext, Command
from envmatrix.sessions.runner import Runner
from envmatrix.sessions.wheels import plan
from envmatrix.sessions.wheels.contents import WheelContents, read_wheel
from envmatrix.sessions.wheels.plan import Repair, WheelSettings
from envmatrix.sessions.wheels.report import describe, document, summarize

_STEP = "repair"
# What the wheels in `dist` have, in the build directory.
REPORT = "wheels.json"


def repair_wheels(runner: Runner, wheels: PublishableWheels) -> Mapping[str, str]:
    """Repair the wheels of a build, check the result, and unpack it for tests. Return what the
    wheels have, by their paths."""
    context = runner.context
    with context.build.opened() as build:
        build.remove(REPORT)
    minor = int(context.glibc.partition(".")[2] or 0)
    settings = WheelSettings(context.cell, context.target, minor, wheels)
    repairs = {
        wheel.path: plan.plan_repair(wheel, settings) if wheel.is_of_platform else None
        for wheel in _wheels(context, WHEELS)
    }
    commands = [_repair(context, repairs), unpack_wheels(_STEP, DIST)]
    argv = tasks.shell_arguments(tasks.join_commands(commands))
    runner.check(runner.run(tasks.in_compiler(context, argv), _STEP))
    published = _wheels(context, DIST)
    for wheel in published:
        plan.check_published(wheel, settings)
    return _report(runner, published, settings)


def _wheels(context: BuildContext, directory: str) -> Sequence[WheelContents]:
    with context.build.opened() as build:
        return [read_wheel(build, file.name) for file in build.files([f"{directory}/*.whl"])]


def _repair(context: BuildContext, repairs: dict[str, Repair | None]) -> Command:
    plans = {path: repair and asdict(repair) for path, repair in repairs.items()}
    argv = ["python3", "-c", _program(), json.dumps(plans, sort_keys=True), DIST]
    return Command(_STEP, argv, environment=same_wheels(context.library))


@cache
def _program() -> str:
    return Path(__file__).with_name("repair.py").read_text("utf-8")


def _report(
    runner: Runner, wheels: Sequence[WheelContents], settings: WheelSettings
) -> Mapping[str, str]:
    """Write what the wheels have, show it, and return it by their paths."""
    with runner.context.build.opened() as build:
        sizes = {file.name: file.size for file in build.files([f"{DIST}/*.whl"])}
        rows = [document(wheel, sizes.get(wheel.path, 0), settings) for wheel in wheels]
        text = json.dumps({"wheels": rows}, indent=2, sort_keys=True)
        build.write(REPORT, f"{text}\n".encode())
    for row in rows:
        runner.console.say(describe(row))
    return {wheel.path: summarize(row) for wheel, row in zip(wheels, rows, strict=True)}
