"""Signals and residence model on real public data: measures them and writes docs/evaluation.md.

    .venv/bin/python benchmarks/evaluate.py [--data ../shared/data] [--out docs/evaluation.md]

The text is `evaluate_template.md`; every figure in it is measured by this run. The same data, code and libraries give
the same file, but for the date. No text, address or number of the data is written or printed.
"""

import argparse
import datetime
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
from evaluate_cells import markdown_table
from evaluate_language import describe_language
from evaluate_model import (
    ERASE_AT,
    REVIEW_AT,
    called,
    describe,
    describe_languages,
    score_population,
)
from evaluate_populations import populations
from evaluate_signals import (
    answer_countries,
    describe_borders,
    describe_countries,
    describe_levels,
    describe_silences,
    wrong_border_points,
)
from jinja2 import Environment, StrictUndefined

from classifiers.gather import SignalSources
from classifiers.language import DEFAULT_MODE
from classifiers.model import load_model
from classifiers.network import load_network_database
from schemas.countries import country_index
from schemas.errors import InputError
from schemas.files import digest_file, replacing

ROOT = Path(__file__).parents[1]
TEMPLATE = Path(__file__).with_name("evaluate_template.md")
GEOIP = "mmdb/geo-ip-blocks.mmdb"
TABLES = ("places", "feeds", "tweets", "border_points", "ip_anchors", "language")
LIBRARIES = (
    "langdetect",
    "py3langid",
    "maxminddb",
    "phonenumbers",
    "tldextract",
    "tzfpy",
    "numpy",
    "scipy",
    "numba",
    "pyarrow",
)


def evaluate(data: Path, date: datetime.date) -> str:
    """The whole document. Raises InputError if the data is not there."""
    files = [data / f"{name}.parquet" for name in TABLES] + [data / GEOIP]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(f"{data} lacks {', '.join(missing)}; name the folder that has the public data with --data")
    model = load_model()
    sources = SignalSources.load(DEFAULT_MODE, data / GEOIP, None)
    answers = answer_countries(data, load_network_database(data / GEOIP))
    with tempfile.TemporaryDirectory(prefix="lethe-evaluation-") as folder:
        scored = [score_population(people, Path(folder), sources, model) for people in populations(data)]
    by_name = {one.population.name: one for one in scored}
    return (
        Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True, autoescape=False)
        .from_string(TEMPLATE.read_text(encoding="utf-8"))
        .render(
            date=date.isoformat(),
            model=model,
            python=".".join(platform.python_version_tuple()[:2]),
            libraries=", ".join(f"{name} {version(name)}" for name in LIBRARIES),
            files=describe_files(files),
            countries=describe_countries(answers),
            levels=describe_levels(answers, model),
            silences=describe_silences(answers),
            borders=describe_borders(data, answers),
            misplaced=wrong_border_points(data, answers),
            language=describe_language(data, model),
            people=[(one, describe(one)) for one in scored],
            scored=by_name,
            languages=describe_languages(by_name["tweets"]),
            called_welsh=called(by_name["tweets"], "cy"),
            briton_in=round(1 / model.prior[country_index("GB")]),
            review_at=REVIEW_AT,
            erase_at=ERASE_AT,
        )
    )


def describe_files(files: list[Path]) -> str:
    """Rows and digests of the data, which is not committed."""
    rows = [
        [file.name, f"{pq.read_metadata(file).num_rows:,}" if file.suffix == ".parquet" else "", digest_file(file)]
        for file in files
    ]
    return markdown_table(("file", "rows", "digest"), rows)


def main() -> int:
    """Write the document, or say what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LETHE_SHARED_DATA", ROOT / "../shared/data")))
    parser.add_argument("--out", type=Path, default=ROOT / "docs/evaluation.md")
    options = parser.parse_args()
    try:
        document = evaluate(options.data, datetime.date.today())
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    with replacing(options.out) as aside:
        aside.write_text(document, encoding="utf-8")
    print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
