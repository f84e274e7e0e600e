"""The `lethe` command."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import ExitCode, LetheError
from schemas.job import Job, load_job

if TYPE_CHECKING:
    from runners.stages import Session

Summary = dict[str, Any]
Command = Callable[[argparse.Namespace, list[str]], tuple[ExitCode, Summary]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. What follows `--` goes to Beam."""
    ours, beam_options = _split(list(sys.argv[1:] if arguments is None else arguments))
    options = build_parser().parse_args(ours)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # Beam says at every start that its Google Cloud extra is not installed.
    logging.getLogger().addFilter(lambda record: "apitools" not in record.getMessage())
    os.environ.setdefault("LANCE_LOG", "WARN")  # else Lance tells how long each index took
    command: Command = options.command
    try:
        code, summary = command(options, beam_options)
    except LetheError as error:
        if options.debug:
            raise
        sys.stderr.write(f"lethe: {error}\n")
        return int(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("lethe: stopped; run the same command again to go on\n")
        return int(ExitCode.FAILED)
    if options.json:
        sys.stdout.write(json.dumps(summary, indent=2, ensure_ascii=True) + "\n")
    else:
        from runners.summary import print_summary

        print_summary(summary)
    return int(code)


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="lethe",
        description="Find a country's likely residents in a face-image database, erase them, and prove it.",
        epilog="What follows -- goes to Beam: lethe run JOB -- --runner=FlinkRunner. "
        "Exit codes: 0 done, 1 failed, 2 bad usage or input, 3 verification failed, 4 a manifest is refused.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str,
        command: Command,
        text: str,
        job: bool = True,
        commands: "argparse._SubParsersAction[argparse.ArgumentParser]" = commands,
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if job:
            sub.add_argument("job", metavar="JOB", type=Path, help="a job file, or a folder with a job.toml")
        sub.add_argument("--json", action="store_true", help="print a machine-readable summary")
        sub.add_argument("--debug", action="store_true", help="show errors whole; they may hold personal data")
        sub.set_defaults(command=command)
        return sub

    demo = add("demo", run_demo, "write a whole example job with known truth", job=False)
    demo.add_argument("folder", metavar="DIR", type=Path)
    demo.add_argument("--subjects", type=int, default=2000)
    demo.add_argument("--seed", type=int, default=7)
    demo.add_argument(
        "--databases", default="", metavar="KINDS", help="more stores of the same faces: deepface,faiss,lance,delta"
    )
    for name, command, text in (
        ("run", run_all, "score, plan, and with --execute purge and verify, then report"),
        ("purge", run_purge, "show what the manifests would destroy; with --execute destroy it"),
    ):
        add(name, command, text).add_argument("--execute", action="store_true", help="really destroy data")
    add("score", run_score, "score every subject")
    add("plan", run_plan, "write the deletion manifests")
    verify = add("verify", run_verify, "check independently that what is listed is gone and nothing else")
    verify.add_argument(
        "--finish",
        action="store_true",
        help="then destroy the fingerprints: no later verification can look for vectors",
    )
    residue = add("residue", run_residue, "count which listed ids and vectors the stores' files still give away")
    residue.add_argument("--prepare", action="store_true", help="first note the vectors to look for, before a purge")
    residue.add_argument("--outputs", action="store_true", help="also look for vectors in what lethe itself wrote")
    canary = add("canary", lambda *_: (ExitCode.DONE, {}), "prove an erasure on synthetic people", job=False)
    steps = canary.add_subparsers(required=True, metavar="STEP")
    planted = add("plant", run_canary_plant, "show, and with --execute write, synthetic people", commands=steps)
    planted.add_argument("--execute", action="store_true", help="really write into records and stores")
    add("check", run_canary_check, "look for them after a purge, everywhere", commands=steps)
    add("report", run_report, "write out/report.html")
    add("approve", run_approve, "sign the manifests").add_argument("--key", type=Path, required=True, metavar="FILE")
    add("explain", run_explain, "say why a subject is, or is not, on each manifest").add_argument(
        "--subject", required=True, metavar="ID"
    )
    _add_measuring(add)
    return parser


def _add_measuring(add: Callable[..., argparse.ArgumentParser]) -> None:
    """The commands that judge lethe itself: what a model knows, what a run missed."""
    estimate = add("estimate", run_estimate, "estimate a model from the job's own records, with labels or without")
    estimate.add_argument("--out", type=Path, required=True, metavar="FILE", help="the model to write")
    estimate.add_argument("--labels", type=Path, metavar="FILE", help="Parquet with subject_id and country")
    evaluate = add("evaluate", run_evaluate, "compare the scores with known countries of residence")
    evaluate.add_argument("--truth", type=Path, required=True, metavar="FILE")
    threshold = add("threshold", run_threshold, "find the review_at that guarantees a recall")
    threshold.add_argument("--labels", type=Path, required=True, metavar="FILE")
    audit = add("audit", lambda *_: (ExitCode.DONE, {}), "test how many a run has missed", job=False)
    steps = audit.add_subparsers(required=True, metavar="STEP")
    sample = add("sample", run_audit_sample, "fix the plan, then draw the blind sample", commands=steps)
    sample.add_argument("--n", type=int, required=True, help="subjects to draw for each jurisdiction")
    sample.add_argument("--seed", type=int, required=True)
    sample.add_argument("--precision", type=float, help="also require this precision of what is erased")
    sample.add_argument("--sensitivity", type=float, default=1.0, help="share of residents the annotators recognise")
    sample.add_argument("--dry-run", action="store_true", help="show the plan and write nothing")
    result = add("result", run_audit_result, "judge the labels of the sample", commands=steps)
    result.add_argument("--labels", type=Path, required=True, metavar="FILE")
    result.add_argument("--seal", help="the digest that was written down when the sample was drawn")
    for command in (threshold, sample):
        command.add_argument("--recall", type=float, default=0.95)
        command.add_argument("--confidence", type=float, default=0.95)


def run_demo(options: argparse.Namespace, _: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe demo DIR`."""
    from runners.demo import write_demo

    databases = tuple(filter(None, options.databases.split(",")))
    return ExitCode.DONE, {
        "demo": write_demo(options.folder, options.subjects, options.seed, databases=databases).as_dict()
    }


def run_all(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe run JOB`."""
    from runners import erasure, stages

    def body(session: stages.Session) -> ExitCode:
        manifests = stages.plan(session)
        purged = erasure.purge(session, manifests, options.execute)
        verified = erasure.verify(session, manifests) if options.execute else ExitCode.DONE
        stages.report(session)
        return verified or purged

    return _in_session(options, beam_options, body)


def run_score(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe score JOB`."""
    from runners import stages

    return _in_session(options, beam_options, stages.score)


def run_plan(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe plan JOB`."""
    from runners import stages

    return _in_session(options, beam_options, lambda session: stages.plan(session, anew=True))


def run_purge(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe purge JOB`."""
    from runners import erasure, stages

    return _in_session(
        options,
        beam_options,
        lambda session: erasure.purge(session, stages.checked_manifests(session), options.execute),
    )


def run_verify(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe verify JOB`."""
    from runners import erasure, stages

    return _in_session(
        options,
        beam_options,
        lambda session: erasure.verify(session, stages.checked_manifests(session), options.finish),
    )


def run_residue(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe residue JOB`; only a store in which nothing is readable, and everything was read, is done."""
    from runners import stages
    from runners.residue import residue

    return _in_session(
        options,
        beam_options,
        lambda session: residue(session, stages.checked_manifests(session), options.prepare, options.outputs),
    )


def run_canary_plant(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe canary plant JOB`."""
    from runners.canary import plant

    return _in_session(options, beam_options, lambda session: plant(session, options.execute))


def run_canary_check(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe canary check JOB`; only if all of them are gone from everywhere it is done."""
    from runners import stages
    from runners.canary import check

    return _in_session(options, beam_options, lambda session: check(session, stages.checked_manifests(session)))


def run_report(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe report JOB`."""
    from runners import stages

    return _in_session(options, beam_options, stages.report)


def run_approve(options: argparse.Namespace, _: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe approve JOB --key FILE`."""
    from runners.approval import approve

    approvals = approve(load_job(options.job), options.key)
    return ExitCode.DONE, {"approvals": {name: approval.model_dump() for name, approval in approvals.items()}}


def run_explain(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe explain JOB --subject ID`."""
    from runners.explain import explain_subject
    from runners.stages import Session

    session = Session.start(load_job(options.job), beam_options)
    return ExitCode.DONE, {"explanation": explain_subject(session, options.subject)}


def run_estimate(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe estimate JOB --out model.json`."""
    from runners.estimate import estimate

    return _in_session(
        options, beam_options, lambda session: (ExitCode.DONE, estimate(session, options.out, options.labels))
    )


def run_evaluate(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe evaluate JOB --truth FILE`."""
    from runners import stages

    return _in_session(options, beam_options, lambda session: stages.evaluate(session, options.truth))


def run_threshold(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe threshold JOB --labels FILE`."""
    from runners.threshold import threshold

    return _in_session(
        options,
        beam_options,
        lambda session: (ExitCode.DONE, threshold(session, options.labels, options.recall, options.confidence)),
    )


def run_audit_sample(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe audit sample JOB`."""
    from runners.audit import draw_sample
    from runners.audit_plan import AuditOptions

    decided = AuditOptions(
        n=options.n,
        seed=options.seed,
        target_recall=options.recall,
        confidence=options.confidence,
        target_precision=options.precision,
        sensitivity=options.sensitivity,
    )
    return _in_session(
        options,
        beam_options,
        lambda session: (ExitCode.DONE, draw_sample(session, decided, register=not options.dry_run)),
    )


def run_audit_result(options: argparse.Namespace, beam_options: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe audit result JOB --labels FILE`; only a pass is done, a doubt is not verified."""
    from runners.audit import judge_audit

    def body(session: "Session") -> tuple[ExitCode, Summary]:
        judged = judge_audit(session, options.labels, options.seal)
        return ExitCode.DONE if judged["audit"]["verdict"] == "pass" else ExitCode.NOT_VERIFIED, judged

    return _in_session(options, beam_options, body)


def _in_session(
    options: argparse.Namespace, beam_options: list[str], body: Callable[["Session"], object]
) -> tuple[ExitCode, Summary]:
    """Run `body` on the job's session, alone on its output folder.

    The summary is what `run.json` then says, unless `body` returns a code and a summary of its own.
    """
    from runners import stages
    from runners.state import only_one

    job: Job = load_job(options.job)
    with only_one(job):
        session = stages.Session.start(job, beam_options)
        found = body(session)
        if isinstance(found, tuple):
            return found
        return found if isinstance(found, ExitCode) else ExitCode.DONE, stages.summary(session)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]
