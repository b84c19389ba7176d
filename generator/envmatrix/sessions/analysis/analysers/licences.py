"""Licences of the packages that products are linked with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from envmatrix.sessions.analysis.analysers.base import AnalysedBuild, Analyser, Examination
from envmatrix.sessions.analysis.baselines import Baseline
from envmatrix.sessions.analysis.findings import Finding
from envmatrix.sessions.context import BUILD

# Prints `library<TAB>package<TAB>licence` of each shared library that files need: what the dynamic
# linker would take, the package that has it, and what its copyright file says.
_LIST = r"""
for file; do readelf -d "$file" 2>/dev/null; done |
  sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p' | sort -u |
while read -r name; do
  path=$(ldconfig -p | sed -n "s,^[[:space:]]*$name .* => ,,p" | head -n1)
  [ -n "$path" ] || { printf '%s\t?\t?\n' "$name"; continue; }
  package=$(dpkg-query -S "$path" "$(readlink -f "$path")" 2>/dev/null | head -n1 | cut -d: -f1)
  copyright=/usr/share/doc/$package/copyright
  if [ -n "$package" ] && [ -f "$copyright" ]; then
    sed -n 's/^License: *//p' "$copyright" | sort -u | sed "s,^,$name\t$package\t,"
    grep -q '^License:' "$copyright" || printf '%s\t%s\tsee its copyright file\n' "$name" "$package"
  else
    printf '%s\t%s\t?\n' "$name" "${package:-?}"
  fi
done
"""


class Licences(Analyser):
    def examine(self, build: AnalysedBuild) -> Examination:
        files = [f"{BUILD}/{product.path}" for product in build.products if product.machine]
        output = build.output_of("licences", ["sh", "-c", _LIST, "sh", *files])
        current = licences_by_package(output)
        text = json.dumps(current, indent=2, sort_keys=True)
        (build.context.directory / "licences.json").write_text(text, encoding="utf-8")
        names = sorted({licence for licences in current.values() for licence in licences})
        findings = tuple(new_licences(build.baseline.licences, current))
        return Examination(findings, accepted=Baseline(licences=tuple(names)))


def licences_by_package(text: str) -> Mapping[str, tuple[str, ...]]:
    """Parse the output of `_LIST`; a library that no package owns goes by its own name."""
    by_package: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, package, licence = (*line.split("\t"), "", "")[:3]
        by_package.setdefault(name if package == "?" else package, []).append(licence)
    return {package: tuple(dict.fromkeys(licences)) for package, licences in by_package.items()}


def new_licences(
    baseline: Iterable[str] | None, current: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Return the licences of linked packages that the baseline does not have; nothing without a
    baseline."""
    if baseline is None:
        return
    accepted = set(baseline)
    for package, licences in sorted(current.items()):
        for licence in licences:
            if licence not in accepted:
                message = f"`{package}`, which is linked, has the licence `{licence}`"
                yield Finding("licences", licence, message, package)
