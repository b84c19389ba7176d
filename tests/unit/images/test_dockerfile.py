from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import artifact, lock_of, matrix_of

from envmatrix.facts.recipes import shipped_recipes
from envmatrix.facts.systems import Compiler
from envmatrix.images.cuda_layers import Tree, Unpacking
from envmatrix.images.dockerfile import BANNER, dockerfile, mirror_argument, script
from envmatrix.images.environments import Environment, FileStage, environments
from envmatrix.images.fingerprint import stages
from envmatrix.lock.model import Artifact

AXES = """\
cuda: ["12.4", "13.0"]
cudnn: [none, "9.28"]
os: [debian12, debian13]
arch: [x86_64, aarch64]"""


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Environment, str]]:
    home = tmp_path_factory.mktemp("render")
    matrix = matrix_of(home / "repository", AXES)
    lock = lock_of(matrix, home / "scratch")
    found = environments(matrix, lock, shipped_recipes(), matrix.cells)
    return {environment.name: (environment, dockerfile(environment)) for environment in found}


@pytest.fixture(
    params=[
        "cuda12.4-cudnn9.28-debian12",
        "cuda12.4-debian13",
        "cuda13.0-cudnn9.28-debian13",
        "cuda13.0-debian12",
    ]
)
def pair(
    request: pytest.FixtureRequest, rendered: dict[str, tuple[Environment, str]]
) -> tuple[Environment, str]:
    return rendered[request.param]


@pytest.fixture
def text(pair: tuple[Environment, str]) -> str:
    return pair[1]


def steps(text: str, instruction: str) -> list[str]:
    """The instructions of one kind, with the lines they go on over."""
    return re.findall(rf"^{instruction} (?:.*\\\n)*.*$", text, re.MULTILINE)


def documents(text: str) -> list[str]:
    """The texts between `<<'EOF'` and `EOF`, which are programs."""
    return re.findall(r"^(?:RUN|COPY) .*<<'EOF'.*\n((?:.*\n)*?)EOF$", text, re.MULTILINE)


def test_it_says_who_wrote_it_and_asks_no_other_frontend(text: str) -> None:
    assert text.startswith(f"# {BANNER}\n")
    assert "syntax=" not in text
    head = "".join(takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))
    assert not re.search(r"^#\s*\w+\s*=", head, re.MULTILINE)


def test_it_is_text_of_whole_lines(text: str) -> None:
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert "\r" not in text
    assert "\t" not in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_no_step_has_a_network(text: str) -> None:
    assert steps(text, "RUN")
    assert all(step.startswith("RUN --network=none ") for step in steps(text, "RUN"))


def test_every_file_is_checked_and_comes_from_an_origin_that_is_told(text: str) -> None:
    arguments = [mirror_argument(origin) for origin in ("debian", "nvidia", "pypi")]
    origins = "|".join(re.escape(f"${{{argument}}}") for argument in arguments)
    added = steps(text, "ADD")
    assert added
    for step in added:
        assert re.fullmatch(rf"ADD --checksum=sha256:[0-9a-f]{{64}} (?:{origins})/\S+ /", step)


def test_the_argument_of_an_origin_has_its_name() -> None:
    assert mirror_argument("ubuntu-ports") == "UBUNTU_PORTS_MIRROR"


def test_every_stage_that_adds_files_takes_just_the_arguments_it_uses(text: str) -> None:
    for stage in stages(text).values():
        if "\nADD " in stage.text:
            taken = re.findall(r"^ARG (\w+)$", stage.text, re.MULTILINE)
            assert taken == sorted(set(re.findall(r"\$\{(\w+_MIRROR)\}", stage.text)))


def test_no_host_is_named(text: str) -> None:
    assert "//" not in text.replace("## ", "")
    assert ".example" not in text


def test_every_file_of_the_lock_is_there(pair: tuple[Environment, str]) -> None:
    environment, text = pair
    wanted = {item.sha256 for stage in environment.files for item in stage.artifacts}
    assert set(re.findall(r"sha256:([0-9a-f]{64})", text)) == wanted


def test_every_stage_that_is_used_is_there_before_it(text: str) -> None:
    seen: set[str] = set()
    machines = ("${TARGETARCH}", "${BUILDARCH}")
    for name, stage in stages(text).items():
        for used in stage.uses:
            if used == "scratch" or used.startswith("envmatrix/base:"):
                continue
            if any(machine in used for machine in machines):
                prefix = used.split("${", maxsplit=1)[0]
                assert any(known.startswith(prefix) for known in seen), used
            else:
                assert used in seen, f"{name} uses {used}"
        seen.add(name)


def test_every_image_is_a_stage(pair: tuple[Environment, str]) -> None:
    environment, text = pair
    assert {image.flavour for image in environment.images} <= set(stages(text))


def test_layers_are_copied_so_that_they_do_not_depend_on_what_is_below(text: str) -> None:
    copies = [step for step in steps(text, "COPY") if "/tree-" in step]
    assert copies
    assert all(step.startswith("COPY --link --from=") for step in copies)


def test_every_program_in_it_is_one(text: str) -> None:
    programs = documents(text)
    assert len(programs) >= 5
    for program in programs:
        checked = subprocess.run(["sh", "-n"], input=program, text=True, capture_output=True)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_the_scripts_are_in_it_as_they_are(text: str) -> None:
    for name, template in (("install.sh", "install.deb.sh"), ("tree.sh", "tree.sh")):
        assert f"COPY <<'EOF' /{name}\n{script(template, ENVIRONMENT)}EOF\n" in text


def test_files_that_an_image_brings_keep_their_times(tmp_path: Path, text: str) -> None:
    image = f"nvidia/cuda@sha256:{'1' * 64}"
    axes = 'cuda: ["12.4"]\nos: [ubuntu22.04]\narch: [x86_64]'
    rules = f"sources: [{{source: image, image: '{image}'}}]\n"
    matrix = matrix_of(tmp_path / "repository", axes, rules)
    lock = lock_of(matrix, tmp_path / "scratch")
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    assert '-newermt "@$start" -exec' in dockerfile(environment)
    assert '-newermt "@$SOURCE_DATE_EPOCH" -exec' in text


@pytest.mark.parametrize(
    ("policy", "requirement"),
    [("off", None), ("major", "cuda>=13.0"), ("release", "cuda>=13.5")],
)
def test_images_ask_for_the_driver_that_the_policy_says(
    tmp_path: Path, policy: str, requirement: str | None
) -> None:
    axes = 'cuda: ["13.5"]\nos: [debian12]\narch: [x86_64]'
    matrix = matrix_of(tmp_path / "repository", axes, f"policy: {{require_cuda: {policy}}}\n")
    lock = lock_of(matrix, tmp_path / "scratch")
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    asked = re.findall(r'NVIDIA_REQUIRE_CUDA="(.*)" ', dockerfile(environment))
    assert asked == ([requirement] * 2 if requirement else [])


AXES_OF_APT = 'cuda: ["13.2"]\nos: [debian13]\narch: [x86_64, aarch64]'


def test_forward_compatibility_is_in_the_runtime_image_alone(tmp_path: Path) -> None:
    matrix = matrix_of(
        tmp_path / "repository",
        AXES_OF_APT,
        "sources: [{source: nvidia-apt}]\npolicy: {cuda_compat: on}\n",
    )
    lock = lock_of(matrix, tmp_path / "scratch")
    (environment,) = environments(matrix, lock, shipped_recipes(), matrix.cells)
    found = stages(dockerfile(environment))
    first = "LD_LIBRARY_PATH=/usr/local/cuda/compat:/usr/local/cuda/lib64"
    assert first in found["runtime"].text
    for arch in ("amd64", "arm64"):
        assert "place compat 'usr/local/cuda-*/compat/*'" in found[f"cuda-compat-{arch}"].text
    for flavour in ("devel", "cross"):
        assert "compat" not in found[flavour].text
    assert {its.request.packages for key, its in lock.sets.items() if "-compat-" in key} == {
        ("cuda-compat-13-2@13.2",)
    }


def with_files(environment: Environment, files: Sequence[Artifact]) -> str:
    stage = FileStage("runtime-files-amd64", tuple(files))
    others = tuple(its for its in environment.files if its.stage != stage.stage)
    return dockerfile(replace(environment, files=(stage, *others)))


@pytest.mark.parametrize("count", [100, 101, 250])
def test_files_beyond_what_one_stage_can_add_are_added_by_several(
    pair: tuple[Environment, str], count: int
) -> None:
    files = [replace(artifact("a"), path=f"pool/{n}.deb") for n in range(count)]
    found = stages(with_files(pair[0], files))
    parts = [name for name in found if re.fullmatch(r"runtime-files-amd64(-\d+)?", name)]
    added = [re.findall(r"pool/(\d+)\.deb", found[name].text) for name in parts]
    assert [int(number) for names in added for number in names] == list(range(count))
    assert max(len(names) for names in added) <= 100
    if count > 100:
        assert found["runtime-files-amd64"].uses == ("scratch", *parts[:-1])


NAMES = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), min_size=1)


ENVIRONMENT = Environment(
    name="cuda13.0-debian12",
    os="debian12",
    cuda="13.0",
    cudnn=None,
    requirement=None,
    compat=False,
    gcc="12",
    compiler=Compiler("g++-12", "gcc-12", "g++-12"),
    installer="deb",
    sm=("75",),
    epoch=1,
    arches=("amd64",),
    bases=(),
    files=(),
    trees=(Tree("cuda-runtime-amd64", "files", "/usr/local/cuda-13.0", (), (), (), profile=False),),
    crosses=(),
    images=(),
)


@given(file=NAMES, pattern=NAMES, dropped=NAMES)
def test_names_reach_the_shell_as_they_are(file: str, pattern: str, dropped: str) -> None:
    environment = replace(
        ENVIRONMENT,
        trees=(
            replace(
                ENVIRONMENT.trees[0],
                unpackings=(Unpacking(file, (("lib", (pattern,)),)),),
                drop=(dropped,),
            ),
        ),
    )
    program = commands_of(dockerfile(environment))
    assert ["unpack", file, pattern] in program
    assert ["place", "lib", pattern] in program
    assert ["drop", dropped] in program


def commands_of(text: str) -> list[list[str]]:
    """The commands of the first tree, each as the words that the shell makes of it."""
    program = text.partition(". /scripts/tree.sh\n")[2].partition("\nfinish\nEOF\n")[0]
    return [shlex.split(line) for line in program.split("\n")]


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
@pytest.mark.parametrize("installer", ["deb", "rpm"])
@pytest.mark.parametrize("name", ["install.{}.sh", "unpack.{}.sh", "tree.sh"])
def test_the_scripts_are_good_for_every_shell(shell: str, installer: str, name: str) -> None:
    environment = replace(ENVIRONMENT, installer=installer)
    text = script(name.format(installer), environment)
    try:
        checked = subprocess.run([shell, "-n"], input=text, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip(f"there is no {shell}")
    assert (checked.returncode, checked.stderr) == (0, "")
