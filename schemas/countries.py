"""Countries and languages as small integers: the position of a code in these tuples."""

import numpy as np
import numpy.typing as npt

_COUNTRIES = """
    AD AE AF AG AI AL AM
    AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH
    CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE
    GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE
    KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR
    MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA
    RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN
    TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW
"""

_LANGUAGES = """
    ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da
    de dz el en eo es et eu ext fa fi fo fr fuv fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy
    id ig is it ja jv ka kab kik kk km kn ko ku ky la lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn
    no nso oc om or pa pcm pl ps pt qu ro ru rw sa sdh se si sk sl sn so sq sr st sv sw ta te tg th tk tl tr tt
    ug uk ur uz uzs vec vi vo wa wuu xh yo yue zh zu
"""

COUNTRIES: tuple[str, ...] = tuple(_COUNTRIES.split())
"""ISO 3166-1 alpha-2, with XK, the user-assigned code that everybody uses for Kosovo. Always `GB`, never `UK`."""

LANGUAGES: tuple[str, ...] = tuple(_LANGUAGES.split())
"""ISO 639 codes of the languages that langdetect or py3langid can name; both kinds of written Chinese are `zh`."""

NONE = -1
"""The integer that stands for no country, or no language."""

_COUNTRY_INDEX = {code: index for index, code in enumerate(COUNTRIES)}
_LANGUAGE_INDEX = {code: index for index, code in enumerate(LANGUAGES)}


def country_index(code: str | None) -> int:
    """The integer of an ISO alpha-2 code, `NONE` for anything else: `country_index("FR") >= 0`."""
    return NONE if code is None else _COUNTRY_INDEX.get(code, NONE)


def language_index(code: str | None) -> int:
    """The integer of a language code or BCP 47 tag (only its first part counts), `NONE` for anything else."""
    return NONE if code is None else _LANGUAGE_INDEX.get(code.replace("_", "-").split("-")[0].lower(), NONE)


def country_indices(codes: tuple[str, ...] | list[str]) -> npt.NDArray[np.int16]:
    """The integers of several codes, shape `(len(codes),)`."""
    return np.array([country_index(code) for code in codes], dtype=np.int16)
