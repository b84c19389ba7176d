from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from envmatrix.errors import ConfigurationError
from envmatrix.machine.configuration import (
    SharedCache,
    configured_cluster,
    configured_compiler_cache,
    configured_keyring,
    configured_mirror,
    configured_mirrors,
    configured_results,
    configured_sdk,
    configured_sdks,
)


def write(directory: Path, text: str) -> Path:
    file = directory / "config.toml"
    file.write_text(text)
    return file


def test_no_configuration_names_no_mirror(tmp_path: Path) -> None:
    assert configured_mirrors(tmp_path / "none.toml") == {}
    assert configured_mirrors(write(tmp_path, 'theme = "dark"\n')) == {}


def test_a_mirror_of_nvidias_packages_may_have_a_key_of_its_own(tmp_path: Path) -> None:
    assert configured_keyring(tmp_path / "none.toml") is None
    key = tmp_path / "our key.gpg"
    key.touch()
    assert configured_keyring(write(tmp_path, f'[keyrings]\nnvidia = "{key}"\n')) == key


def test_a_licensed_sdk_is_where_the_user_says(tmp_path: Path) -> None:
    file = write(tmp_path, f'[sdks]\nqnx = "{tmp_path}"\n')
    assert configured_sdk(file, "qnx") == tmp_path
    with pytest.raises(ConfigurationError) as caught:
        configured_sdk(file, "drive")
    (problem,) = caught.value.problems
    assert "nothing on this machine says where the SDK `drive` is" in str(problem)
    assert str(file) in str(problem.hint)
    assert '`drive = "/path/of/the/sdk"`' in str(problem.hint)
    with pytest.raises(ConfigurationError) as caught:
        configured_sdk(file, "nvhpc-26.5")
    assert '`"nvhpc-26.5" = "/path/of/the/sdk"`' in str(caught.value.problems[0].hint)
    other = write(tmp_path, f'[sdks]\n"nvhpc-26.5" = "{tmp_path}"\n')
    assert configured_sdk(other, "nvhpc-26.5") == tmp_path


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("mirror", configured_mirror),
        ("results", configured_results),
        ("compiler_cache", configured_compiler_cache),
    ],
)
def test_a_place_is_text(tmp_path: Path, name: str, load: Callable[[Path], object]) -> None:
    assert load(tmp_path / "none.toml") is None
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, f"{name} = 1"))
    (problem,) = caught.value.problems
    assert str(problem).endswith(f"config.toml:1:{len(name) + 4}: `{name}` must be text")
    assert f'write for example `{name} = "' in str(problem.hint)


def test_a_place_is_as_it_is_written(tmp_path: Path) -> None:
    file = write(tmp_path, 'mirror = "here"\nresults = "there"\n')
    assert (configured_mirror(file), configured_results(file)) == ("here", "there")


@pytest.mark.parametrize(
    ("text", "cache"),
    [
        ("redis://cache.example", SharedCache("redis://cache.example")),
        (
            "rediss://user:a@cache.example:6380/2",
            SharedCache("rediss://user:a@cache.example:6380/2"),
        ),
        ("https://cache.example/ccache write", SharedCache("https://cache.example/ccache", True)),
        ("s3://our-objects/prefix  write", SharedCache("s3://our-objects/prefix", True)),
        ("/mnt/our cache", SharedCache("/mnt/our cache")),
        ("/mnt/our cache write", SharedCache("/mnt/our cache", True)),
    ],
)
def test_a_shared_cache_is_read_only_without_a_word(
    tmp_path: Path, text: str, cache: SharedCache
) -> None:
    assert configured_compiler_cache(tmp_path / "none.toml") is None
    assert configured_compiler_cache(write(tmp_path, f'compiler_cache = "{text}"\n')) == cache


_NEITHER = "it is neither an absolute directory nor a URL of `redis`, `rediss`,"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cache.example:6379", _NEITHER),
        ("ftp://cache.example", _NEITHER),
        ("mnt/cache", _NEITHER),
        ("write", _NEITHER),
        ("redis://cache.example wirte", "the only word behind a location is `write`"),
        ("redis://cache.example read write", "the only word behind a location is `write`"),
        ("redis://:6379", "the URL has no host"),
        ("redis://cache.example:port", "it is no URL: "),
        ("redis://[cache.example", "it is no URL: "),
        ("redis://cache.example/solver", "the path of Redis is the number of a database"),
        ("redis://cache.example?db=1", "the URL has more than a path"),
        ("s3://Bucket", "it is no name of a bucket"),
        ("s3://bucket/a+b", "it is no name of a bucket"),
        ("/mnt/\\u0000", "a directory has no control characters"),
    ],
)
def test_a_mistake_in_the_shared_cache_has_its_position(
    tmp_path: Path, text: str, problem: str
) -> None:
    file = write(tmp_path, f'mirror = "/srv"\n compiler_cache = "{text}"\n[trust]\n')
    with pytest.raises(ConfigurationError) as caught:
        configured_compiler_cache(file)
    (mistake,) = caught.value.problems
    assert str(mistake).startswith(f"{file}:2:19: `compiler_cache`: {problem}")
    assert 'write for example `compiler_cache = "redis://' in str(mistake.hint)


@pytest.mark.parametrize(
    ("load", "text", "problem"),
    [
        (
            configured_sdks,
            "sdks = 1",
            "`sdks` must name some of `drive`, `nvhpc-",
        ),
        (
            configured_sdks,
            '[sdks]\nqnix = "/opt"',
            "`sdks` must name some of `drive`, `nvhpc-",
        ),
        (configured_sdks, "[sdks]\nqnx = 1", "the SDK `qnx` is no directory: `1`"),
        (configured_sdks, '[sdks]\nqnx = "opt"', "the SDK `qnx` is no directory: `opt`"),
        (
            configured_sdks,
            '[sdks]\nqnx = "/nonesuch"',
            "the SDK `qnx` is no directory: `/nonesuch`",
        ),
        (configured_keyring, "keyrings = 1", "`keyrings` must name one of `nvidia`"),
        (configured_keyring, "[keyrings]\nnvidia = 1", "`keyrings` must name one of `nvidia`"),
        (
            configured_keyring,
            '[keyrings]\ndebian = "/a.gpg"',
            "`keyrings` must name one of `nvidia`",
        ),
        (
            configured_keyring,
            '[keyrings]\nnvidia = "a.gpg"',
            "the keyring `a.gpg` is no file to read",
        ),
        (
            configured_keyring,
            '[keyrings]\nnvidia = "/nonesuch.gpg"',
            "the keyring `/nonesuch.gpg` is no file to read",
        ),
    ],
)
def test_a_mistake_in_sdks_and_keyrings_is_told(
    tmp_path: Path, load: Callable[[Path], object], text: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, text))
    assert problem in str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[mirrors]\ndebian "x"\n', ":2:8: Expected '=' after a key in a key/value pair"),
        ('[mirrors]\ndebian = "x', "is no TOML: Unterminated string (at end of document)"),
        ('mirrors = "https://mirror.example"\n', ": `mirrors` must be a table"),
        ("[mirrors]\ndebian = 1\n", "mirrors of `debian` must be a URL or a list of URLs"),
        ('[mirrors]\ndebian = "mirror.example"\n', "must be a URL or a list of URLs"),
        ('[mirrors]\ndebian = "file:///srv/debian"\n', "must be a URL or a list of URLs"),
        ('[mirrors]\ndebian = ["https://[bad"]\n', "must be a URL or a list of URLs"),
        ('[mirrors]\ndebain = "https://mirror.example"\n', "there is no origin `debain`"),
    ],
)
def test_a_mistake_in_the_configuration_is_told(tmp_path: Path, text: str, problem: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        configured_mirrors(file)
    (mistake,) = caught.value.problems
    assert str(file) in str(mistake)
    assert problem in str(mistake)


def test_a_configuration_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        configured_mirrors(tmp_path / "config.toml")


CLUSTER = """\
[kubernetes]
namespace = "builds"
repository = "registry.example/jobs"
tool_image = "registry.example/tool"
"""


def test_a_cluster_is_what_its_table_says(tmp_path: Path) -> None:
    settings = configured_cluster(write(tmp_path, f"{CLUSTER}gpus = 2\nprocessors = 64\n"))
    assert (settings["namespace"], settings["gpus"], settings["processors"]) == ("builds", 2, 64)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "`[kubernetes]` does not say which cluster"),
        ('[kubernetes]\nnamespace = "builds"\n', "`[kubernetes]` lacks `repository`"),
        (f"{CLUSTER}gpus = true\n", "`gpus` of `[kubernetes]` is not valid"),
        (f"{CLUSTER}gpus = 0\n", "`gpus` of `[kubernetes]` is not valid"),
        (f"{CLUSTER}gpu_models = [1]\n", "`gpu_models` of `[kubernetes]` is not valid"),
        (f"{CLUSTER}gpu_models = 'h100'\n", "`gpu_models` of `[kubernetes]` is not valid"),
        (f"{CLUSTER}memory = -1\n", "`memory` of `[kubernetes]` is not valid"),
        (f"{CLUSTER}gpu = 1\n", "`gpu` of `[kubernetes]` is not valid"),
        (f'{CLUSTER}node_selector = "ci"\n', "`node_selector` of `[kubernetes]` is not valid"),
    ],
)
def test_a_mistake_about_a_cluster_is_told(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configured_cluster(write(tmp_path, text))
    (mistake,) = caught.value.problems
    assert problem in str(mistake)
    assert "the page `executors` of the documentation has an example" in str(mistake.hint)


def test_a_shared_cache_that_was_chosen_replaces_the_configured_one(tmp_path: Path) -> None:
    file = write(tmp_path, 'compiler_cache = "redis://cache.example"\n')
    chosen = "s3://our-objects write"
    assert configured_compiler_cache(file, chosen) == SharedCache("s3://our-objects", True)
    assert configured_compiler_cache(file, "") == SharedCache("redis://cache.example")
    with pytest.raises(ConfigurationError, match=r"`\$ENVMATRIX_SHARED_CACHE`: ") as caught:
        configured_compiler_cache(file, "ftp://user:hunter2@cache.example")
    assert "hunter2" not in str(caught.value)
