"""The world that demo jobs are drawn from: countries, and the parameters of who posts what from where.

The model behind it is the one in which residence is hard: every episode (one uploader, one month) happens at
one place, at home or, with chance `away`, elsewhere, and coordinates, address and web site all follow that place
together. The numbers are plausible, not measured; change them by `dataclasses.replace(World(), away=0.3)`.
"""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Country:
    """One country of the world.

    share: of all people who live there, any scale.
    visits: how often it is where somebody is away, any scale.
    languages: what its people speak at home, any scale.
    english: chance that one of its people who speaks another language writes a post in English.
    cities: latitude and longitude.
    suffixes: of its web sites, the most common first.
    """

    code: str
    share: float
    visits: float
    languages: tuple[tuple[str, float], ...]
    english: float
    cities: tuple[tuple[float, float], ...]
    suffixes: tuple[str, ...]


def _country(
    code: str, share: float, visits: float, languages: str, english: float, cities: str, suffixes: str
) -> Country:
    spoken = tuple((word, float(weight)) for word, weight in (pair.split(":") for pair in languages.split()))
    points = tuple((float(lat), float(lon)) for lat, lon in (pair.split(",") for pair in cities.split()))
    return Country(code, share, visits, spoken, english, points, tuple(suffixes.split()))


# fmt: off
HOMES: tuple[Country, ...] = (
    _country("GB", 5.5, 7, "en:93 pl:1.5 hi:2 ro:1 fr:.7 it:.5 ar:.8", 0.35,
             "51.51,-.13 53.48,-2.24 55.86,-4.25 52.48,-1.9", "co.uk uk org.uk"),
    _country("FR", 5.0, 10, "fr:91 ar:3.5 pt:1.5 en:1.5 it:.7 es:.8 tr:1", 0.08,
             "48.86,2.35 45.76,4.84 44.84,-.58 47.22,-1.55", "fr"),
    _country("IT", 4.6, 8, "it:93 ro:2 ar:1 de:.6 en:1.4 es:.7 fr:.5", 0.12,
             "41.9,12.5 45.46,9.19 40.85,14.27 44.49,11.34", "it"),
    _country("US", 20, 8, "en:82 es:13 zh:1.5 fr:.7 ar:.6 pt:.6 ru:.5", 0.45,
             "40.71,-74.01 34.05,-118.24 41.88,-87.63 29.76,-95.37", "us com"),
    _country("IE", 0.9, 1.5, "en:93 pl:2.5 pt:1 ro:1 fr:.6", 0.45,
             "53.35,-6.26 51.9,-8.47 53.27,-9.05", "ie"),
    _country("CA", 3.2, 2, "en:74 fr:20 zh:2 it:.8 ar:1 es:1 pt:.7", 0.3,
             "43.65,-79.38 45.5,-73.57 51.05,-114.07", "ca"),
    _country("BE", 1.3, 1.5, "nl:54 fr:38 ar:2 it:1.5 tr:1.3 en:2", 0.15,
             "50.85,4.35 51.05,3.72 50.63,5.57", "be"),
    _country("CH", 1.1, 2, "de:62 fr:23 it:8 pt:2.5 en:3", 0.18,
             "46.95,7.45 47.38,8.54 46.52,6.63", "ch"),
    _country("DE", 6.5, 4, "de:88 tr:3 ru:2.5 pl:1.5 ar:1.5 it:.8 en:1.5", 0.15,
             "52.52,13.41 48.14,11.58 50.11,8.68 53.55,9.99", "de"),
    _country("AT", 1.0, 3, "de:90 tr:2.5 hu:1 ro:1 en:1.5", 0.15,
             "48.21,16.37 47.07,15.44 48.31,14.29", "at"),
    _country("ES", 4.0, 9, "es:80 ca:12 ar:2 ro:1.5 en:1.5 it:.6", 0.1,
             "40.42,-3.7 41.39,2.17 37.39,-5.99 39.47,-.38", "es"),
    _country("PT", 1.2, 3, "pt:95 en:2 es:1 uk:.7", 0.15,
             "38.72,-9.14 40.2,-8.41 37.02,-7.93", "pt"),
    _country("NL", 1.9, 2.5, "nl:90 tr:2 ar:2 pl:1 en:3", 0.3,
             "52.37,4.9 51.92,4.48 52.09,5.12", "nl"),
    _country("AU", 2.6, 2, "en:88 zh:4 it:1.2 ar:1.5 el:1.2 hi:1.5", 0.4,
             "-33.87,151.21 -37.81,144.96 -27.47,153.03", "com.au au"),
    _country("BR", 8.0, 2, "pt:98 es:.7 en:.6 it:.3", 0.05,
             "-23.55,-46.63 -22.91,-43.17 -15.8,-47.9", "com.br br"),
    _country("MX", 4.5, 3, "es:97 en:2", 0.08,
             "19.43,-99.13 20.67,-103.35 21.16,-86.85", "com.mx mx"),
    _country("AR", 2.6, 1, "es:97 it:1.2 en:1", 0.06,
             "-34.6,-58.38 -31.42,-64.18 -32.95,-60.66", "com.ar"),
    _country("IN", 9.0, 2, "hi:58 en:42", 0.45,
             "28.61,77.21 19.08,72.88 12.97,77.59", "in co.in"),
    _country("JP", 5.0, 3, "ja:98 en:.7 zh:.8", 0.07,
             "35.68,139.69 34.69,135.5 35.01,135.77", "jp co.jp"),
    _country("PL", 2.8, 2, "pl:96 uk:2.5 en:1", 0.12,
             "52.23,21.01 50.06,19.94 51.11,17.03", "pl com.pl"),
    _country("RO", 1.6, 1, "ro:91 hu:6 en:1.5", 0.15,
             "44.43,26.1 46.77,23.59 45.65,25.6", "ro"),
    _country("SE", 1.3, 1, "sv:89 ar:3 fi:1.5 en:3", 0.3,
             "59.33,18.07 57.71,11.97 58.41,15.62", "se"),
    _country("NO", 0.7, 1, "no:91 pl:2 en:3 sv:1", 0.3,
             "59.91,10.75 60.39,5.32 63.43,10.4", "no"),
    _country("DK", 0.8, 1, "da:92 ar:1.5 en:3 de:1", 0.3,
             "55.68,12.57 56.16,10.2 55.4,10.39", "dk"),
    _country("FI", 0.7, 0.7, "fi:89 sv:5 ru:1.5 en:2", 0.25,
             "60.17,24.94 61.5,23.76 65.01,25.47", "fi"),
    _country("GR", 1.2, 4, "el:94 en:2 ru:.7 ar:.6", 0.2,
             "37.98,23.73 40.64,22.94 35.34,25.13", "gr"),
    _country("TR", 4.0, 5, "tr:94 ar:3.5 en:1", 0.07,
             "41.01,28.98 39.93,32.86 36.9,30.7", "com.tr"),
    _country("CZ", 1.1, 1.5, "cs:94 uk:2 ru:1 en:1.5", 0.15,
             "50.08,14.44 49.2,16.61 49.74,13.37", "cz"),
    _country("HU", 1.0, 1.5, "hu:97 de:.7 en:1", 0.12,
             "47.5,19.04 47.53,21.62 46.25,20.15", "hu"),
    _country("MA", 1.6, 1.5, "ar:62 fr:36 en:1.5", 0.07,
             "33.57,-7.59 31.63,-7.99 34.03,-6.83", "ma"),
    _country("RE", 0.3, 0.5, "fr:98 en:.5", 0.05,
             "-20.88,55.45 -21.34,55.48", "re fr"),
)
# fmt: on


@dataclass(frozen=True)
class World:
    """Everything that a demo is drawn from except its size and seed."""

    countries: tuple[Country, ...] = HOMES

    away: float = 0.12
    """Chance that an episode is not at home (tau)."""
    traveller: float = 0.5
    """Chance that the away episode is the subject's own trip, text and account with them (rho); else a friend
    abroad posts the picture."""
    episodes: float = 2.4
    """Mean number of episodes a subject, geometric, at most 12."""
    copies: float = 1.9
    """Mean number of records an episode, geometric, at most 8."""
    companions: float = 0.05
    """Records, per record drawn, that show a second subject of the same country in the same image."""
    without_evidence: float = 0.115
    """Subjects of whom nothing but bare images is known."""
    without_subject: float = 0.02
    """People whose records carry no subject_id: every record is its own subject."""

    coordinates: float = 0.16
    coordinates_right: float = 0.985
    coarse: float = 0.1
    """Share of coordinates that are rounded to a tenth of a degree."""
    null_island: float = 0.02
    """Share of coordinates that are 0, 0."""

    address: float = 0.5
    networks: tuple[tuple[str, float, float], ...] = (
        ("plain", 0.43, 0.96),
        ("residential", 0.25, 0.97),
        ("mobile", 0.15, 0.93),
        ("hosting", 0.07, 0.5),
        ("vpn", 0.06, 0.35),
        ("private", 0.04, 0.0),
    )
    """Kind of network, its share of the addresses, and the chance that it is in the country of the place."""
    ipv6: float = 0.2

    sites: tuple[tuple[str, float], ...] = (
        ("country", 0.4),
        ("generic", 0.4),
        ("platform", 0.12),
        ("vanity", 0.05),
        ("stray", 0.03),
    )
    """Where pages are: under the country's suffix, .com and the like, a content network, .io and the like, or under
    another country's suffix."""

    caption: float = 0.8
    short_caption: float = 0.08
    """Share of captions that are too short to have a language."""
    fresh_caption: float = 0.4
    """Chance that a copy has a caption of its own."""
    declared: float = 0.25
    """Chance that a page declares its language."""
    phone: float = 0.015
    """Chance that an episode's caption holds the subject's phone number."""
    phone_right: float = 0.96
    switchboard: float = 0.08
    """Share of phone numbers that are one and the same for a whole country."""

    own_account: float = 0.55
    shared_account: float = 0.33
    """Episodes at home that the subject's own account posts, or one that posts many people; else no account."""

    bad_rows: float = 0.005
    """Share of rows made unusable or odd on purpose, all kinds together."""

    @functools.cached_property
    def languages(self) -> tuple[str, ...]:
        """Every language spoken anywhere, in the order of the countries."""
        return tuple(dict.fromkeys(name for country in self.countries for name, _ in country.languages))

    @functools.cached_property
    def home_shares(self) -> Shares:
        """Share of each country's residents, shape `(countries,)`, sum 1."""
        return _shares([country.share for country in self.countries])

    @functools.cached_property
    def visit_shares(self) -> Shares:
        """Share of each country among the places where people are away, shape `(countries,)`, sum 1."""
        return _shares([country.visits for country in self.countries])

    @functools.cached_property
    def speaker_shares(self) -> Shares:
        """Share of each language among a country's residents, shape `(countries, languages)`, rows sum to 1."""
        shares = np.zeros((len(self.countries), len(self.languages)))
        for row, country in enumerate(self.countries):
            for name, weight in country.languages:
                shares[row, self.languages.index(name)] = weight
        shares /= shares.sum(axis=1, keepdims=True)
        return shares


def _shares(weights: list[float]) -> Shares:
    shares = np.array(weights)
    shares /= shares.sum()
    return shares
