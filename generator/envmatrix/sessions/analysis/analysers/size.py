"""Sizes of products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from envmatrix.sessions.analysis.analysers.base import AnalysedBuild, Analyser, Examination
from envmatrix.sessions.analysis.baselines import Baseline
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.outcomes import Measurement

# By how much a file may grow, as a ratio and in bytes.
_GROWTH, _GROWTH_BYTES = 1.05, 4096


class Size(Analyser):
    has_own_baseline = True

    def examine(self, build: AnalysedBuild) -> Examination:
        sizes = {product.name: product.size for product in build.products}
        return Examination(
            tuple(grown_files(build.baseline.sizes, sizes)),
            [Measurement(f"size of {name}", size, "B", "lower") for name, size in sizes.items()],
            Baseline(sizes=sizes),
        )


def grown_files(baseline: Mapping[str, int], current: Mapping[str, int]) -> Iterator[Finding]:
    """Return a finding for each file that grew by more than 5 % and 4 kB since the baseline."""
    for name, size in sorted(current.items()):
        previous = baseline.get(name)
        if previous and size > previous * _GROWTH and size > previous + _GROWTH_BYTES:
            message = f"{name} has {size} bytes, {size - previous} more than in the baseline"
            yield Finding("size", "growth", message, name)
