"""The child pipeline of GitLab CI, by the parser that GitLab's is made of, and its schema."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.gitlab import errors_of, jobs_of

from envmatrix.errors import ConfigurationError
from envmatrix.pipeline.gitlab import (
    LONGEST_NAME,
    MOST_BYTES,
    MOST_JOBS,
    MOST_NEEDS,
    Installation,
    child_pipeline,
    control_runner,
)
from envmatrix.pipeline.model import Pipeline, PipelineJob, Runner, Trigger
from envmatrix.pipeline.summary import coverage_line

INSTALLED = Installation("1.2.3", "registry.example:5000")
RUNNERS = {
    "h100": Runner("h100", "amd64", gpus=1, gpu="h100", gitlab=("h100",)),
    "x86_64": Runner("x86_64", "amd64", gitlab=("docker", "linux")),
}


def job(number: int, **changes: Any) -> PipelineJob:
    return replace(
        PipelineJob(
            id=hashlib.sha256(str(number).encode()).hexdigest(),
            name=f"compile lib{number} cuda13.5-debian12-x86_64",
            kind="compile",
            stage="compile",
            library=f"lib{number}",
            cell="cuda13.5-debian12-x86_64",
            needs=(),
            runner="x86_64",
            minutes=60,
            tier="pr",
            reason="",
            command=("envmatrix", "compile"),
        ),
        **changes,
    )


def pipeline(*jobs: PipelineJob, **trigger: Any) -> Pipeline:
    return Pipeline("0" * 40, Trigger(**trigger), jobs, RUNNERS)


def of_cells(count: int) -> Pipeline:
    """Return a pipeline that compiles and tests a library in so many cells."""
    jobs = []
    for number in range(count):
        cell = f"cuda13.{number}-debian12-clang18-python3.12-jetson-aarch64"
        compilation = job(2 * number, cell=cell, name=f"compile vectorops {cell}")
        name, needs = f"test vectorops {cell}", (compilation.id,)
        jobs += [
            compilation,
            job(2 * number + 1, cell=cell, name=name, kind="test", stage="test", needs=needs),
        ]
    return pipeline(*jobs)


def child_of(plan: Pipeline, installation: Installation = INSTALLED) -> Mapping[str, Any]:
    """Return what GitLab reads, whose parser is libyaml."""
    contents: Mapping[str, Any] = yaml.load(
        child_pipeline(plan, installation), Loader=yaml.CSafeLoader
    )
    return contents


def test_a_job_does_one_job_of_the_plan_on_a_runner_of_its_class() -> None:
    compilation = job(1)
    test = job(2, name="test lib", kind="test", stage="test", needs=(compilation.id,), minutes=90)
    jobs = jobs_of(child_of(pipeline(compilation, test)))

    assert [*jobs] == ["plan", compilation.name, "test lib", "envmatrix"]
    assert jobs["test lib"] == {
        "extends": ".envmatrix",
        "stage": "test",
        "tags": ["docker", "linux"],
        "needs": ["plan", compilation.name],
        "timeout": "100 minutes",
        "retry": {"max": 1, "exit_codes": [75]},
        "script": [
            "unset ENVMATRIX_CI_SIGNING_KEY COSIGN_PASSWORD",
            f'envmatrix ci run {test.id} --attempt "$attempt"',
        ],
        "artifacts": {
            "name": f"test-{test.group}-{test.id[:12]}",
            "when": "always",
            "paths": [f"build/ci/jobs/{test.id}/"],
            "reports": {"junit": f"build/ci/jobs/{test.id}/junit.xml"},
            "expire_in": "1 week",
        },
    }


def test_an_analysis_says_where_its_log_has_the_coverage() -> None:
    analysis = job(1, name="analyse lib", kind="analyse", stage="test")
    jobs = jobs_of(child_of(pipeline(analysis, job(2))))
    assert "coverage" not in jobs[job(2).name]
    pattern = jobs["analyse lib"]["coverage"].strip("/")
    assert re.findall(pattern, f"a\n{coverage_line(58.345)}\nb", re.MULTILINE) == ["58.34"]


@pytest.mark.parametrize("cells", [12, 535])
def test_gitlab_accepts_the_file_by_its_own_schema(cells: int) -> None:
    contents = child_of(of_cells(cells))

    assert errors_of(contents) == []
    broken = {**contents, "broken": {"script": "true", "retry": {"max": 3}}}
    assert errors_of(broken)


@pytest.mark.parametrize("cells", [12, 535, 999])
def test_jobs_are_those_of_the_plan_within_the_limits(cells: int) -> None:
    plan = of_cells(cells)
    text = child_pipeline(plan, INSTALLED)

    assert len(text) < MOST_BYTES
    assert len(jobs_of(json.loads(text))) == len(plan.jobs) + 2 <= MOST_JOBS


def test_a_plan_above_the_limits_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="2,402 jobs, and GitLab takes 2,000") as error:
        child_pipeline(of_cells(1200), INSTALLED)
    assert "ENVMATRIX_CI_TIER" in str(error.value.problems[0].hint)

    tags = tuple(f"a-long-label-of-a-runner-{number}" for number in range(80))
    runners = {"x86_64": replace(RUNNERS["x86_64"], gitlab=tags)}
    with pytest.raises(ConfigurationError, match="bytes, and GitLab takes 2,097,152"):
        child_pipeline(replace(of_cells(900), runners=runners), INSTALLED)


def test_a_job_with_more_needs_than_gitlab_takes_is_an_error() -> None:
    others = [job(number) for number in range(MOST_NEEDS)]
    needs = tuple(other.id for other in others)
    fitting = job(98, needs=needs[1:])
    child_pipeline(pipeline(*others, fitting), INSTALLED)

    with pytest.raises(ConfigurationError, match="needs 51 jobs, and GitLab takes 50"):
        child_pipeline(pipeline(*others, job(99, needs=needs)), INSTALLED)


def test_a_job_takes_the_results_of_all_that_its_needs_took() -> None:
    first = job(1)
    reused = job(2, needs=(first.id,), prospect="reused")
    last = job(3, needs=(reused.id,))
    jobs = jobs_of(child_of(pipeline(first, reused, last)))

    assert [*jobs] == ["plan", first.name, last.name, "envmatrix"]
    assert jobs[last.name]["needs"] == ["plan", first.name]


def test_a_plan_without_jobs_is_reported_too() -> None:
    contents = child_of(pipeline())

    assert [*jobs_of(contents)] == ["plan", "envmatrix"]
    assert errors_of(contents) == []


def test_the_last_job_waits_for_all_others_and_has_their_artifacts() -> None:
    contents = child_of(of_cells(2))
    report = contents["envmatrix"]

    assert contents["stages"][-1] == report["stage"]
    assert report["when"] == "always"
    assert report.keys().isdisjoint({"needs", "dependencies", "rules", "allow_failure"})


def test_every_failure_fails_the_pipeline() -> None:
    for row in jobs_of(child_of(of_cells(2))).values():
        assert row.keys().isdisjoint({"allow_failure", "rules"})
        assert row.get("when") != "manual"


@pytest.mark.parametrize(
    "name",
    ["plan", "envmatrix", "image", "pages", "true", ".hidden", "", " ", "x" * 256, "stages"],
)
def test_a_name_that_gitlab_reads_otherwise_becomes_another(name: str) -> None:
    contents = child_of(pipeline(job(1, name=name)))
    (own,) = [each for each in jobs_of(contents) if each not in ("plan", "envmatrix")]

    assert own.startswith("job ")
    assert own.endswith(f" {job(1).id[:12]}")
    assert len(own) <= LONGEST_NAME
    assert errors_of(contents) == []


def test_jobs_with_one_name_have_several() -> None:
    twins = [job(1, id="a" * 64, name="same"), job(2, id="b" * 64, name="same")]
    jobs = jobs_of(child_of(pipeline(*twins)))

    assert [*jobs][1:-1] == [f"job same {'a' * 12}", f"job same {'b' * 12}"]


@given(st.lists(st.text(), max_size=4), st.text())
def test_any_name_and_label_is_one_text_that_yaml_reads_as_json_does(
    names: Sequence[str], label: str
) -> None:
    jobs = [job(number, name=name) for number, name in enumerate(names)]
    runners = {"x86_64": replace(RUNNERS["x86_64"], gitlab=(label,))}
    text = child_pipeline(replace(pipeline(*jobs), runners=runners), INSTALLED)
    contents = yaml.load(text, Loader=yaml.CSafeLoader)

    assert contents == json.loads(text)
    assert len(jobs_of(contents)) == len(names) + 2
    assert (
        label.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        in (contents["plan"]["tags"][0])
    )


def test_hostile_text_is_in_no_script() -> None:
    hostile = "$(touch /tmp/x) `id` ${CI_JOB_TOKEN} '; exit 0 #\n::error::\x1b[31m\u202e😀"
    contents = child_of(
        pipeline(job(1, name=hostile, library=hostile, cell=hostile, command=(hostile,)))
    )

    scripts = json.dumps([row["script"] for row in jobs_of(contents).values()])
    assert "touch" not in scripts
    assert "$(touch /tmp/x) `id` ${CI_JOB_TOKEN} '; exit 0 #" in [*contents][-2]


def test_only_a_trusted_pipeline_logs_in_and_only_its_image_jobs_have_tokens() -> None:
    image = job(1, name="image base", kind="image", stage="images")
    signed = replace(INSTALLED, is_signed=True)
    trusted = child_of(pipeline(image, job(2)), signed)
    fork = child_of(pipeline(image, job(2), kind="pull_request", is_trusted=False), signed)

    assert [name for name, row in jobs_of(trusted).items() if "id_tokens" in row] == ["image base"]
    assert trusted["image base"]["id_tokens"] == {
        "REGISTRY_ID_TOKEN": {"aud": "https://registry.example:5000"},
        "SIGSTORE_ID_TOKEN": {"aud": "sigstore"},
    }
    assert "docker login" in json.dumps(trusted)
    assert "SIGNING_KEY" not in json.dumps(trusted["image base"])
    assert "docker login" not in json.dumps(fork)
    assert "unset ENVMATRIX_REGISTRY_PASSWORD" in fork[".envmatrix"]["before_script"][0]
    assert "id_tokens" not in json.dumps(fork)
    assert errors_of(trusted) == errors_of(fork) == []


def test_a_newer_push_cancels_only_pipelines_of_merge_requests() -> None:
    assert child_of(pipeline(kind="pull_request"))[".envmatrix"]["interruptible"] is True
    for kind in ("merge_group", "push", "schedule", "manual"):
        assert child_of(pipeline(kind=kind))[".envmatrix"]["interruptible"] is False


def test_no_job_writes_to_a_cache_or_configures_the_engine() -> None:
    text = child_pipeline(of_cells(2), INSTALLED)

    assert '"cache"' not in text
    assert "daemon.json" not in text
    assert "systemctl" not in text


def test_the_first_class_without_a_gpu_plans_and_reports() -> None:
    contents = child_of(pipeline(job(1, runner="h100")))

    assert contents["plan"]["tags"] == contents["envmatrix"]["tags"] == ["docker", "linux"]
    assert contents[job(1).name]["tags"] == ["h100"]
    assert control_runner([RUNNERS["h100"]]) is RUNNERS["h100"]
    assert control_runner([]) is None


def test_a_class_without_tags_takes_any_runner() -> None:
    runners = {"x86_64": Runner("x86_64", "amd64")}
    contents = child_of(replace(pipeline(job(1)), runners=runners))

    assert all("tags" not in row for row in jobs_of(contents).values())
