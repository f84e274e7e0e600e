"""Scoring as one writes it first: a Beam pipeline, a Python dict a record, a library call a signal.

    ReadFromParquet -> Map(log-ratios of one record) -> CombinePerKey(sum) -> WriteToParquet

It runs on the same local runner as `lethe score`. Where a record has several signals their log-ratios are added: none
of the care of the residence model, hence a lower bound on the work.

    .venv/bin/python benchmarks/score_baseline.py JOB_FOLDER RECORDS WORKERS
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import geoip2.database
import geoip2.errors
import pyarrow as pa
import pyarrow.parquet as pq
import pytz
from langdetect import DetectorFactory, LangDetectException, detect_langs
from phonenumbers import PhoneNumberMatcher, region_code_for_number
from tldextract import TLDExtract
from tzfpy import get_tz

from runners.engine import run_pipeline

JURISDICTIONS = ("GB", "FR", "IT")
LANGUAGES = {"en": "GB", "fr": "FR", "it": "IT"}
SUFFIXES = {"uk": "GB", "fr": "FR", "it": "IT"}
COLUMNS = ("subject_id", "record_id", "source_url", "title", "caption", "latitude", "longitude", "uploader_ip")
WARM_UP = 300
_HIT, _MISS = math.log2(0.9 / 0.05), math.log2(0.1 / 0.95)

Record = dict[str, Any]
Ratios = tuple[float, ...]


class Weigh(beam.DoFn):
    """Record → (subject, log2-ratio for each jurisdiction)."""

    def __init__(self, geoip: str) -> None:
        self.geoip = geoip

    def setup(self) -> None:
        """Open the databases."""
        DetectorFactory.seed = 0
        self.reader = geoip2.database.Reader(self.geoip)
        self.suffixes = TLDExtract(suffix_list_urls=(), cache_dir=None)
        self.zones = {zone: code for code, zones in pytz.country_timezones.items() for zone in zones}

    def process(self, record: Record) -> Iterator[tuple[str, Ratios]]:
        """Ask every signal for a country."""
        text = " ".join(part for part in (record["title"], record["caption"]) if part)
        countries = (self.by_ip(record), self.by_place(record), self.by_host(record), by_phone(text), by_text(text))
        yield (
            record["subject_id"] or record["record_id"],
            tuple(sum(_HIT if found == own else _MISS for found in countries if found) for own in JURISDICTIONS),
        )

    def by_ip(self, record: Record) -> str | None:
        """The country of the address."""
        try:
            return self.reader.city(record["uploader_ip"]).country.iso_code if record["uploader_ip"] else None
        except (ValueError, geoip2.errors.AddressNotFoundError):
            return None

    def by_place(self, record: Record) -> str | None:
        """The country of the coordinates."""
        latitude, longitude = record["latitude"], record["longitude"]
        if latitude is None or longitude is None or not (abs(latitude) <= 90 and abs(longitude) <= 180):
            return None
        return self.zones.get(get_tz(longitude, latitude))

    def by_host(self, record: Record) -> str | None:
        """The country of the public suffix."""
        suffix = self.suffixes(record["source_url"]).suffix if record["source_url"] else ""
        return SUFFIXES.get(suffix.rpartition(".")[2])


def by_phone(text: str) -> str | None:
    """The country of the first number in international format."""
    return next((region_code_for_number(match.number) for match in PhoneNumberMatcher(text, None)), None)


def by_text(text: str) -> str | None:
    """The country of the language, a word for another."""
    try:
        return LANGUAGES.get(detect_langs(text)[0].lang, "other")
    except LangDetectException:
        return None


def add(ratios: Iterable[Ratios]) -> Ratios:
    """The sum for each jurisdiction."""
    return tuple(map(sum, zip(*ratios, strict=True)))


def seconds(job: Path, records: int, workers: int) -> tuple[float, float]:
    """Wall and CPU seconds that the pipeline takes for the first so many records."""
    schema = pa.schema([("subject_id", pa.string()), *((name, pa.float64()) for name in JURISDICTIONS)])
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "records.parquet"
        batch = next(pq.ParquetFile(next(iter(sorted((job / "records").iterdir())))).iter_batches(records))
        pq.write_table(pa.Table.from_batches([batch]), source, row_group_size=max(records // 4, 1))

        def build(pipeline: beam.Pipeline) -> object:
            return (
                pipeline
                | beam.io.ReadFromParquet(str(source), columns=list(COLUMNS))
                | beam.ParDo(Weigh(str(job / "geoip.mmdb")))
                | beam.CombinePerKey(add)
                | beam.Map(lambda scored: {"subject_id": scored[0], **dict(zip(JURISDICTIONS, scored[1], strict=True))})
                | beam.io.WriteToParquet(str(Path(folder) / "scores"), schema)
            )

        wall, cpu = time.perf_counter(), time.process_time()
        run_pipeline(build, [f"--direct_num_workers={workers}"])
        return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Print the seconds, start-up taken off: what the same pipeline takes for a few records."""
    job, records, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    seconds(job, WARM_UP, workers)
    few, many = seconds(job, WARM_UP, workers), seconds(job, records + WARM_UP, workers)
    print(json.dumps({"records": records, "wall": many[0] - few[0], "cpu": many[1] - few[1]}))


if __name__ == "__main__":
    main()
