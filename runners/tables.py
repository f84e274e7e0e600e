"""How the terminal shows tables and text: nothing is read as markup, and nothing hidden stays hidden."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from runners.wording import visible
from schemas.jurisdictions import known_jurisdictions


def new_table(first: str, columns: Iterable[str], title: str | None) -> Table:
    """A table whose first column is a name and the others figures."""
    table = Table(title=title, title_justify="left", title_style="dim", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold")
    for column in columns:
        left = column == "holds" or column.endswith("?")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    return table


def country_name(name: str) -> str:
    """The name of a jurisdiction in full."""
    known = known_jurisdictions().get(name)
    return known.name if known else name


def plain(text: str, style: str = "") -> Text:
    """Text as it is: no markup is read in it, and what it hides is spelled out."""
    return Text(visible(text), style, overflow="fold")
