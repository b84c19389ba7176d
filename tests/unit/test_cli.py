"""The command line as people and programs meet it: exit codes, stderr for people, stdout for
data. Nothing here needs an engine or a network."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import click
import pytest
from tests.fakes import lock_of, with_set, write_repository
from tests.locks import of_version_1
from tests.unit.prompt import EARLY, Prompt

from envmatrix.cli import VERBS, group
from envmatrix.lock.lock_file import dumps, loads
from envmatrix.machine.resources import host_arch
from envmatrix.matrix.loading import load_matrix
from envmatrix.render import github

AXES = """\
cuda: ["13.0"]
os: [debian12]
arch: [x86_64]"""

CELL = "cuda13.0-debian12-x86_64"

# Everything that CELL stands on is supported early, and debian12 no more on this day.
LATE = date(2027, 1, 1)
ENDED = (
    "warning: debian12: no security support since 2026-07-11 (LTS until 2028-06-30); "
    "replacement: debian13\n"
)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = write_repository(tmp_path / "repository", AXES)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def locked(repository: Path, tmp_path: Path) -> Path:
    lock = lock_of(load_matrix(repository), tmp_path / "scratch")
    (repository / "matrix.lock.json").write_text(dumps(lock))
    return repository


def test_an_unknown_verb_is_told_with_the_nearest_one(envmatrix: Prompt) -> None:
    answer = envmatrix("biuld")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == "error: there is no verb `biuld`\nhint: did you mean `envmatrix build`?\n"


def test_a_verb_that_is_like_none_is_sent_to_the_help(envmatrix: Prompt) -> None:
    answer = envmatrix("xyzzy")
    assert answer.status == 2
    assert answer.err.endswith("hint: see `envmatrix --help`\n")


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_an_unknown_option_is_told_with_where_to_look(envmatrix: Prompt, verb: str) -> None:
    answer = envmatrix(verb, "--no-such-option")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.splitlines()[0].startswith("error: no such ")
    assert answer.err.splitlines()[-1] == f"hint: see `envmatrix {verb} --help`"


def test_a_missing_argument_is_an_error_in_the_same_words(envmatrix: Prompt) -> None:
    answer = envmatrix("why")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == "error: missing argument 'CELL'\nhint: see `envmatrix why --help`\n"


@pytest.mark.parametrize(
    "arguments", [("why", CELL), ("generate", "--check"), ("lock", "--check"), ("plan",)]
)
def test_a_place_without_a_matrix_is_told(
    envmatrix: Prompt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = envmatrix(*arguments)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == (
        "error: there is no `matrix.yaml` here or above\nhint: change to your repository\n"
    )


def verbs_with_those_below() -> list[tuple[str, ...]]:
    verbs: list[tuple[str, ...]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        verbs.append((name,))
        verb = group.get_command(context, name)
        if isinstance(verb, click.Group):
            verbs += [(name, below) for below in verb.list_commands(context)]
    return verbs


@pytest.mark.parametrize("verb", [(), *verbs_with_those_below()], ids=" ".join)
def test_every_help_has_an_example_of_itself(envmatrix: Prompt, verb: tuple[str, ...]) -> None:
    answer = envmatrix(*verb, "--help")
    assert (answer.status, answer.err) == (0, "")
    assert f"Example: {' '.join(('envmatrix', *verb))}" in " ".join(
        answer.out.replace("$ ", "").split()
    )


def test_the_help_names_every_verb(envmatrix: Prompt) -> None:
    output = envmatrix("--help").out
    assert all(f"  {verb} " in output and text in output for verb, text in VERBS.items())


def test_every_verb_says_in_one_line_what_it_does() -> None:
    context = click.Context(group)
    for name in VERBS:
        verb = group.get_command(context, name)
        assert verb
        assert verb.help


def test_the_version(envmatrix: Prompt) -> None:
    answer = envmatrix("--version")
    assert answer.status == 0
    assert answer.out.startswith("envmatrix, version ")


@pytest.mark.usefixtures("repository")
def test_data_goes_to_stdout_and_parses(envmatrix: Prompt) -> None:
    answer = envmatrix("why", CELL, "--json")
    assert (answer.status, answer.err) == (0, "")
    document = json.loads(answer.out)
    assert (document["cell"], document["present"]) == (CELL, True)
    assert {rule["passed"] for rule in document["rules"]} == {True}


@pytest.mark.usefixtures("repository")
def test_a_cell_that_is_absent_is_explained_all_the_same(envmatrix: Prompt) -> None:
    answer = envmatrix("why", "cuda13.0-debian12-aarch64", "--json")
    assert answer.status == 0
    assert json.loads(answer.out)["present"] is False


@pytest.mark.usefixtures("repository")
def test_what_a_cell_needs_is_told_as_text_and_as_data(envmatrix: Prompt) -> None:
    text = envmatrix("why", CELL).out
    assert (
        "\n  driver 580.65.06 or later: minor-version compatibility of CUDA 13; "
        "the release ships 580.65.06\n  Clang 7 to 20\n  GPU architectures 75, 80, 86,"
    ) in text
    assert "\n  debian12: security support until 2026-07-11, LTS until 2028-06-30\n" in text
    cuda = json.loads(envmatrix("why", CELL, "--json").out)["cuda"]
    assert cuda["driver"]["minimum"] == cuda["driver"]["shipped"] == "580.65.06"
    assert (cuda["clang"]["min"], cuda["clang"]["max"]) == ("7", "20")
    assert cuda["sm"]["known"][:2] == ["75", "80"]
    assert all(fact["ref"] for fact in cuda.values())


@pytest.mark.usefixtures("repository")
def test_a_release_that_nobody_knows_needs_nothing(envmatrix: Prompt) -> None:
    document = json.loads(envmatrix("why", "cuda9.9-plan9-x86_64", "--json").out)
    assert (document["cuda"], document["end_of_life"]) == (None, [])


@pytest.mark.usefixtures("repository")
def test_the_end_of_life_is_data(envmatrix: Prompt) -> None:
    answer = envmatrix("why", CELL, "--json", today=LATE)
    system, release = json.loads(answer.out)["end_of_life"]
    assert system["ref"]
    assert {**system, "ref": ""} == {
        "name": "debian12",
        "what": "security support",
        "until": "2026-07-11",
        "lts": "2028-06-30",
        "state": "ended",
        "replacement": "debian13",
        "ref": "",
    }
    assert (release["name"], release["state"]) == ("CUDA 13.0", "supported")


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize("arguments", [("why", CELL), ("plan",), ("build",), ("lock", "--check")])
def test_what_is_no_longer_supported_is_told_once_and_quiet_silences_it(
    envmatrix: Prompt, arguments: tuple[str, ...]
) -> None:
    answer = envmatrix(*arguments, today=LATE)
    assert answer.status == envmatrix(*arguments).status, "a warning fails nothing"
    assert answer.err.startswith(ENDED)
    assert answer.err.count("warning: ") == 1
    assert "warning: " not in envmatrix(*arguments, "-q", today=LATE).err
    assert "warning: " not in envmatrix(*arguments, today=EARLY).err


def test_mistakes_are_told_with_their_place_all_in_one_run(
    envmatrix: Prompt, repository: Path
) -> None:
    text = (repository / "matrix.yaml").read_text().replace("13.0", "13.7")
    (repository / "matrix.yaml").write_text(f"{text}colour: red\n")
    answer = envmatrix("why", CELL)
    assert (answer.status, answer.out) == (2, "")
    errors = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    hints = [line for line in answer.err.splitlines() if line.startswith("hint: ")]
    assert len(errors) == 2
    assert errors[0].startswith("error: matrix.yaml:4:10: ")
    assert errors[1] == "error: matrix.yaml:7:1: unknown key `colour`"
    assert len(errors) + len(hints) == len(answer.err.splitlines())


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("arguments", [("generate",), ("lock", "--check")])
def test_no_lock_is_out_of_date(envmatrix: Prompt, arguments: tuple[str, ...]) -> None:
    answer = envmatrix(*arguments)
    assert (answer.status, answer.out) == (4, "")
    assert answer.err == "error: there is no `matrix.lock.json`\nhint: make it: `envmatrix lock`\n"


@pytest.mark.usefixtures("locked")
def test_a_lock_that_answers_the_matrix_is_good(envmatrix: Prompt) -> None:
    assert envmatrix("lock", "--check").status == 0


def test_a_lock_that_no_longer_answers_is_told_in_words(envmatrix: Prompt, locked: Path) -> None:
    (locked / "envs/runtime.yaml").write_text("flavour: runtime\npackages: [curl]\n")
    answer = envmatrix("lock", "--check")
    assert answer.status == 4
    assert "`debian12-amd64-runtime` asks for apt bookworm curl, the lock has" in answer.err
    assert answer.err.endswith("hint: bring it up to date: `envmatrix lock`\n")


def test_a_damaged_lock_is_told_with_its_place(envmatrix: Prompt, locked: Path) -> None:
    (locked / "matrix.lock.json").write_text('{\n  "version": 1,\n}\n')
    answer = envmatrix("generate", "--check")
    assert answer.status == 2
    assert answer.err.startswith("error: matrix.lock.json:3:1: not JSON: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("lock", "--check"),
        ("lock",),
        ("plan",),
        ("generate", "--check"),
        ("build", "--dry-run"),
        ("sbom", "--select", CELL, "--flavour", "devel"),
    ],
)
def test_every_verb_notices_that_a_package_of_a_base_was_changed(
    envmatrix: Prompt, locked: Path, arguments: tuple[str, ...]
) -> None:
    """No Dockerfile names these packages: the layer stands for them there."""
    assert envmatrix("generate").status == 0
    file = locked / "matrix.lock.json"
    (base,) = (
        package_set
        for key, package_set in loads(file.read_text()).sets.items()
        if key.endswith("64-base")
    )
    old = base.artifacts[0].sha256
    file.write_text(file.read_text().replace(old, "0" * 64).replace(old[:12], "0" * 12))

    answer = envmatrix(*arguments)

    assert answer.status == 4
    assert "`debian12-amd64-base` is not what its layer was made of" in answer.err


def test_a_lock_that_does_not_bind_its_bases_was_changed(envmatrix: Prompt, locked: Path) -> None:
    file = locked / "matrix.lock.json"
    document = json.loads(file.read_text())
    del document["sets"]["debian12-amd64-base"]["inputs"]
    file.write_text(json.dumps(document))

    answer = envmatrix("lock", "--check")

    assert answer.status == 4
    assert "`debian12-amd64-base` does not say what its layer was made of" in answer.err


def test_a_lock_of_version_1_is_taken_and_rewritten_without_a_lookup(
    envmatrix: Prompt, locked: Path
) -> None:
    file = locked / "matrix.lock.json"
    before = file.read_text()
    file.write_text(of_version_1(loads(before)))
    assert envmatrix("lock", "--check").status == 0
    assert envmatrix("generate").status == 0
    assert envmatrix("lock").status == 0
    assert file.read_text() == before
    assert envmatrix("generate", "--check").status == 0


def test_generated_files_drift_until_they_are_written(envmatrix: Prompt, locked: Path) -> None:
    before = envmatrix("generate", "--check")
    assert (before.status, before.out) == (4, "")
    assert "`dockerfiles/cuda13.0-debian12/Dockerfile` differs" in before.err
    assert not (locked / "dockerfiles").exists()
    assert envmatrix("generate").status == 0
    assert envmatrix("generate", "--check").status == 0


@pytest.mark.parametrize(
    "name",
    [
        "dockerfiles/cuda13.0-debian12/Dockerfile",
        "dockerfiles/scripts/tree.sh",
        "matrix.schema.json",
    ],
)
def test_a_generated_file_of_any_bytes_differs(envmatrix: Prompt, locked: Path, name: str) -> None:
    assert envmatrix("generate").status == 0
    (locked / name).write_bytes(b"\xff\xfe")
    answer = envmatrix("generate", "--check")
    assert answer.status == 4
    assert f"`{name}` differs" in answer.err


def test_a_generated_file_with_other_line_ends_differs(envmatrix: Prompt, locked: Path) -> None:
    assert envmatrix("generate").status == 0
    file = locked / "dockerfiles/cuda13.0-debian12/Dockerfile"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert envmatrix("generate", "--check").status == 4
    assert envmatrix("generate").status == 0
    assert b"\r" not in file.read_bytes()


@pytest.mark.parametrize("name", ["dockerfiles", "dockerfiles/scripts", "dockerfiles/cuda1.0-a"])
def test_files_below_a_link_are_neither_replaced_nor_removed(
    envmatrix: Prompt, locked: Path, tmp_path: Path, name: str
) -> None:
    directory = tmp_path / "own"
    (directory / "sources").mkdir(parents=True)
    (locked / name).parent.mkdir(exist_ok=True)
    (locked / name).symlink_to(directory)
    answer = envmatrix("generate")
    assert answer.status == 2
    assert f"`{name}` is a link" in answer.err
    assert [path.name for path in directory.iterdir()] == ["sources"]


@pytest.mark.parametrize("words", [["generate"], ["plan"], ["lock", "--check"]])
def test_a_lock_without_a_requested_package_is_an_error(
    envmatrix: Prompt, locked: Path, words: list[str]
) -> None:
    file = locked / "matrix.lock.json"
    lock = loads(file.read_text())
    key = next(key for key in lock.sets if "-devel-amd64" in key)
    file.write_text(dumps(with_set(lock, key, replace(lock.sets[key], artifacts=()))))
    answer = envmatrix(*words)
    assert answer.status == 4
    assert f"`{key}` lacks the package `nvidia-" in answer.err


def test_what_is_no_longer_in_the_matrix_is_stale_and_removed(
    envmatrix: Prompt, locked: Path
) -> None:
    assert envmatrix("generate").status == 0
    old = locked / "dockerfiles/cuda1.0-debian1"
    old.mkdir()
    script = locked / "dockerfiles/scripts/cuda1.0-devel-amd64.sh"
    script.write_text("")
    answer = envmatrix("generate", "--check")
    assert answer.status == 4
    assert "`dockerfiles/cuda1.0-debian1` is stale" in answer.err
    assert "`dockerfiles/scripts/cuda1.0-devel-amd64.sh` is stale" in answer.err
    assert envmatrix("generate").status == 0
    assert not old.exists()
    assert not script.exists()
    assert envmatrix("generate", "--check").status == 0


@pytest.mark.parametrize("name", ["cuda13.0-debian12/Dockerfile", "scripts/install.deb.sh"])
def test_a_plan_needs_the_files_that_are_generated(
    envmatrix: Prompt, locked: Path, name: str
) -> None:
    assert envmatrix("generate").status == 0
    (locked / "dockerfiles" / name).write_text("# changed by hand\n")
    answer = envmatrix("plan")
    assert (answer.status, answer.out) == (4, "")
    assert f"`dockerfiles/{name}` is not what the lock says" in answer.err


@pytest.mark.usefixtures("repository")
def test_quiet_says_only_what_is_wrong(envmatrix: Prompt) -> None:
    answer = envmatrix("generate", "-q")
    assert answer.status == 4
    assert answer.err.startswith("error: ")


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--check", "--audit"), "--check and --audit do different things"),
        (("--check", "--upgrade"), "--check and --upgrade do different things"),
        (("--audit", "cmake"), "packages are named with --upgrade only"),
        (("--json",), "--json goes with --audit only"),
    ],
)
def test_what_does_not_go_together_is_refused(
    envmatrix: Prompt, arguments: tuple[str, ...], message: str
) -> None:
    answer = envmatrix("lock", *arguments)
    assert answer.status == 2
    assert message in answer.err


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "--check", "devcontainer"), "leave out `devcontainer`"),
        (("build", "--cache-from", ""), "--cache-from needs a directory or `oci://REPOSITORY`"),
        (("build", "--cache-to", "oci://"), "not `oci://`"),
        (("lock", "--upgrade", "cmaek"), "did you mean `cmake`?"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    envmatrix: Prompt, arguments: tuple[str, ...], message: str
) -> None:
    answer = envmatrix(*arguments)
    assert answer.status == 2
    assert message in answer.err


@pytest.mark.usefixtures("repository")
def test_an_audit_needs_a_lock(envmatrix: Prompt) -> None:
    answer = envmatrix("lock", "--audit")
    assert answer.status == 4
    assert "there is no `matrix.lock.json`" in answer.err


@pytest.mark.usefixtures("repository")
def test_names_without_upgrade_are_refused(envmatrix: Prompt) -> None:
    answer = envmatrix("lock", "cmake")
    assert answer.status == 2
    assert answer.err.splitlines()[0] == "error: packages are named with --upgrade only"


@pytest.mark.usefixtures("locked")
def test_a_selection_of_nothing_is_told(envmatrix: Prompt) -> None:
    answer = envmatrix("plan", "--select", "cuda99*")
    assert (answer.status, answer.out) == (3, "")


@pytest.fixture
def wide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight cells, of which three are too few to cover every pair; neither lock nor engine."""
    axes = 'cuda: ["13.0", "13.5"]\nos: [debian12, debian13]\narch: [x86_64, aarch64]'
    root = write_repository(tmp_path / "wide", axes, "tiers: {pr: {jobs: 3, gpu_jobs: 1}}\n")
    monkeypatch.chdir(root)
    return root


@pytest.mark.usefixtures("wide")
def test_a_tier_is_shown_with_reasons_and_coverage_without_lock_or_engine(
    envmatrix: Prompt,
) -> None:
    answer = envmatrix("plan", "--tier", "pr")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out == (
        "cuda13.0-debian12-aarch64: endpoint\n"
        "cuda13.5-debian13-x86_64: endpoint, with a GPU\n"
        "cuda13.0-debian12-x86_64: covers 2 pairs\n"
        "14 of 18 pairs\n"
        "uncovered: cuda 13.0, os debian13\n"
        "uncovered: os debian13, arch aarch64\n"
        "uncovered: cuda 13.5, os debian12\n"
        "uncovered: cuda 13.5, arch aarch64\n"
    )


@pytest.mark.usefixtures("wide")
def test_a_tier_as_json_is_what_ci_makes_its_jobs_of(envmatrix: Prompt) -> None:
    document = json.loads(envmatrix("plan", "--tier", "pr", "--json").out)
    assert list(document) == ["tier", "cells", "coverage"]
    assert document["cells"][1:] == [
        {"cell": "cuda13.5-debian13-x86_64", "reason": "endpoint", "gpu": True},
        {"cell": "cuda13.0-debian12-x86_64", "reason": "covers 2 pairs", "gpu": False},
    ]
    pairs = document["coverage"]["pairs"]
    assert (pairs["covered"], pairs["total"], len(pairs["uncovered"])) == (14, 18, 4)
    assert pairs["uncovered"][0] == {"cuda": "13.0", "os": "debian13"}


@pytest.mark.usefixtures("wide")
def test_a_tier_and_a_selection_have_in_common_what_is_in_both(envmatrix: Prompt) -> None:
    answer = envmatrix("plan", "--tier", "pr", "--select", "cuda13.5*")
    assert answer.out.splitlines()[:2] == [
        "cuda13.5-debian13-x86_64: endpoint, with a GPU",
        "14 of 18 pairs",
    ]


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("verb", ["plan", "build"])
def test_a_tier_without_any_selected_cell_is_nothing_selected(envmatrix: Prompt, verb: str) -> None:
    answer = envmatrix(verb, "--tier", "pr", "--select", "cuda13.0-debian13")
    assert (answer.status, answer.out) == (3, "")
    assert answer.err == (
        "error: tier `pr` has none of the selected cells\n"
        "hint: see what it has: `envmatrix plan --tier pr`\n"
    )


@pytest.mark.usefixtures("wide")
def test_why_names_the_tiers_of_a_cell(envmatrix: Prompt) -> None:
    assert "  in tiers pr, nightly, weekly\n" in envmatrix("why", "cuda13.5-debian13-x86_64").out
    answer = envmatrix("why", "cuda13.5-debian12-x86_64", "--json")
    assert json.loads(answer.out)["tiers"] == ["nightly", "weekly"]


@pytest.mark.usefixtures("wide")
@pytest.mark.skipif(host_arch() != "amd64", reason="only x86_64 crosses")
def test_a_cell_whose_cuda_is_in_an_image_is_emulated_only_if_asked_for(
    envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[1] / "golden/ubuntu_with_cuda_in_an_image")
    answer = envmatrix("run", "compile", "cuda12.4-ubuntu22.04-aarch64")
    assert (answer.status, answer.out) == (1, "")
    assert "`cuda12.4-ubuntu22.04-aarch64` has no flavour `cross`" in answer.err
    assert "hint: compile it under emulation: `--emulate`" in answer.err


def test_a_tier_and_a_revision_are_not_shown_together(envmatrix: Prompt) -> None:
    answer = envmatrix("plan", "--tier", "pr", "--diff", "HEAD")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err == (
        "error: --tier and --diff show different things; give one of them\n"
        "hint: see `envmatrix plan --help`\n"
    )


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("verb", ["plan", "build"])
def test_what_has_ended_is_told_of_the_cells_of_a_tier(envmatrix: Prompt, verb: str) -> None:
    arguments = ("--tier", "pr", "--select")
    assert envmatrix(verb, *arguments, "*debian12*", today=LATE).err.startswith(ENDED)
    assert ENDED not in envmatrix(verb, *arguments, "cuda13.5*", today=LATE).err


@pytest.mark.parametrize(
    ("arguments", "registry", "message"),
    [
        (("push",), "", "error: nothing says where images are published"),
        (("push",), "registry.example", "$ENVMATRIX_REGISTRY is no repository"),
        (("push",), "registry.example/x:latest", "$ENVMATRIX_REGISTRY is no repository"),
        (("push", "--key", "cosign.key"), "", "--key is what to --sign with"),
        (("push", "--sign"), "registry.example/x", "nothing says who has to sign images"),
        (("pull", "--verify"), "registry.example/x", "nothing says who has to sign images"),
    ],
)
@pytest.mark.usefixtures("locked")
def test_what_publishing_lacks_is_told(
    envmatrix: Prompt,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    registry: str,
    message: str,
) -> None:
    monkeypatch.setenv("ENVMATRIX_REGISTRY", registry)

    answer = envmatrix(*arguments)

    assert (answer.status, message in answer.err) == (2, True), answer.err
    assert "hint: " in answer.err


@pytest.mark.usefixtures("locked")
def test_a_bill_is_data(envmatrix: Prompt) -> None:
    assert envmatrix("generate").status == 0
    answer = envmatrix("sbom", "--flavour", "devel")

    assert answer.status == 0
    assert json.loads(answer.out)["spdxVersion"] == "SPDX-2.3"
    assert envmatrix("sbom", "--flavour", "nothing").status == 3
    assert "`--output sboms`" in envmatrix("sbom").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("github --tier yearly", "there is no tier `yearly`"),
        ("github --select 'open", "No closing quotation"),
    ],
)
def test_a_banner_that_nobody_wrote_is_told(
    envmatrix: Prompt, locked: Path, words: str, message: str
) -> None:
    workflow = locked / github.FILE
    workflow.parent.mkdir(parents=True)
    workflow.write_text(f"# GENERATED by `envmatrix generate {words}`; do not edit.\n")
    answer = envmatrix("generate", "--check")
    assert answer.status == 2
    assert "does not say how to make it again" in answer.err
    assert message in answer.err


@pytest.mark.parametrize("name", ["matrix.yaml", "matrix.lock.json", "envs/devel.yaml"])
def test_a_pipe_instead_of_a_file_is_not_waited_for(
    envmatrix: Prompt, locked: Path, name: str
) -> None:
    (locked / name).unlink(missing_ok=True)
    os.mkfifo(locked / name)
    answer = envmatrix("generate", "--check")
    assert answer.status == 2
    assert f"`{name}`" in answer.err
    assert "is no regular file" in answer.err


def test_a_generated_file_takes_the_place_of_a_pipe(envmatrix: Prompt, locked: Path) -> None:
    assert envmatrix("generate").status == 0
    file = next((locked / "dockerfiles").glob("*/Dockerfile"))
    file.unlink()
    os.mkfifo(file)
    assert envmatrix("generate", "--check").status == 4
    assert envmatrix("generate").status == 0
    assert envmatrix("generate", "--check").status == 0


def failing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(group, "main", fail)


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/f"), "`/f`: no space left", "see `df`"),
        (PermissionError(errno.EACCES, "Denied", "/f"), "`/f`: denied", "$ENVMATRIX_CACHE"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "n" * 300), "file name too", "ls -ld"),
        (FileExistsError(errno.EEXIST, "File exists", b"/\xff"), r"`/\xff`: file exists", "ls -ld"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/f"), "not a directory", "ls -ld"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "/f"), "too many", "ls -ld"),
        (MemoryError(), "not enough memory", "too large"),
    ],
)
def test_what_the_machine_refuses_is_told_and_is_no_defect(
    envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str, hint: str
) -> None:
    failing(error, monkeypatch)
    answer = envmatrix("plan")

    assert answer.status == 1
    first, second = answer.err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert len(first) < 300
    assert second.startswith("hint: ")
    assert hint in second


def test_a_dockerfile_that_is_not_utf8_is_drift(envmatrix: Prompt, locked: Path) -> None:
    assert envmatrix("generate").status == 0
    (dockerfile,) = (locked / "dockerfiles").glob("*/Dockerfile")
    dockerfile.write_bytes(b"\xff")
    answer = envmatrix("plan")
    assert answer.status == 4
    assert "envmatrix generate" in answer.err


def test_a_file_that_is_not_text_is_told(
    envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(UnicodeDecodeError("utf-8", b"ELF\xff", 3, 4, "invalid"), monkeypatch)
    answer = envmatrix("plan")
    assert answer.status == 2
    assert "is not UTF-8" in answer.err


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError("deep"), OSError(errno.EBADF, "Bad"), OSError("bare")]
)
def test_a_defect_is_told_as_one_and_its_traceback_is_kept(
    envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    monkeypatch.setenv("ENVMATRIX_CACHE", str(tmp_path / "cache"))
    failing(error, monkeypatch)
    answer = envmatrix("plan")

    log = tmp_path / "cache/internal-error.log"
    assert answer.status == 70
    assert answer.err.startswith(f"error: internal error: {type(error).__name__}: ")
    assert f"`{log}`" in answer.err
    assert "Traceback" not in answer.err
    assert "raise error" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_defect_is_told_where_no_file_can_be_written(
    envmatrix: Prompt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ENVMATRIX_CACHE", str(tmp_path / "file/cache"))
    failing(KeyError("https://user:secret@host"), monkeypatch)
    answer = envmatrix("plan")

    assert answer.status == 70
    assert "raise error" in answer.err
    assert "secret" not in answer.err


@pytest.mark.parametrize(
    "verb", [("run", "compile", CELL), ("run", "analyse", CELL), ("report",), ("serve",)]
)
def test_an_empty_name_is_an_unknown_library(
    envmatrix: Prompt, repository: Path, verb: tuple[str, ...]
) -> None:
    (repository / "envs/analysis.yaml").write_text(
        "flavour: analysis\nextends: devel\npackages: [gcovr]\n"
    )
    answer = envmatrix(*verb, "--library", "")
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.startswith("error: matrix.yaml has no library ``\n")


@pytest.mark.parametrize("verb", ["compile", "test", "shell"])
def test_a_library_that_is_not_there_is_told_with_its_place_before_anything_is_made(
    envmatrix: Prompt, repository: Path, verb: str
) -> None:
    """There is no lock, so that no image can be made."""
    with (repository / "matrix.yaml").open("a") as file:
        file.write("libraries:\n  a: {path: a/nope}\n")
    (repository / "matrix.d").mkdir()
    (repository / "matrix.d/b.yaml").write_text(
        'version: "1"\nreason: more\nlibraries:\n  b:\n    path: matrix.yaml\n'
    )
    answer = envmatrix("run", verb, CELL)
    assert (answer.status, answer.out) == (2, "")
    hint = "hint: correct its `path`, which begins at the root of the repository\n"
    assert answer.err == (
        f"error: matrix.yaml:8:13: library `a`: there is no directory `a/nope`\n{hint}"
        f"error: matrix.d/b.yaml:5:11: library `b`: there is no directory `matrix.yaml`\n{hint}"
    )


@pytest.mark.parametrize("verb", [("plan", "--tier", "pr"), ("generate",), ("lock", "--check")])
def test_a_matrix_is_planned_without_the_directories_of_its_libraries(
    envmatrix: Prompt, locked: Path, verb: tuple[str, ...]
) -> None:
    with (locked / "matrix.yaml").open("a") as file:
        file.write("libraries:\n  a: {path: a/nope}\n")
    assert envmatrix(*verb).status == 0


def test_a_name_with_a_line_break_stays_in_its_line(envmatrix: Prompt, repository: Path) -> None:
    (repository / "matrix.d").mkdir()
    (repository / "matrix.d/a\n::error::b.yaml").write_text("x: 1\n")
    (repository / "matrix.d/c\nd.yaml").mkdir()
    answer = envmatrix("plan")
    assert answer.status == 2
    assert r"a\n::error::b.yaml" in answer.err
    assert r"c\nd.yaml" in answer.err
    for line in answer.err.splitlines():
        assert line.startswith(("error: ", "hint: ")), line


@pytest.mark.parametrize("verb", ["test", "perf"])
@pytest.mark.parametrize("arguments", [("other",), ("-R", "name"), ("other", "--", "-R", "name")])
def test_what_is_for_another_program_follows_two_dashes(
    envmatrix: Prompt, repository: Path, verb: str, arguments: tuple[str, ...]
) -> None:
    answer = envmatrix("run", verb, CELL, *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert answer.err.splitlines()[0].endswith("what is for the program that is run follows `--`")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compile", CELL, "other"), "got unexpected extra argument (other)"),
        (("compile", CELL, "--", "-j2"), "got unexpected extra argument (-j2)"),
        (("shell", CELL, "ls"), "got unexpected extra argument (ls)"),
        (("analyse", CELL, "other"), "got unexpected extra argument (other)"),
        (("test", CELL, "--shard", "0/3"), "`0/3` is no part of tests"),
        (("test", CELL, "--shard", "4/3"), "`4/3` is no part of tests"),
        (("test", CELL, "--shard", ""), "`` is no part of tests"),
        (("test", CELL, "--retries", "-1"), "invalid value for '--retries'"),
        (("test", CELL, "--explain"), "`--explain` is about `--since REV`"),
        (("test", CELL, "--shadow"), "`--shadow` is about `--since REV`"),
        (("test", CELL, "--memory", "9" * 20), "invalid value for '--memory'"),
        (("test", "--", CELL), "missing argument 'CELL'"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(
    envmatrix: Prompt, repository: Path, arguments: tuple[str, ...], message: str
) -> None:
    answer = envmatrix("run", *arguments)
    assert (answer.status, answer.out) == (2, "")
    assert message in answer.err


def test_the_usage_says_where_arguments_for_the_tests_go(envmatrix: Prompt) -> None:
    assert "[OPTIONS] CELL [-- ARGUMENT...]" in envmatrix("run", "test", "--help").out
