"""A workflow of GitHub Actions that answers commands in comments on pull requests. Pure.

It runs what the default branch has: never code of a pull request. Only `envmatrix ci comment` reads
the comment, and what it prints reaches programs as values of the environment.

https://docs.github.com/en/actions/reference/security/secure-use
"""

from __future__ import annotations

from envmatrix.pipeline import pip
from envmatrix.render.github import ACTIONS

FILE = ".github/workflows/envmatrix-comments.yml"

# Of the default branch, as for every comment.
_CHECKOUT = """\
      - uses: {action}
        with: {{persist-credentials: false}}
"""
_WORKFLOW = """\
# {banner}
name: envmatrix comments

on:
  issue_comment: # zizmor: ignore[dangerous-triggers] no code of a pull request runs
    types: [created]

permissions: {{}}

concurrency:
  group: envmatrix-comment-${{{{ github.event.comment.id }}}}
  cancel-in-progress: false

jobs:
  command:
    name: Read the command
    if: github.event.issue.pull_request && contains(github.event.comment.body, '/envmatrix')
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    permissions:
{contents}      pull-requests: read  # to ask for the branch of the pull request
    outputs:
      start: ${{{{ steps.comment.outputs.start }}}}
      number: ${{{{ steps.comment.outputs.number }}}}
      branch: ${{{{ steps.comment.outputs.branch }}}}
      cells: ${{{{ steps.comment.outputs.cells }}}}
      libraries: ${{{{ steps.comment.outputs.libraries }}}}
      tier: ${{{{ steps.comment.outputs.tier }}}}
      rerun: ${{{{ steps.comment.outputs.rerun }}}}
      answer: ${{{{ steps.comment.outputs.answer }}}}
    steps:
{checkout}      - name: Install envmatrix
        run: |
          python3 -m venv "$RUNNER_TEMP/envmatrix"
          "$RUNNER_TEMP/envmatrix/bin/pip" install {arguments}
      - name: Ask for the pull request
        env:
          GH_TOKEN: ${{{{ github.token }}}}
          NUMBER: ${{{{ github.event.issue.number }}}}
        run: gh api "repos/$GITHUB_REPOSITORY/pulls/$NUMBER" > "$RUNNER_TEMP/change.json"
      - name: Read the comment
        id: comment
        run: |
          "$RUNNER_TEMP/envmatrix/bin/envmatrix" ci comment --change-file "$RUNNER_TEMP/change.json"

  start:
    name: Start the pipeline, and answer
    needs: command
    if: needs.command.outputs.answer != ''
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    permissions:
      actions: write  # to start the workflow
      pull-requests: write  # to answer
    env:
      GH_TOKEN: ${{{{ github.token }}}}
      GH_REPO: ${{{{ github.repository }}}}
    steps:
      - name: Start the pipeline
        if: needs.command.outputs.start == 'true'
        env:
          BRANCH: ${{{{ needs.command.outputs.branch }}}}
          CELLS: ${{{{ needs.command.outputs.cells }}}}
          LIBRARIES: ${{{{ needs.command.outputs.libraries }}}}
          TIER: ${{{{ needs.command.outputs.tier }}}}
          RERUN: ${{{{ needs.command.outputs.rerun }}}}
        run: |
          set --
          [ -z "$CELLS" ] || set -- "$@" --raw-field=cells="$CELLS"
          [ -z "$LIBRARIES" ] || set -- "$@" --raw-field=libraries="$LIBRARIES"
          [ -z "$TIER" ] || set -- "$@" --raw-field=tier="$TIER"
          [ -z "$RERUN" ] || set -- "$@" --raw-field=rerun="$RERUN"
          gh workflow run envmatrix.yml --ref="$BRANCH" "$@"
      - name: Answer
        if: always()
        env:
          NUMBER: ${{{{ needs.command.outputs.number }}}}
          ANSWER: ${{{{ needs.command.outputs.answer }}}}
          OUTCOME: ${{{{ job.status }}}}
        run: |
          if [ "$OUTCOME" != success ]; then ANSWER="The pipeline could not be started."; fi
          printf '%s' "$ANSWER" | gh pr comment "$NUMBER" --body-file=-
"""


def comments_workflow(version: str, banner: str, install: str | None = None) -> str:
    """Return the YAML of the workflow, which installs a version of envmatrix, from where `install`
    says: a file is that of the default branch."""
    is_file = pip.is_file(install)
    return _WORKFLOW.format(
        banner=banner,
        arguments=pip.arguments(version, install),
        checkout=_CHECKOUT.format(action=ACTIONS["checkout"]) if is_file else "",
        contents="      contents: read  # of the file that pip installs\n" if is_file else "",
    )
