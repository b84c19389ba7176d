"""The template of GitLab CI that runs the pipeline: it plans, and triggers a child pipeline. Pure.

https://docs.gitlab.com/ci/yaml/includes/, https://docs.gitlab.com/ci/components/
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from textwrap import indent
from typing import get_args

from envmatrix.matrix.tier_names import TIERS
from envmatrix.pipeline.gitlab import (
    CHILD_FILE,
    PARENT,
    PLAN_FILE,
    PLAN_JOB,
    WITHOUT_SECRETS,
    Installation,
)
from envmatrix.pipeline.model import Rerun

FILE = ".gitlab/envmatrix.yml"

_TEMPLATE = """\
# @BANNER@
# Include it in `.gitlab-ci.yml`:
#   include: {local: @FILE@}
# The same file is a component: `templates/envmatrix.yml` in a project of components.
spec:
  inputs:
    stage:
      default: test
      description: The stage of both jobs
@TAGS_INPUT@---
# Inputs of pipelines that people start. No script contains their text.
variables:
  ENVMATRIX_CI_CELLS:
    value: ""
    description: Cells, or patterns of cells, separated by spaces; empty for all
  ENVMATRIX_CI_LIBRARIES:
    value: ""
    description: Libraries, separated by spaces; empty for all
  ENVMATRIX_CI_TIER:
    value: ""
    options: @TIERS@
    description: Only the cells of a tier
  ENVMATRIX_CI_RERUN:
    value: none
    options: @RERUNS@
    description: What runs although its result is known

.envmatrix:
  stage: $[[ inputs.stage ]]
  # A newer push cancels pipelines of merge requests, and no others.
  rules:
    - if: $CI_MERGE_REQUEST_EVENT_TYPE == "merge_train"
      interruptible: false
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
      interruptible: true
    - if: $CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
      interruptible: false
    - if: $CI_PIPELINE_SOURCE =~ /^(api|chat|pipeline|schedule|trigger|web)$/
      interruptible: false

@PLAN_JOB@:
  extends: .envmatrix
@TAGS@  needs: []
  timeout: 30 minutes
  variables:
    # The revision that a change is compared with may be far.
    GIT_DEPTH: "0"
  before_script:
    - | # A plan needs no secrets.
@WITHOUT_SECRETS@
    - |
@INSTALL@
  script:
    - envmatrix ci plan --engine gitlab
  artifacts:
    paths: [@PLAN_FILE@, @CHILD_FILE@]
    expire_in: 1 week

# The state of this job is that of the child pipeline, whose last job fails if a result is missing.
envmatrix:
  extends: .envmatrix
  needs: [@PLAN_JOB@]
  variables:
    @PARENT@: $CI_PIPELINE_ID
  trigger:
    include:
      - artifact: @CHILD_FILE@
        job: @PLAN_JOB@
    strategy: depend
"""

# GitLab's schema refuses an empty list of tags.
_TAGS = "  tags: $[[ inputs.tags ]]\n"
_TAGS_INPUT = """\
    tags:
      type: array
      default: @DEFAULT@
      description: The tags of a runner that plans
"""


def template(installation: Installation, tags: Sequence[str], banner: str) -> str:
    """Return the text of the template, for a matrix with any number of cells. `tags` select the
    runner that plans; without any, every runner does."""
    values = {
        "BANNER": banner,
        "FILE": FILE,
        "TAGS_INPUT": _TAGS_INPUT if tags else "",
        "TAGS": _TAGS if tags else "",
        "DEFAULT": json.dumps(tags),
        "TIERS": json.dumps(["", *TIERS]),
        "RERUNS": json.dumps(get_args(Rerun)),
        "WITHOUT_SECRETS": indent(WITHOUT_SECRETS.rstrip(), 6 * " "),
        "INSTALL": indent(installation.script.rstrip(), 6 * " "),
        "PLAN_JOB": PLAN_JOB,
        "PLAN_FILE": PLAN_FILE,
        "CHILD_FILE": CHILD_FILE,
        "PARENT": PARENT,
    }
    text = _TEMPLATE
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text
