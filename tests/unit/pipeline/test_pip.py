"""What pip installs on machines of CI engines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from tests.unit.app.conftest import ONE, repository

from envmatrix import __version__
from envmatrix.app.generated_files import ConsumerRequest, consumer_files, write_consumer
from envmatrix.console import Console
from envmatrix.errors import ConfigurationError
from envmatrix.pipeline.pip import arguments, key

HASH = "0123456789abcdef" * 4
URL = f"https://files.example/envmatrix-1.2.3-py3-none-any.whl#sha256={HASH}"


@pytest.mark.parametrize(
    ("install", "words"),
    [
        (None, "envmatrix==1.2.3"),
        ("tools/e.whl", "./tools/e.whl"),
        ("tools/e.txt", "--require-hashes --requirement tools/e.txt"),
        (URL, f"'{URL}'"),
    ],
)
def test_pip_installs_what_the_matrix_says(install: str | None, words: str) -> None:
    assert arguments("1.2.3", install) == words


def test_installations_of_other_contents_are_kept_elsewhere(tmp_path: Path) -> None:
    def keys(install: str | None) -> str:
        script = f'echo "{key("1.2.3", install)}"'
        done = subprocess.run(
            ["/bin/sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    distinct = {keys(None), keys(URL)}
    for text in ("a", "b"):
        (tmp_path / "e.whl").write_text(text)
        distinct.add(keys("e.whl"))
    assert len(distinct) == 4


@pytest.mark.parametrize("consumer", ["comments", "github", "gitlab", "jenkins"])
@pytest.mark.parametrize("install", [None, "tools/e.whl", "tools/e.txt", URL])
def test_every_engine_installs_it(tmp_path: Path, consumer: str, install: str | None) -> None:
    section = f"ci: {{install: '{install}'}}\n" if install else ""
    workspace = repository(tmp_path / "repository", tmp_path / "scratch", f"{section}{ONE}")
    files = consumer_files(workspace, ConsumerRequest(consumer))
    (line,) = (
        line for text in files.values() for line in text.splitlines() if '/pip" install ' in line
    )
    assert line.endswith(f" {arguments(__version__, install)}")
    for path, text in files.items():
        if path.endswith((".yml", ".yaml")):
            assert [*yaml.safe_load_all(text)]


@pytest.mark.parametrize(
    "install",
    [
        "../e.whl",
        "/e.whl",
        "-e.whl",
        "e.zip",
        "a b.whl",
        "$(id).whl",
        "http://files.example/e.whl",
        "https://files.example/e.whl",
        URL[:-1],
        "envmatrix",
    ],
)
def test_what_is_not_safe_to_install_is_refused_with_its_place(
    tmp_path: Path, install: str
) -> None:
    text = f"ci:\n  install: '{install}'\n{ONE}"
    with pytest.raises(ConfigurationError, match=r"matrix\.yaml:\d+:\d+: .*a wheel"):
        repository(tmp_path / "repository", tmp_path / "scratch", text)


def test_what_cannot_be_installed_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, section, warning in (
        ("index", "", f"machines install `envmatrix=={__version__}` by pip"),
        ("file", "ci: {install: tools/e.whl}\n", "there is no file `tools/e.whl`"),
    ):
        root = tmp_path / name
        workspace = repository(root, tmp_path / f"scratch {name}", f"{section}{ONE}")
        write_consumer(workspace, ConsumerRequest("gitlab"), Console(0))
        assert warning in capsys.readouterr().err
    (root / "tools").mkdir()
    (root / "tools/e.whl").touch()
    write_consumer(workspace, ConsumerRequest("gitlab"), Console(0))
    assert "tools/e.whl" not in capsys.readouterr().err
