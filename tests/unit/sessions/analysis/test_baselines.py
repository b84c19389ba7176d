from __future__ import annotations

from pathlib import Path

import pytest

from envmatrix.errors import ConfigurationError
from envmatrix.sessions.analysis.baselines import (
    Baseline,
    baseline_file,
    load_baseline,
    save_baseline,
)


def write(root: Path, text: str) -> None:
    file = baseline_file(root, "lib")
    file.parent.mkdir()
    file.write_text(text)


def test_what_was_accepted_is_read_again_for_its_cell_only(tmp_path: Path) -> None:
    accepted = Baseline(("a1",), {"libx.so": 7}, ("MIT",))
    save_baseline(tmp_path, "lib", "one", accepted)
    save_baseline(tmp_path, "lib", "two", Baseline())
    assert load_baseline(tmp_path, "lib", "one") == accepted
    assert load_baseline(tmp_path, "lib", "two") == Baseline()
    assert load_baseline(tmp_path, "lib", "three") == Baseline()
    assert load_baseline(tmp_path, "other", "one") == Baseline()


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cell": []}',
        '{"cell": {"findings": 1}}',
        '{"cell": {"sizes": {"a": 1e999}}}',
        '{"cell": {"sizes": {"a": "b"}}}',
        '{"cell": ' + "[" * 100_000,
        '{"cell": ' + "9" * 5_000 + "}",
    ],
)
def test_a_file_that_is_no_baseline_is_refused_with_a_way_out(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigurationError, match=r"`baselines/lib\.json` is no baseline") as broken:
        load_baseline(tmp_path, "lib", "cell")
    (problem,) = broken.value.problems
    assert "--update-baseline" in str(problem.hint)
