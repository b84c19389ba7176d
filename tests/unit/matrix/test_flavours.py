from __future__ import annotations

import pytest

from envmatrix.documents import parse_document
from envmatrix.facts.model import Facts
from envmatrix.facts.targets import package_triplet
from envmatrix.matrix.flavours import package_positions, read_flavours
from envmatrix.matrix.model import Matrix


def problems_of(facts: Facts, **files: str) -> list[tuple[str, str | None]]:
    documents = [parse_document(text.encode(), f"envs/{name}.yaml") for name, text in files.items()]
    _, problems = read_flavours(documents, facts)
    return [(str(problem), problem.hint) for problem in problems]


def test_a_flavour_comes_after_the_one_it_extends(shipped: Matrix) -> None:
    assert list(shipped.flavours) == ["runtime", "devel", "analysis", "cross", "dev"]
    lineage = [flavour.flavour for flavour in shipped.lineage("cross")]
    assert lineage == ["runtime", "devel", "cross"]


def test_package_names_are_filled_for_a_toolchain_and_a_target(shipped: Matrix) -> None:
    words = {"gcc": "12", "triplet": package_triplet("x86_64")}
    assert shipped.flavours["cross"].packages_for(shipped.facts.os["debian12"], words) == (
        "binutils-x86-64-linux-gnu",
        "g++-12-x86-64-linux-gnu",
    )


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("flavour: b", "flavour `b` is described in a file called `a`", None),
        ("flavour: a\nextend: b", "unknown key `extend`", "did you mean `extends`?"),
        ("flavour: a\nextends: b", "there is no flavour `b`", None),
        ("flavour: a\nextends: a", "flavour `a` extends itself", None),
        (
            "flavour: a\ncomponents: [nvc]",
            "unknown component `nvc`",
            "did you mean `nvcc`?",
        ),
        (
            "flavour: a\ncomponents: [compat]",
            "component `compat` cannot be listed: `policy` in matrix.yaml asks for it",
            "write `policy: {cuda_compat: ...}` there",
        ),
        (
            "flavour: a\ncomponents: [cudnn]",
            (
                "component `cudnn` cannot be listed: "
                "it comes with the cells that have it on the axis `cudnn`"
            ),
            None,
        ),
        (
            'flavour: a\npackages: ["g++-{gc}"]',
            "`g++-{gc}`: unknown placeholder `{gc}`",
            "did you mean `gcc`?",
        ),
        (
            'flavour: a\npackages: ["g++-{gcc"]',
            "`g++-{gcc` has a brace without its counterpart",
            None,
        ),
        (
            'flavour: a\npackages: ["zlib1g-dev:arm64"]',
            "`zlib1g-dev:arm64`: the packages of `a` are of the image's own architecture",
            (
                "write `zlib1g-dev:{target}`, which a cross image has for its target as well; or "
                "list it in `envs/cross.yaml`"
            ),
        ),
        (
            'flavour: a\npackages: ["zlib1g-dev:armhf"]',
            "`zlib1g-dev:armhf`: there are no packages of the architecture `armhf`",
            "write `zlib1g-dev:{target}`",
        ),
        (
            'flavour: a\npackages: ["zlib1g-dev:"]',
            "`zlib1g-dev:`: there are no packages of the architecture ``",
            "write `zlib1g-dev:{target}`",
        ),
        (
            'flavour: a\npackages: ["lib-{target}"]',
            "`lib-{target}`: unknown placeholder `{target}`",
            "did you mean `triplet`?",
        ),
        (
            'flavour: a\nfamilies: {rpm: ["zlib-devel:{target}"]}',
            (
                "`zlib-devel:{target}`: packages of the family `rpm` are of the image's own "
                "architecture"
            ),
            "only systems of the family `deb` have cross images",
        ),
        (
            "flavour: a\nsystems: {debian21: [x1]}",
            "unknown operating system `debian21`",
            "did you mean `debian13`?",
        ),
        (
            "flavour: a\nsystems: {bookworm: [x1]}",
            "unknown operating system `bookworm`",
            "did you mean `debian12`?",
        ),
        (
            'flavour: a\nsystems: {debian12: ["x-{gc}"]}',
            "`x-{gc}`: unknown placeholder `{gc}`",
            "did you mean `gcc`?",
        ),
        (
            'flavour: a\nsystems: {rockylinux9: ["zlib-devel:{target}"]}',
            (
                "`zlib-devel:{target}`: packages of the family `rpm` are of the image's own "
                "architecture"
            ),
            "only systems of the family `deb` have cross images",
        ),
        (
            "flavour: a\npackages: [A B]",
            "`packages[0]` must be a package name, not `A B`",
            None,
        ),
    ],
)
def test_a_mistake_in_a_flavour_is_told(
    facts: Facts, text: str, problem: str, hint: str | None
) -> None:
    problems = problems_of(facts, a=text)
    assert [(message.split(": ", 1)[1], advice) for message, advice in problems] == [
        (problem, hint)
    ]
    assert problems[0][0].startswith("envs/a.yaml:")


@pytest.mark.parametrize("package", ["zlib1g-dev:arm64", "zlib1g-dev:amd64", "zlib1g-dev:{target}"])
def test_a_cross_flavour_may_name_the_architectures_of_cross_images(
    facts: Facts, package: str
) -> None:
    assert problems_of(facts, cross=f'flavour: cross\npackages: ["{package}"]') == []


def test_the_architectures_that_a_cross_flavour_may_name_are_listed(facts: Facts) -> None:
    ((message, hint),) = problems_of(facts, cross='flavour: cross\npackages: ["a1:ppc64el"]')
    assert message.startswith("envs/cross.yaml:2:12: `a1:ppc64el`: there are no packages")
    assert hint == "write `a1:{target}` or `a1:amd64` or `a1:arm64`"


def test_flavours_that_extend_each_other_are_refused(facts: Facts) -> None:
    problems = problems_of(facts, a="flavour: a\nextends: b", b="flavour: b\nextends: a")
    assert [message for message, _ in problems] == [
        "envs/a.yaml:2:10: flavour `a` extends itself",
        "envs/b.yaml:2:10: flavour `b` extends itself",
    ]


NAMED = """\
flavour: a
packages: [cmake, "g++-{gcc}", "zlib1g-dev:{target}"]
families: {rpm: [cmake, fmt]}
systems:
  debian12: [libfmt9]
  debian13: [libfmt10, cmake]
"""


def test_a_system_has_the_packages_of_its_family_and_its_own(facts: Facts) -> None:
    flavours, problems = read_flavours([parse_document(NAMED.encode(), "envs/a.yaml")], facts)
    assert problems == []
    words = {"gcc": "12"}
    rows = {os: flavours["a"].packages_for(facts.os[os], words) for os in facts.os}
    assert rows["debian12"] == ("cmake", "g++-12", "zlib1g-dev", "libfmt9")
    assert rows["debian13"] == ("cmake", "g++-12", "zlib1g-dev", "libfmt10", "cmake")
    assert rows["rockylinux9"] == ("cmake", "fmt")


@pytest.mark.parametrize(
    ("package", "os", "positions"),
    [
        ("libfmt9", "debian12", ["5:14"]),
        ("libfmt9", "debian13", []),
        ("cmake", "debian12", ["2:12"]),
        ("cmake", "debian13", ["2:12", "6:24"]),
        ("cmake", "rockylinux9", ["3:18"]),
        ("g++-12", "debian12", ["2:19"]),
        ("zlib1g-dev:arm64", "debian12", ["2:32"]),
        ("zlib1g-dev", "debian12", ["2:32"]),
    ],
)
def test_the_places_of_a_package_are_those_that_its_system_uses(
    facts: Facts, package: str, os: str, positions: list[str]
) -> None:
    documents = [parse_document(NAMED.encode(), "envs/a.yaml")]
    places = package_positions(package, facts.os[os], documents, facts)
    assert [f"{place.line}:{place.column}" for place in places] == positions
