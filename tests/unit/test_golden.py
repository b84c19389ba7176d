"""Generated files of small repositories, as text: `pytest --update-golden` writes them anew.

A case has no lock, which is what locking finds in the world of the fakes. Dockerfiles and scripts
are as short as they can be read: an instruction or a command is a line, and so are all downloads of
a stage. Heads and scripts of the package are left out, and toolchains except for one case.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from tests.fakes import lock_of

from envmatrix.app.generated_files import CONSUMERS, ConsumerRequest, consumer_files, outputs
from envmatrix.app.workspace import DOCKERFILES, Workspace
from envmatrix.images import scripts
from envmatrix.lock.lock_file import FILE, dumps
from envmatrix.matrix.contents import json_schemas
from envmatrix.matrix.loading import load_matrix

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(file.parent.name for file in GOLDEN.glob("*/matrix.yaml"))
SHARED = {file.name for file in Path(scripts.__file__).parent.glob("templates/scripts/*")}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Path:
    return GOLDEN / str(request.param)


@pytest.fixture
def workspace(case: Path, tmp_path: Path) -> Workspace:
    root = tmp_path / "repository"
    shutil.copytree(case, root, ignore=shutil.ignore_patterns("expected"))
    lock = lock_of(load_matrix(root), tmp_path / "scratch")
    (root / FILE).write_text(dumps(lock), encoding="utf-8")
    return Workspace(root)


def test_there_are_cases() -> None:
    assert CASES


def texts_of(workspace: Workspace, case: Path) -> dict[str, str]:
    """Return the generated files by path, as a case has them."""
    texts = dict(outputs(workspace))
    if [*workspace.published]:
        for consumer in CONSUMERS:
            texts |= consumer_files(workspace, ConsumerRequest(consumer))
    own = (path for path in texts if path not in json_schemas() and is_own(Path(path), case))
    return {
        path: compact(texts[path]) if path.startswith(DOCKERFILES) else texts[path] for path in own
    }


def is_own(path: Path, case: Path) -> bool:
    is_toolchain = path.suffix in {".cmake", ".ini"}
    return path.name not in SHARED and not (
        is_toolchain and case.name not in ("targets", "compilers")
    )


def compact(text: str) -> str:
    head, _, rest = text.partition("\n\n")
    text = rest if head.startswith("# GENERATED") else text
    text = re.sub(r" \\\n *", " ", text).replace("\\\n", "")
    text = re.sub(r"^ADD --checksum=\S+ ", "ADD ", text, flags=re.MULTILINE)
    return text.replace(" /\nADD ", " ")


def test_the_generated_files(case: Path, workspace: Workspace, *, update_golden: bool) -> None:
    texts = texts_of(workspace, case)
    expected = case / "expected"
    if update_golden:
        shutil.rmtree(expected, ignore_errors=True)
        for path, text in texts.items():
            (expected / path).parent.mkdir(parents=True, exist_ok=True)
            (expected / path).write_text(text, encoding="utf-8")
    stored = {file for file in expected.rglob("*") if file.is_file()}
    assert {str(file.relative_to(expected)) for file in stored} == set(texts)
    for path, text in texts.items():
        assert (expected / path).read_text(encoding="utf-8") == text, path


def test_the_scripts_of_the_package_are_generated_as_they_are(workspace: Workspace) -> None:
    directory = Path(scripts.__file__).parent / "templates/scripts"
    shared = {path: text for path, text in outputs(workspace) if Path(path).name in SHARED}
    assert shared
    for path, text in shared.items():
        assert text == (directory / Path(path).name).read_text(encoding="utf-8")


def test_a_case_says_what_its_matrix_says(case: Path) -> None:
    matrix = load_matrix(case)
    assert matrix.cells
    if case.name == "debian_toolkit_without_arm64":
        assert [cell.id for cell in matrix.cells] == ["cuda12.4-debian13-x86_64"]
        assert [exclusion.cell.id for exclusion in matrix.exclusions] == [
            "cuda12.4-debian13-aarch64"
        ]
