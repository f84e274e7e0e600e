"""What a user is told when a worker fails: lethe's own sentence, or the place, but never a stranger's text."""

import apache_beam as beam
import pytest

from runners.engine import run_pipeline, translate_failure
from schemas.errors import ConflictError, InputError, LetheError


def fail_with_input_error(element: str) -> str:
    raise InputError(f"faces/ has no column 'face'; it has {element}")


def fail_with_personal_data(element: str) -> str:
    raise ValueError(f"cannot parse {element!r}")


def test_an_error_of_ours_comes_back_as_itself() -> None:
    with pytest.raises(InputError, match="faces/ has no column 'face'; it has id$"):
        run_pipeline(lambda p: p | beam.Create(["id"]) | beam.Map(fail_with_input_error), [])


def test_another_error_says_where_and_not_what() -> None:
    with pytest.raises(LetheError, match=r"a worker failed.*\(ValueError\); finished work is kept") as caught:
        run_pipeline(lambda p: p | beam.Create(["Jane Doe"]) | beam.Map(fail_with_personal_data), [])
    assert "Jane" not in str(caught.value)


def test_the_last_of_several_reports_is_told() -> None:
    report = (
        'File "/x/stores/parquet.py", line 7\nKeyError: 3\n'
        "schemas.errors.ConflictError: the file changed [while running 'PurgeUnit']\n"
    )
    error = translate_failure(report)
    assert isinstance(error, ConflictError)
    assert str(error) == "the file changed"
    assert "stores/parquet.py:7 (KeyError)" in str(translate_failure(report.split("schemas")[0]))


def test_a_report_nobody_understands_is_still_an_error() -> None:
    assert "unknown error" in str(translate_failure("boom"))


def test_a_place_in_beam_is_not_taken_for_one_of_ours() -> None:
    beams = 'File "/site-packages/apache_beam/runners/worker/sdk_worker.py", line 9\n'
    ours = 'File "/site-packages/runners/stages.py", line 7\n'
    assert "at runners/stages.py:7 (KeyError)" in str(translate_failure(f"{ours}{beams}KeyError: 3\n"))
    assert " at " not in str(translate_failure(f"{beams}KeyError: 3\n")).partition("(")[0]


def test_an_error_behind_those_of_an_engine_comes_back_as_itself() -> None:
    report = (
        "java.util.concurrent.ExecutionException: java.lang.RuntimeException: Error received from SDK harness for "
        'instruction 4: Traceback (most recent call last):\n  File "/x/stores/parquet.py", line 7, in purge\n'
        "schemas.errors.ConflictError: the file changed [while running 'PurgeUnit-ptransform-9']\n\n\tat java.base/java"
    )
    assert str(translate_failure(report)) == "the file changed"
