from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from envmatrix.errors import ConfigurationError
from envmatrix.results.waivers import FILE, load_waivers

GOOD = """\
version: "1"
waivers:
  - {test: "gpu_*", owner: ana, bug: BUG-1, expires: 2027-01-31}
  - {test: t, library: lib, cell: "cuda12*", owner: bo, bug: BUG-2, expires: 2026-01-01}
"""


def test_no_file_is_no_waiver(tmp_path: Path) -> None:
    assert load_waivers(tmp_path) == ()


def test_a_waiver_says_what_who_why_and_until_when(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(GOOD)
    first, second = load_waivers(tmp_path)
    assert (first.test, first.library, first.cell) == ("gpu_*", "*", "*")
    assert (first.owner, first.bug, first.expires) == ("ana", "BUG-1", date(2027, 1, 31))
    assert str(first.position) == "waivers.yaml:3:5"
    assert (second.library, second.cell) == ("lib", "cuda12*")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{test: t, owner: o, bug: b}", "waivers.yaml:3:5: `waivers[0].expires` is missing"),
        ("{test: t, owner: o, expires: 2026-01-01}", "`waivers[0].bug` is missing"),
        (
            "{test: t, owner: o, bug: b, expires: soon}",
            "waivers.yaml:3:42: `waivers[0].expires` must be a day such as `2027-01-31`: `soon`",
        ),
        ("{test: t, owner: o, bug: b, expires: 2026-02-30}", "must be a day"),
        ("{tset: t, owner: o, bug: b, expires: 2026-01-01}", "unknown key `waivers[0].tset`"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / FILE).write_text(f'version: "1"\nwaivers:\n  - {line}\n')
    with pytest.raises(ConfigurationError) as caught:
        load_waivers(tmp_path)
    assert message in str(caught.value)
