"""Errors a user can act on, each with the exit code it ends the command with."""

import enum


class ExitCode(enum.IntEnum):
    """What the `lethe` command returns to the shell."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    NOT_VERIFIED = 3
    MANIFEST_REFUSED = 4


class LetheError(Exception):
    """Base of every error lethe raises on purpose; its text says what was found, what is allowed, what to do."""

    exit_code = ExitCode.FAILED


class InputError(LetheError):
    """The command line, the job file or the input cannot be used."""

    exit_code = ExitCode.BAD_INPUT


class ManifestError(LetheError):
    """A manifest is altered, unsigned or stale."""

    exit_code = ExitCode.MANIFEST_REFUSED


class ConflictError(LetheError):
    """A file changed between the moment it was located and the moment it was to be rewritten."""
