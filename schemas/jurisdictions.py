"""Jurisdictions as data: a territory, a regulator, an order with its date, deadline and source."""

import calendar
import datetime
import functools
import tomllib
from importlib import resources

from pydantic import BaseModel, ConfigDict

from schemas.countries import COUNTRIES
from schemas.errors import InputError
from schemas.suggest import nearest


class Jurisdiction(BaseModel):
    """One regulator's territory and order, as in `schemas/data/jurisdictions.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    territory: tuple[str, ...]
    languages: tuple[str, ...]
    regulator: str
    order: str
    order_date: datetime.date
    deadline_months: int | None = None
    source: str

    @property
    def deadline(self) -> datetime.date | None:
        """The day by which the order had to be carried out, if it set one."""
        if self.deadline_months is None:
            return None
        months = self.order_date.month - 1 + self.deadline_months
        year, month = self.order_date.year + months // 12, months % 12 + 1
        return datetime.date(year, month, min(self.order_date.day, calendar.monthrange(year, month)[1]))


@functools.cache
def known_jurisdictions() -> dict[str, Jurisdiction]:
    """All jurisdictions lethe ships, by their short name."""
    text = resources.files("schemas").joinpath("data/jurisdictions.toml").read_text(encoding="utf-8")
    return {name: Jurisdiction.model_validate(fields) for name, fields in tomllib.loads(text).items()}


def find_jurisdiction(name: str) -> Jurisdiction:
    """The jurisdiction called `name`; an InputError that names the nearest one, or says what no signal can resolve."""
    known = known_jurisdictions()
    if name not in known:
        raise InputError(f"jurisdiction {name!r} is not known{nearest(name, known)}; known are {', '.join(known)}")
    unresolved = [code for code in known[name].territory if code not in COUNTRIES]
    if unresolved:
        raise InputError(
            f"jurisdiction {name!r} covers {', '.join(unresolved)}, and lethe's signals resolve countries, not their "
            f"parts; take it out of [job] jurisdictions"
        )
    return known[name]
