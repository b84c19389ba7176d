from __future__ import annotations

import json

import pytest

from envmatrix.errors import EnvmatrixError
from envmatrix.sessions.analysis.analysers.abi import parse_abidiff
from envmatrix.sessions.analysis.analysers.clang_tidy import parse_clang_tidy
from envmatrix.sessions.analysis.analysers.coverage import tracefile
from envmatrix.sessions.analysis.analysers.cppcheck import parse_cppcheck
from envmatrix.sessions.analysis.analysers.licences import licences_by_package, new_licences
from envmatrix.sessions.analysis.analysers.sanitizers import parse_sanitizer
from envmatrix.sessions.analysis.analysers.size import grown_files
from envmatrix.sessions.analysis.findings import Finding, sarif

# As clang-tidy 14 prints it through run-clang-tidy, colours and all.
TIDY = """\
\x1b[1m/src/a.cpp:47:33: \x1b[0m\x1b[0;1;35mwarning: \x1b[0m\x1b[1m3 adjacent parameters \
[bugprone-easily-swappable-parameters]\x1b[0m
/usr/include/c++/12/vector:1:1: warning: of the system [bugprone-x]
/build/source/b.cpp:3:1: error: use of undeclared identifier 'x' [clang-diagnostic-error]
/src/a.cpp:9:1: warning: null [clang-analyzer-core.NullDereference,-warnings-as-errors]
"""

CPPCHECK = """\
<?xml version="1.0"?><results version="2"><cppcheck version="2.10"/><errors>
<error id="nullPointer" severity="error" msg="Null pointer dereference: p" verbose="long">
<location file="/src/a.cpp" line="9" column="2"/><location file="/src/a.cpp" line="8"/></error>
<error id="missingIncludeSystem" severity="information" msg="no"/>
<error id="x" severity="warning" msg="no"><location file="/usr/include/a.h" line="1"/></error>
</errors></results>
"""

ASAN = """\
==8==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x602000000014
    #0 0x55 in main /src/a.cpp:5
SUMMARY: AddressSanitizer: heap-buffer-overflow /src/tests/a.cpp:5:3 in main
SUMMARY: AddressSanitizer: 40 byte(s) leaked in 1 allocation(s).
"""
UBSAN = (
    "/src/a.cpp:3:7: runtime error: signed integer overflow: 2147483647 + 1 cannot be represented"
)
TSAN = "SUMMARY: ThreadSanitizer: data race /src/a.cpp:12 in worker()"


def test_clang_tidy_tells_of_the_librarys_own_files() -> None:
    findings = [(finding.file, finding.line, finding.rule, finding.level) for finding in
             parse_clang_tidy(TIDY.splitlines())]  # fmt: skip
    assert findings == [
        ("a.cpp", 47, "bugprone-easily-swappable-parameters", "warning"),
        ("b.cpp", 3, "clang-diagnostic-error", "error"),
        ("a.cpp", 9, "clang-analyzer-core.NullDereference", "warning"),
    ]


def test_cppcheck_tells_of_the_librarys_own_files() -> None:
    findings = list(parse_cppcheck(CPPCHECK))
    message = "Null pointer dereference: p"
    assert findings == [Finding("cppcheck", "nullPointer", message, "a.cpp", 9, "error")]
    with pytest.raises(EnvmatrixError, match="no XML"):
        list(parse_cppcheck("<results"))


def test_sanitizers_tell_what_and_where() -> None:
    first, second = parse_sanitizer("AddressSanitizer", ASAN.splitlines())
    assert (first.rule, first.file, first.line) == ("heap-buffer-overflow", "tests/a.cpp", 5)
    assert first.message == "heap-buffer-overflow in main"
    assert second.rule == "leak"
    (finding,) = parse_sanitizer("UndefinedBehaviorSanitizer", [UBSAN])
    assert (finding.rule, finding.file, finding.line) == ("signed integer overflow", "a.cpp", 3)
    (finding,) = parse_sanitizer("ThreadSanitizer", [TSAN])
    assert (finding.tool, finding.rule, finding.line) == ("ThreadSanitizer", "data race", 12)


def test_a_place_is_told_from_the_build_directory_too() -> None:
    lines = [
        "SUMMARY: AddressSanitizer: heap-buffer-overflow ../src/m.cpp:3 in past(int)",
        "../src/m.cpp:4:9: runtime error: load of address 0x55762abe37d4 with insufficient space",
    ]
    (beyond,) = parse_sanitizer("AddressSanitizer", lines[:1])
    (load,) = parse_sanitizer("UndefinedBehaviorSanitizer", lines[1:])
    assert (beyond.file, beyond.line, beyond.rule) == ("m.cpp", 3, "heap-buffer-overflow")
    assert (load.file, load.line) == ("m.cpp", 4)
    assert load.rule == "load of address 0 with insufficient space"


def test_abidiff_tells_what_breaks_and_not_what_was_only_added() -> None:
    lines = [
        "  [D] 'function int f(int)'    {_Z1fi}",
        "  [A] 'function int g()'    {_Z1gv}",
        "  [D] _Z1kv",
        "  [C] 'function void h(S*)' at a.cpp:1:1 has some indirect sub-type changes:",
        "Functions changes summary: 1 Removed, 1 Changed, 1 Added functions",
    ]
    findings = [(finding.message, finding.level) for finding in parse_abidiff("libx.so", lines)]
    assert findings == [
        ("function int f(int) is removed", "error"),
        ("_Z1kv is removed", "error"),
        ("function void h(S*) is changed", "error"),
    ]


def test_a_file_that_grows_much_is_told() -> None:
    before = {"a": 100_000, "b": 100_000, "c": 1_000, "gone": 5}
    now = {"a": 110_000, "b": 104_000, "c": 4_000, "new": 9}
    assert [finding.file for finding in grown_files(before, now)] == ["a"]


def test_a_licence_that_was_not_accepted_is_told() -> None:
    linked = licences_by_package(
        "libm.so.6\tlibc6\tLGPL-2.1\nlibx.so\t?\t?\nlibm.so.6\tlibc6\tGPL-2\n"
    )
    assert linked == {"libc6": ("LGPL-2.1", "GPL-2"), "libx.so": ("?",)}
    rules = [finding.rule for finding in new_licences(["LGPL-2.1"], linked)]
    assert rules == ["GPL-2", "?"]
    assert list(new_licences(None, linked)) == []


def test_sarif_has_a_run_for_each_tool_and_places_in_the_repository() -> None:
    document = sarif(
        [Finding("t", "r", "m", "a.cpp", 1), Finding("u", "s", "n", is_new=False)], "libs/a"
    )
    first, second = document["runs"]
    (result,) = first["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "libs/a/a.cpp"
    assert result["baselineState"] == "new"
    assert second["results"][0]["locations"] == []
    json.dumps(document)


def test_counts_of_one_line_in_several_programs_are_added() -> None:
    def gcov(file: str, *counts: tuple[int, int]) -> str:
        lines = [{"line_number": number, "count": count} for number, count in counts]
        return json.dumps({"files": [{"file": file, "lines": lines}]})

    documents = [
        gcov("/src/a.cpp", (1, 2), (2, 0)),
        gcov("a.cpp", (1, 1), (3, 0)),
        gcov("/usr/include/x.h", (1, 1)),
    ]
    trace = tracefile(documents, lambda name: name == "a.cpp")
    (file,) = trace["files"]
    assert [(line["line_number"], line["count"]) for line in file["lines"]] == [
        (1, 3),
        (2, 0),
        (3, 0),
    ]
    with pytest.raises(EnvmatrixError, match="gcov"):
        tracefile(["{"], lambda _name: True)
