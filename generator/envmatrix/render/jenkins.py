"""A Jenkinsfile, its shared library, and a job for Jenkins Job Builder. Pure.

They are the same for every matrix: the plan at run time says which jobs there are.

https://www.jenkins.io/doc/book/pipeline/shared-libraries/
"""

from __future__ import annotations

from collections.abc import Mapping

from jinja2 import Environment as Jinja
from jinja2 import PackageLoader, StrictUndefined

from envmatrix.matrix.tier_names import TIERS
from envmatrix.pipeline import pip
from envmatrix.pipeline.outcomes import TEMPORARY_FAILURE

# Templates by path within the repository.
FILES: Mapping[str, str] = {
    "Jenkinsfile": "Jenkinsfile",
    "jenkins/vars/envmatrix.groovy": "envmatrix.groovy",
    "jenkins/vars/envmatrixAgent.groovy": "envmatrixAgent.groovy",
    "jenkins/src/org/envmatrix/Plan.groovy": "Plan.groovy",
    "jenkins/jobs.yaml": "jobs.yaml",
}
# How long a job waits for a machine.
_WAIT_MINUTES = 720
# What pip installs in a repository of envmatrix itself.
_OF_CHECKOUT = "-c constraints.txt -e ."


def files(
    banner: str, version: str, install: str | None = None, *, is_own: bool
) -> Mapping[str, str]:
    """Return texts by path within the repository. They run a `version` of envmatrix, from
    where `install` says, or that of the checkout (`is_own`)."""
    jinja = Jinja(
        loader=PackageLoader("envmatrix.render", "templates/jenkins"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 -- Groovy, not HTML
        keep_trailing_newline=True,
    )
    values = {
        "banner": banner,
        "version": version,
        "requirement": _OF_CHECKOUT if is_own else pip.arguments(version, install),
        "key": pip.key(version, install),
        "tiers": f"{['', *TIERS]}",
        "temporary_failure": TEMPORARY_FAILURE,
        "wait_minutes": _WAIT_MINUTES,
    }
    return {path: jinja.get_template(f"{name}.j2").render(values) for path, name in FILES.items()}
