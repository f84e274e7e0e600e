"""Builds `model.json`, the residence model that ships with lethe, from public figures and stated assumptions.

    python classifiers/data/build_model.py [FILE]

The figures lie beside this script, rounded, and are good to a few per cent at best:

`countries.tsv`, one row per country:
    population  thousands, 2023: United Nations World Population Prospects 2022; World Bank SP.POP.TOTL
    online      per cent of them using the internet, about 2022: ITU; World Bank IT.NET.USER.ZS
    arrivals    international tourist arrivals, thousands, 2019: UN Tourism; World Bank ST.INT.ARVL
    domains     domains registered under the country's own top-level domain, thousands, 2023: CENTR and the
                domain name industry briefs of Verisign; 0 where unknown
    hosts       share of the world's hosting and cloud address space, per mille, a guess; 0 where negligible
`speakers.tsv`: per cent of a country's people who speak a language, first or second: Unicode CLDR,
    territory information, as in Babel 2.18 (Unicode licence). Scripts are merged; languages that no detector
    can name are left out.

Until a deployment is fitted on its own records, the rest is judgement, held to the anchors of Heikinheimo et
al. 2022 (country of residence from geotags); see `docs/decisions/0131-default-parameters.md`.
"""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path

from schemas.countries import COUNTRIES, LANGUAGES
from schemas.files import write_json

HERE = Path(__file__).parent

SPREAD = 1e-3
"""Share of every distribution that is spread evenly, so that nothing is impossible."""

ENGLISH_ABROAD = 0.2
"""Share of texts written in English for the world, wherever the author lives."""

Shares = dict[str, float]


def shares(amounts: Mapping[str, float], *, over: tuple[str, ...] = COUNTRIES) -> Shares:
    """Amounts as a distribution over `over`: every code has a share above 0 and they add up to 1."""
    total = sum(amounts.values())
    return {code: (1 - SPREAD) * amounts.get(code, 0.0) / total + SPREAD / len(over) for code in over}


def mixture(*parts: tuple[float, Shares]) -> Shares:
    """A weighted sum of distributions over the same codes."""
    return {code: sum(weight * part[code] for weight, part in parts) for code in parts[0][1]}


def rounded(distribution: Shares) -> Shares:
    """Nine decimals: far more than the figures are worth, few enough to read."""
    return {code: round(share, 9) for code, share in distribution.items()}


def read_countries() -> dict[str, Shares]:
    """`column -> country -> figure` of `countries.tsv`, and `users`, the thousands of people online."""
    with (HERE / "countries.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    columns = ("population", "online", "arrivals", "domains", "hosts")
    figures = {column: {row["code"]: float(row[column]) for row in rows} for column in columns}
    population, online = figures["population"], figures["online"]
    figures["users"] = {code: population[code] * online[code] / 100 for code in COUNTRIES}
    return figures


def read_speakers() -> dict[str, Shares]:
    """`country -> language -> share of its people who speak it`."""
    speakers: dict[str, Shares] = {code: {} for code in COUNTRIES}
    with (HERE / "speakers.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            speakers[row["code"]][row["language"]] = float(row["share"]) / 100
    return speakers


def written(spoken: Shares) -> Shares:
    """P(language of a text | country of its author), from the shares of speakers.

    A text wants an author and a reader of one language, so a language counts by the square of its share:
    English and French are spoken by 98 and 17 per cent of the United Kingdom and not read there six to one.
    """
    squares = {language: share**2 for language, share in spoken.items()}
    total = sum(squares.values())
    local = {language: square / total for language, square in squares.items()} if total else {"en": 1.0}
    mixed = {language: (1 - ENGLISH_ABROAD) * share for language, share in local.items()}
    mixed["en"] = mixed.get("en", 0.0) + ENGLISH_ABROAD
    kept = {language: round(share, 6) for language, share in mixed.items() if share >= 1e-6}
    kept["en"] = round(kept["en"] + 1 - sum(kept.values()), 6)
    return kept


def build() -> dict[str, object]:
    """The whole document, in the order in which it is written."""
    figures = read_countries()
    users = shares(figures["users"])
    speakers = {code: written(spoken) for code, spoken in read_speakers().items()}
    texts = shares(
        {
            language: sum(users[code] * speakers[code].get(language, 0.0) for code in COUNTRIES)
            for language in LANGUAGES
        },
        over=LANGUAGES,
    )
    return {
        "version": 1,
        "prior": {
            "source": "people online: population 2023 (UN) times share using the internet, about 2022 (ITU); rounded",
            "weights": rounded(users),
        },
        "place": {
            "source": "tau, rho: assumptions, held to the weights that Heikinheimo et al. 2022 imply; "
            "weights: half people online (a friend there posts), half tourist arrivals 2019 (UN Tourism), "
            "rounded",
            "tau": 0.2,
            "rho": 0.5,
            "weights": rounded(mixture((0.5, users), (0.5, shares(figures["arrivals"])))),
        },
        "signals": {
            "gps": {
                "source": "assumption: a coordinate is wrong, old or typed in by hand in 3 per cent of "
                "records; background: people online",
                "hit": {"coordinates": 0.97, "coarse_coordinates": 0.85},
                "background": rounded(users),
            },
            "ip": {
                "source": "residential: 304 RIPE Atlas anchors against GeoLite2, .954; mobile: failure rates "
                "of 9 to 20 per cent, arXiv 2605.21937; the others: assumption; background: half people "
                "online, half hosting address space",
                "hit": {
                    "unknown": 0.9,
                    "residential": 0.95,
                    "mobile": 0.85,
                    "hosting": 0.5,
                    "anonymous": 0.5,
                },
                "background": rounded(mixture((0.5, users), (0.5, shares(figures["hosts"])))),
            },
            "domain": {
                "source": "assumption, below the .91 to .99 of universities' and restaurants' own sites, "
                "since a page shows more people than its owner; background: mostly domains "
                "registered in 2023 (CENTR, Verisign); rounded",
                "hit": {"country_domain": 0.85, "city_domain": 0.9, "locale": 0.5},
                "background": rounded(mixture((0.2, users), (0.8, shares(figures["domains"])))),
            },
            "language": {
                "source": "possible, likely, sure: how often the named language is right on the held-out half of "
                "lingua's test data in 26 languages (.66, .91, .99; see decision 0101); hint, declared: "
                "assumption; background: half languages of all people online, half all languages that the "
                "detector names alike, since its errors fall on rare languages as readily as on common ones",
                "hit": {"hint": 0.4, "declared": 0.8, "possible": 0.65, "likely": 0.9, "sure": 0.99},
                "background": rounded(
                    mixture((0.5, texts), (0.5, shares(dict.fromkeys(LANGUAGES, 1.0), over=LANGUAGES)))
                ),
            },
            "phone": {
                "source": "assumption: a number is nearly always placed right (.998 of restaurants' own), "
                "but it is often an agent's or an employer's; background: people online",
                "hit": {"international": 0.9, "national": 0.75, "national_ambiguous": 0.4},
                "background": rounded(users),
            },
        },
        "speakers": {
            "source": "Unicode CLDR territory information, as in Babel 2.18; rounded; squared, "
            "and mixed with .2 English",
            "shares": speakers,
        },
        "own_language": {
            "source": "assumption: ten earlier texts of a subject say as much of its next language as its country; "
            "chosen on drawn worlds in which people keep their language and in which they do not; see decision 0137",
            "strength": 10.0,
        },
        "second_place": {
            "source": "assumption: one in seven has a second home, a year of study, a long holiday or a friend abroad "
            "who posts, and is there in two of five episodes that are no trips; see decision 0134",
            "share": 0.15,
            "stay": 0.4,
        },
        "move": {
            "source": "2.6 million people left a member state of the EU in 2018, .6 per cent of its population "
            "(Eurostat); assumption: from one month in which somebody is seen to the next, most of a year passes; "
            "see decision 0135",
            "chance": 0.005,
        },
    }


if __name__ == "__main__":
    write_json(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "model.json", build())
