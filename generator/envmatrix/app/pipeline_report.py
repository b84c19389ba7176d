"""What became of a pipeline: its verdict, its pages and files for engines, and its results in the
store of a checkout."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from envmatrix.app.pipeline_files import JOBS, JOURNALS, RECORDS, PipelineFiles, revision_of
from envmatrix.app.workspace import Workspace
from envmatrix.confined.entries import Refused
from envmatrix.errors import ConfigurationError, LookupFailed
from envmatrix.files import remove_entry, write_whole
from envmatrix.jobs.model import VERB_OF, Job
from envmatrix.pipeline.model import Pipeline, PipelineJob
from envmatrix.pipeline.summary import Coverage, markdown
from envmatrix.pipeline.verdict import AllEvidence, Row, RunEnd, Verdict, mismatch, verdict
from envmatrix.records import dataclass
from envmatrix.results.job_records import JobRecords
from envmatrix.results.journal import LARGEST, write_ended
from envmatrix.results.location import Location
from envmatrix.results.passed_jobs import PassedJobs
from envmatrix.results.records import InvalidRecord, Record, Run, record_of
from envmatrix.sessions.analysis.findings import Finding, code_quality, merged_sarif, sarif
from envmatrix.sessions.junit import write_suites
from envmatrix.sessions.outcomes import COVERAGE, State, TestOutcome

SUMMARY, JUNIT, FINDINGS = "summary.md", "junit.xml", "findings.sarif"
# The same findings, as GitLab shows them.
CODE_QUALITY = "code-quality.json"
# The file of GitHub's that a step appends a page to.
_STEP_SUMMARY = "GITHUB_STEP_SUMMARY"
# More journals than these no job leaves: it has two attempts, with a few compilations each.
_MOST_JOURNALS = 100
_RUN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STATES: Mapping[str, State] = {
    "done": "passed",
    "reused": "passed",
    "waived": "passed",
    "flaky": "flaky",
    "skipped": "skipped",
    "failed": "errored",
    "infrastructure": "errored",
    "missing": "errored",
}

Warn = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PipelineReport:
    """The end of a pipeline, and the coverage of its analyses."""

    pipeline: Pipeline
    verdict: Verdict
    coverage: Coverage


def report_pipeline(workspace: Workspace, files: PipelineFiles, warn: Warn) -> PipelineReport:
    """Judge a pipeline, store its results, and write its page, its tests and its findings. Raise
    OutOfDate if it is one of another revision."""
    files.require_revision(revision_of(workspace.root, files.directory))
    pipeline = files.pipeline
    judged = verdict(pipeline, files.digest, _stored_evidence(workspace, files, warn))
    records = {row.job.id: record for row in judged.rows if (record := _record(files, row))}
    if pipeline.trigger.is_trusted:
        _keep(workspace, files, judged)
    coverage = _coverage(records)
    page = markdown(pipeline, judged, coverage)
    write_whole(files.directory / SUMMARY, page.encode(), 0o644)
    if target := os.environ.get(_STEP_SUMMARY):
        with Path(target).open("a", encoding="utf-8") as handle:
            handle.write(page)
    write_suites(files.directory / JUNIT, _suites(judged, records))
    _write_findings(workspace, files, judged, records)
    return PipelineReport(pipeline, judged, coverage)


def _job(job: PipelineJob) -> Job:
    """Return the job of the graph, as far as its name has it."""
    kind, *subject = job.name.split(" ")
    return Job(job.id, job.kind, tuple(subject) if kind == job.kind else (job.library, job.cell))


def _record(files: PipelineFiles, row: Row) -> Record | None:
    """Return the result of a job that ended by itself."""
    if row.outcome is None or row.job.kind == "image":
        return None
    records = _records(files, row.job)
    stored = records.find(_job(row.job)) if records else None
    return stored.record if stored else None


def coverage_of(files: PipelineFiles, job: PipelineJob) -> float | None:
    """Return the lines that tests execute, in percent, if a job is an analysis that knows them."""
    records = _records(files, job) if job.kind == "analyse" else None
    stored = records.find(_job(job)) if records else None
    return _coverage({job.id: stored.record}).get(job.id) if stored else None


def _coverage(records: Mapping[str, Record]) -> Coverage:
    return {
        key: measurement.value
        for key, record in records.items()
        for measurement in record.measurements
        if measurement.name == COVERAGE
    }


def _records(files: PipelineFiles, job: PipelineJob) -> JobRecords | None:
    """Return the records that a job left, unless its file of them is no regular one."""
    name = f"{JOBS}/{job.id}/{RECORDS}/{job.id[:2]}/{job.id}.jsonl"
    try:
        files.read(name, LARGEST)
    except Refused:
        return None
    return JobRecords(files.of_job(job.id) / RECORDS)


def _stored_evidence(workspace: Workspace, files: PipelineFiles, warn: Warn) -> AllEvidence:
    """Store the runs of all jobs of this plan in the results of a checkout, once; those of a
    pipeline that is not trusted in a store of the checkout's own. Return what they and the outcomes
    of jobs say."""
    location, pipeline = Location.of(workspace.root), files.pipeline
    if not pipeline.trigger.is_trusted:
        location = replace(location, url=location.own_store)
    location.prepare()
    evidence = {**files.evidence}
    for job in pipeline.jobs:
        outcome = evidence[job.id].outcome
        if outcome and not mismatch(outcome, job, pipeline.revision, files.digest):
            runs = []
            for record in _runs(files, job, warn):
                write_ended(location.journals, record)
                if _name_of(record.run, job) == job.name:
                    runs.append(RunEnd(record.end.state, record.counts))
            evidence[job.id] = replace(evidence[job.id], runs=runs)
    try:
        with location.open_store(warn):
            pass  # which stores what has ended
    except LookupFailed as error:  # as of a database that does not answer
        warn(f"{error.message}; the runs stay in `{location.journals}` until the next report")
    return evidence


def _runs(files: PipelineFiles, job: PipelineJob, warn: Warn) -> Iterator[Record]:
    """Yield the runs that a job left, without those that cannot be its own."""
    names = files.listed(f"{JOBS}/{job.id}/{JOURNALS}/*.jsonl")
    if len(names) > _MOST_JOURNALS:
        warn(f"`{job.name}` left {len(names)} journals; {_MOST_JOURNALS} of them are stored")
    for name in names[:_MOST_JOURNALS]:
        try:
            text = files.read(name, LARGEST).decode("utf-8", "replace")
            record = record_of(text.split("\n"))
            _require_own(record, PurePosixPath(name).stem, job)
        except (InvalidRecord, Refused) as error:
            warn(f"a journal of `{job.name}` is not stored: {error}")
        else:
            yield record


def _require_own(record: Record, name: str, job: PipelineJob) -> None:
    """Raise InvalidRecord for a run that another job would have to be the author of. A job may
    compile what it needs."""
    if record.run.id != name or not _RUN.fullmatch(name):
        raise InvalidRecord("its name is not the id of its run")
    is_needed = record.run.verb == "compile" and record.run.cell == job.cell
    if _name_of(record.run, job) != job.name and not is_needed:
        raise InvalidRecord("it is of another job")


def _name_of(run: Run, job: PipelineJob) -> str:
    """Return the name that a job has if it is the author of a run, and has the verb of `job`."""
    kind = job.kind if run.verb == VERB_OF.get(job.kind) and not run.extent else ""
    return " ".join(filter(None, (kind, run.library, run.cell, run.part, run.shard)))


def _keep(workspace: Workspace, files: PipelineFiles, judged: Verdict) -> None:
    """Keep the results of jobs as those of this user: the next plan reuses what passed, and knows
    what failed."""
    user, passed = JobRecords.of_user(), PassedJobs(Location.of(workspace.root))
    for row in judged.rows:
        if row.outcome is None or row.job.kind == "image":
            continue
        job, records = _job(row.job), _records(files, row.job)
        if records and (stored := records.find(job)):
            user.keep(job, stored.record.parts, stored.outputs)
            if stored.record.end.state == "passed":
                passed.add(job)


def _suites(
    judged: Verdict, records: Mapping[str, Record]
) -> Iterator[tuple[str, Sequence[TestOutcome]]]:
    """Yield the tests of each job, by its name; the job itself where no tests are known, or where
    they do not say why it is bad."""
    for row in judged.rows:
        record = records.get(row.job.id)
        outcomes = record.outcomes if record else ()
        says_why = any(outcome.state not in ("passed", "skipped") for outcome in outcomes)
        if not outcomes or (row.is_bad and not says_why):
            seconds = row.outcome.seconds if row.outcome else 0.0
            job = TestOutcome(row.job.kind, _STATES[row.state], seconds, row.message)
            outcomes = (*outcomes, job)
        yield row.job.name, outcomes


def _write_findings(
    workspace: Workspace, files: PipelineFiles, judged: Verdict, records: Mapping[str, Record]
) -> None:
    """Write the findings of all analyses as one file of SARIF, and as one for GitLab; none where
    nothing was analysed."""
    findings: dict[str, dict[Finding, None]] = {}
    paths = _paths(workspace)
    for row in judged.rows:
        if row.job.kind == "analyse" and (record := records.get(row.job.id)):
            of_library = findings.setdefault(paths.get(row.job.library, ""), {})
            of_library |= dict.fromkeys(record.findings)
    document = merged_sarif(sarif([*rows], path) for path, rows in findings.items())
    for name, contents in ((FINDINGS, document), (CODE_QUALITY, code_quality(document))):
        if findings:
            text = json.dumps(contents, indent=1)
            write_whole(files.directory / name, text.encode(), 0o644)
        else:
            remove_entry(files.directory / name)


def _paths(workspace: Workspace) -> Mapping[str, str]:
    """Return the directory of each library of the repository itself; none where the matrix cannot
    be read."""
    with suppress(ConfigurationError):
        return {each.name: each.path for each in workspace.matrix.variants if not each.source}
    return {}
