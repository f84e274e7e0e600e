"""The `lethe` command."""

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from schemas.errors import ExitCode, LetheError
from schemas.job import Job, load_job

Summary = dict[str, Any]
Command = Callable[[argparse.Namespace, list[str]], tuple[ExitCode, Summary]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. What follows `--` goes to Beam."""
    ours, beam_options = _split(list(sys.argv[1:] if arguments is None else arguments))
    options = build_parser().parse_args(ours)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # Beam says at every start that its Google Cloud extra is not installed.
    logging.getLogger().addFilter(lambda record: "apitools" not in record.getMessage())
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

    def add(name: str, command: Command, text: str, job: bool = True) -> argparse.ArgumentParser:
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
    add("report", run_report, "write out/report.html")
    add("approve", run_approve, "sign the manifests").add_argument("--key", type=Path, required=True, metavar="FILE")
    add("explain", run_explain, "say why a subject is, or is not, on each manifest").add_argument(
        "--subject", required=True, metavar="ID"
    )
    return parser


def run_demo(options: argparse.Namespace, _: list[str]) -> tuple[ExitCode, Summary]:
    """`lethe demo DIR`."""
    from runners.demo import write_demo

    return ExitCode.DONE, {"demo": write_demo(options.folder, options.subjects, options.seed).as_dict()}


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


def _in_session(
    options: argparse.Namespace, beam_options: list[str], body: Callable[[Any], object]
) -> tuple[ExitCode, Summary]:
    """Run `body` on the job's session, alone on its output folder; the summary is what `run.json` then says."""
    from runners import stages
    from runners.state import only_one

    job: Job = load_job(options.job)
    with only_one(job):
        session = stages.Session.start(job, beam_options)
        code = body(session)
        return code if isinstance(code, ExitCode) else ExitCode.DONE, stages.summary(session)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]
