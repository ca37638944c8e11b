"""Words in dates: months and weekdays in several languages, quarters, weeks, Chinese signs."""

from __future__ import annotations

import datetime
import re
import unicodedata
from typing import Final

# The beginning of each month, as few letters as tell it in all of these languages together, and
# what may follow: English, German, French, Spanish, Italian, Dutch, Portuguese, Scandinavian.
_MONTHS: Final = (
    "jan(?:uary|uar|vier|v|uari|eiro|uár|ner|uar)?|jän(?:ner)?|ene(?:ro)?|gen(?:naio)?",
    "feb(?:ruary|ruar|rero|braio|ruari)?|fév(?:rier|r)?|fev(?:rier|r|ereiro)?",
    "mar(?:ch|s|zo|ço|co|t)?|mär(?:z)?|mrz|maart|mrt|maerz",
    "apr(?:il|ile)?|avr(?:il)?|abr(?:il)?",
    "may|mai|mayo|mag(?:gio)?|mei|maj|maio",
    "june?|juni|juin|junio|giu(?:gno)?|junho",
    "july?|juli|juil(?:let)?|julio|lug(?:lio)?|julho",
    "aug(?:ust|ustus|usti)?|ao[uû]t|ago(?:sto)?",
    "sept?(?:ember|embre|tembre|iembre)?|set(?:tembre|embro)?",
    "o[ck]t(?:ober|obre|ubre)?|ott(?:obre)?|out(?:ubro)?",
    "nov(?:ember|embre|iembre|embro)?",
    "de[cz](?:ember|embre|embro)?|déc(?:embre)?|dic(?:embre|iembre)?|des(?:ember)?",
)
MONTH: Final = "(?P<name>" + "|".join(_MONTHS) + r")\.?"
_ONE_MONTH: Final = tuple(re.compile(names, re.IGNORECASE) for names in _MONTHS)
_WEEKDAY: Final = re.compile(
    "(?:mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:rs(?:day)?)?|fri(?:day)?|sat(?:urday)?"
    "|sun(?:day)?|mo(?:ntag)?|di(?:enstag)?|mi(?:ttwoch)?|do(?:nnerstag)?|fr(?:eitag)?"
    "|sa(?:mstag)?|sonnabend|so(?:nntag)?|lun(?:di|es)?|mar(?:di|tes)|mer(?:credi)?|jeu(?:di)?"
    "|ven(?:dredi)?|sam(?:edi)?|dim(?:anche)?|mi[ée](?:rcoles)?|jue(?:ves)?|vie(?:rnes)?"
    r"|s[áa]b(?:ado)?|dom(?:ingo)?)\.?,? (?=[0-9])",
    re.IGNORECASE,
)
_QUARTERS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<year>[0-9]{4})[ /-]?[QT](?P<part>[1-4])",
        r"[QT](?P<part>[1-4])[ /'-]{0,2}(?P<year>[0-9]{4}|[0-9]{2})",
        r"(?P<part>[1-4])[QT][ /'-]?(?P<year>[0-9]{4}|[0-9]{2})",
        r"(?P<part>[1-4])(?:\.|st|nd|rd|th|er|e|º|°)? ?(?:quartal|quarter|trimestre|kwartaal"
        r"|kvartal|q\.?)[ /-](?:de )?(?P<year>[0-9]{4})",
    )
)
_WEEKS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<year>[0-9]{4})[ -]?W(?P<part>[0-9]{2})",
        r"(?:KW|CW|W|week|woche|semaine|uge|v)\.? ?(?P<part>[0-9]{1,2})[ /.-](?P<year>[0-9]{4})",
        r"(?P<part>[0-9]{1,2})\. ?(?:KW|woche)[ /]?(?P<year>[0-9]{4})",
    )
)
_MONTHS_OF_YEARS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<year>[0-9]{4})(?:[/-]|-?M)(?P<part>[0-9]{1,2})",
        r"(?P<part>[0-9]{1,2})[./-](?P<year>[0-9]{4})",
        rf"{MONTH}[ /'-]{{0,2}}(?:de |of )?(?P<year>[0-9]{{4}}|[0-9]{{2}})",
        rf"(?P<year>[0-9]{{4}})[ /-]?{MONTH}",
        r"(?P<year>[0-9]{4})[年년] ?(?P<part>[0-9]{1,2})[月월]",
    )
)
_SIGNS: Final = re.compile(r"([0-9]{4})[年년] ?([0-9]{1,2})[月월] ?([0-9]{1,2})[日일]")
_SPACED: Final = re.compile(r"(?<=[0-9])([./-]) (?=[0-9])")
_SEASON: Final = re.compile(r"([0-9]{4})[/-]([0-9]{2})")
_FIGURES: Final = re.compile(r"(?:1[89]|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")
_LIKE_ONE: Final = re.compile(
    r"\(?[0-9]{1,4}[ ./-]+(?:de )?[^\W\d_]{3,12}\.?[ ./-]+(?:de )?[0-9]{2,4}.*"
    r"|[0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{2,4}(?:[ T].*)?"
)
_PIVOT: Final = 69  # of years of two digits those from here on are of the last century
_YEARS: Final = range(1500, 2501)


def evened(text: str) -> str:
    """A date in ASCII figures, without its weekday, signs and spaces that say nothing.

    Example:
        >>> evened("Mo, 14. 3. 2021"), evened("2021年3月14日"), evened("2021. 03. 14.")
        ('14.3.2021', '2021-3-14', '2021.03.14')
    """
    if not text.isascii():
        text = in_ascii_figures(text)
        text = _SIGNS.sub(r"\1-\2-\3", text)
    if text[:1].isalpha():
        text = _WEEKDAY.sub("", text, count=1)
    text = _SPACED.sub(r"\1", text)
    return text[:-1] if text.endswith(".") and text.count(".") == 3 else text


def in_ascii_figures(text: str) -> str:
    """The text with the digits of every script, and full-width signs, as ASCII has them.

    Example:
        >>> in_ascii_figures("１２．５％"), in_ascii_figures("٣٫٥")
        ('12.5%', '3.5')
    """
    return "".join(map(_ascii, text))


def _ascii(sign: str) -> str:
    if sign.isascii():
        return sign
    if (figure := unicodedata.decimal(sign, None)) is not None:
        return str(figure)
    if "\uff01" <= sign <= "\uff5e":
        return chr(ord(sign) - 0xFEE0)
    return {"\u066b": ".", "\u066c": ",", "\u066a": "%", "\u00b7": "."}.get(sign, sign)


def month_of(name: str) -> int:
    """The number of a month whose name matched `MONTH`.

    Example:
        >>> month_of("März"), month_of("août"), month_of("DEC")
        (3, 8, 12)
    """
    return next(i for i, names in enumerate(_ONE_MONTH, 1) if names.fullmatch(name))


def century(year: str) -> int:
    """A year of four digits or of two, of which those from 69 on are of the last century.

    Example:
        >>> century("2021"), century("68"), century("69")
        (2021, 2068, 1969)
    """
    if len(year) == 4:
        return int(year)
    return int(year) + (1900 if int(year) >= _PIVOT else 2000)


def period(text: str) -> datetime.date | None:
    """The first day of a quarter, a week or a month; None if the text is none of them.

    Example:
        >>> [str(period(t)) for t in ("2021Q3", "KW 5/2021", "03/2021", "März 2021", "12/34")]
        ['2021-07-01', '2021-02-01', '2021-03-01', '2021-03-01', 'None']
    """
    try:
        if found := _first(_QUARTERS, text):
            return _checked(century(found["year"]), 3 * int(found["part"]) - 2)
        if found := _first(_WEEKS, text):
            return datetime.date.fromisocalendar(int(found["year"]), int(found["part"]), 1)
        if found := _first(_MONTHS_OF_YEARS, text):
            parts = found.groupdict()
            month = month_of(parts["name"]) if "name" in parts else int(parts["part"])
            return _checked(century(parts["year"]), month)
    except ValueError:
        pass
    return None


def day_in_figures(text: str) -> datetime.date | None:
    """The day of eight digits such as 20210314; None if they are none.

    Example:
        >>> day_in_figures("20210314"), day_in_figures("20210231"), day_in_figures("12345678")
        (datetime.date(2021, 3, 14), None, None)
    """
    if not _FIGURES.fullmatch(text):
        return None
    try:
        return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def is_season(text: str) -> bool:
    """Whether a year and the next one are named, as 2010/11, which also looks like a month.

    Example:
        >>> is_season("2010/11"), is_season("2010-12")
        (True, False)
    """
    found = _SEASON.fullmatch(text)
    return found is not None and (int(found[1]) + 1) % 100 == int(found[2])


def looks_like_a_date(text: str) -> bool:
    """Whether the text is built as a date is, be it one or not.

    Example:
        >>> [looks_like_a_date(t) for t in ("14 marca 2021", "31.02.2021", "12 km", "1.2.3")]
        [True, True, False, False]
    """
    return _LIKE_ONE.fullmatch(evened(text)) is not None


def _first(patterns: tuple[re.Pattern[str], ...], text: str) -> re.Match[str] | None:
    return next((found for pattern in patterns if (found := pattern.fullmatch(text))), None)


def _checked(year: int, month: int) -> datetime.date | None:
    return datetime.date(year, month, 1) if year in _YEARS else None
