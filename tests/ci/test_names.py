"""Names that are hostile to shells, engines, YAML and terminals arrive as text, or are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest
from tests.adopter import SIX, Adopter, adopter
from tests.ci.names import MARK, NAMES, command, subject, waivers
from tests.ci.pipelines import Ended
from tests.integration.conftest import CELL

from envmatrix.errors import ConfigurationError, NothingSelected


@pytest.fixture(scope="module")
def named(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Adopter:
    """A repository with a library whose tests, files and waivers have the names."""
    return adopter(tmp_path_factory.mktemp("names"), wheels, [subject(CELL)], waivers())


def test_a_library_and_a_short_name_of_a_cell_have_none_of_these_names(
    wheels: Path, tmp_path: Path
) -> None:
    user = adopter(tmp_path, wheels, SIX[:1])
    file = user.root / "matrix.yaml"
    names = [json.dumps(name, ensure_ascii=False) for name in NAMES]
    libraries = "".join(f"  {name}: {{path: passes}}\n" for name in names)
    aliases = "".join(f'  {name}: {{cuda: "12.4", os: debian12}}\n' for name in names)
    file.write_text(f"{file.read_text()}{libraries}aliases:\n{aliases}")
    done = user.run("plan")
    assert done.returncode == 2
    problems = re.findall(r"(?m)^error: matrix\.yaml:(\d+):3: `(libraries|aliases)\.", done.stderr)
    assert len(problems) == len({line for line, _ in problems}) == 2 * len(NAMES)
    assert_harmless(done.stderr)


@pytest.mark.parametrize("option", ["--library", "--select", "--tier"])
def test_an_input_of_these_names_is_refused(named: Adopter, option: str) -> None:
    for name in NAMES:
        done = named.run("ci", "plan", f"{option}={name}")
        assert done.returncode in (ConfigurationError.exit_code, NothingSelected.exit_code)
        assert done.stderr.startswith("error: ")
        assert_harmless(done.stderr)


def event(name: str, directory: Path) -> Mapping[str, Mapping[str, str]]:
    """Return the variables of a change request by engine, whose texts are a name."""
    file = directory / "event.json"
    repository = {"full_name": "team/project", "ref": name}
    head = {"ref": name, "label": name, "repo": repository}
    change = {"title": name, "body": name, "head": head, "base": {"ref": name, "sha": name}}
    file.write_text(json.dumps({"pull_request": change, "action": name}))
    return {
        "github": {
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "pull_request",
            "GITHUB_EVENT_PATH": str(file),
            "GITHUB_HEAD_REF": name,
            "GITHUB_OUTPUT": str(directory / "output"),
            "GITHUB_REPOSITORY": "team/project",
            "GITHUB_STEP_SUMMARY": str(directory / "summary"),
        },
        "gitlab": {
            "GITLAB_CI": "true",
            "CI_PIPELINE_SOURCE": "merge_request_event",
            "CI_COMMIT_MESSAGE": name,
            "CI_COMMIT_REF_NAME": name,
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": name,
            "CI_MERGE_REQUEST_TITLE": name,
        },
        "jenkins": {
            "JENKINS_URL": "http://jenkins.example",
            "BRANCH_NAME": name,
            "CHANGE_BRANCH": name,
            "CHANGE_ID": "1",
            "CHANGE_TARGET": name,
            "CHANGE_TITLE": name,
        },
    }


@pytest.mark.parametrize("ci", ["github", "gitlab", "jenkins"])
def test_a_change_of_a_branch_of_these_names_is_planned_as_another(
    named: Adopter, ci: str, tmp_path: Path
) -> None:
    plans = set()
    for number, name in enumerate(NAMES):
        directory = tmp_path / str(number)
        directory.mkdir()
        variables = {**named.variables, **event(name, directory)[ci]}
        user = Adopter(named.root, named.wheels, variables)
        done = user.run("ci", "plan", "--output", str(directory / "ci"))
        assert done.returncode == 0, done.stderr
        plans.add(re.sub(r'"base": ("[^"]*"|null)', "", (directory / "ci/plan.json").read_text()))
        output = directory / "output"
        if output.exists():
            keys = {line.partition("=")[0] for line in output.read_text().splitlines()}
            assert keys <= {"trusted", "images", "compile", "test", "measure"}
        assert_harmless(f"{done.stdout}{done.stderr}")
        assert not [*directory.rglob(MARK)]
    assert len(plans) == 1
    assert not (named.root / MARK).exists()


def assert_harmless(text: str) -> None:
    """Check that nothing in a text is a command of an engine or of a terminal."""
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert not re.search(r"(?m)^::|^##\[|section_(start|end):", text)


def assert_arrived(ended: Ended, root: Path) -> None:
    """Check that every name was what its test got, and that nothing was done in its name."""
    with closing(connect(ended.store)) as store:
        rows = dict(store.execute("SELECT name, state FROM outcomes"))
    assert {rows[command(name)] for name in NAMES} == {"passed"}
    assert [state for name, state in rows.items() if "/list.sh" in name] == ["passed"]
    assert [*rows.values()].count("failed") == len(NAMES)
    assert not [*root.rglob(MARK)]
    assert not re.search(rf"(?m)^\s*(::|##\[).*{MARK}", ended.log)
