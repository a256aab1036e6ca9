"""The frame of every page of the sandbox: calm, in Arabic and English, unmistakably fake, and allowed inside an iframe.

What stands in the frame is put together in page_parts.py.
"""

from html import escape
from importlib.resources import files
from string import Template
from typing import Final, Literal, NamedTuple
from urllib.parse import urlencode

from aiohttp import web

Language = Literal["en", "ar"]


class Text(NamedTuple):
    """A sentence of the sandbox's in both its languages."""

    en: str
    ar: str


# Nothing but the style in the page: no request leaves it. No frame-ancestors and no X-Frame-Options, for the shop shows
# it in an iframe; no form-action, for browsers apply that to the redirect after the form too.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"
_STYLE: Final = (files(__package__) / "pages.css").read_text("utf-8")
_PAGE: Final = Template("""<!doctype html>
<html lang="$language" dir="$direction">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SANDBOX: $title</title>
<style>
$style
</style>
</head>
<body$kind>
<header>
<p class="banner">
<span lang="en" dir="ltr">SANDBOX — no real money</span>
<span lang="ar" dir="rtl">بيئة تجريبية، بلا أموال حقيقية</span>
</p>
<div class="top"><span>$psp</span><a href="$elsewhere" lang="$other" hreflang="$other">$other_name</a></div>
</header>
<main>
<h1>$title</h1>
$content
</main>
</body>
</html>
""")
_NAMES: Final[dict[Language, str]] = {"en": "English", "ar": "العربية"}
_PLAYED: Final = Text("{}, played by the sandbox", "{} كما تمثلها البيئة التجريبية")
_PSPS_WORDS: Final = Text("", "ما قالته جهة الدفع:")
_HOME: Final = Text("All that waits in the sandbox", "كل ما ينتظر في البيئة التجريبية")
_REFUSALS: Final = {  # the PSPs' refusals that payers meet; others are shown in the PSP's own words
    "Invalid token.": "رمز الدفع غير صالح.",
    "The payment token has expired.": "انتهت صلاحية رمز الدفع.",
    "This order is paid and locked.": "هذا الطلب مدفوع ومغلق.",
    "There is no such payment.": "لا توجد عملية الدفع هذه.",
    "This payment has ended already.": "انتهت عملية الدفع هذه من قبل.",
    "There is no such checkout.": "لا توجد صفحة الدفع هذه.",
    "There is no such order.": "لا يوجد هذا الطلب.",
    "This order has expired.": "انتهت مهلة هذا الطلب.",
    "This order is captured already.": "حُصّل هذا الطلب من قبل.",
    "This session has expired.": "انتهت مهلة هذه الجلسة.",
    "This session is over.": "انتهت هذه الجلسة.",
}
_MAX_LANGUAGES: Final = 20


def language_of(request: web.Request) -> Language:
    """Return the language of a page: `?lang=`, else what the browser prefers of the two, else English."""
    asked = request.query.get("lang", "")
    if asked.startswith(("ar", "en")):
        return "ar" if asked.startswith("ar") else "en"
    preferred: list[tuple[float, Language]] = []
    for part in request.headers.get("Accept-Language", "").split(",")[:_MAX_LANGUAGES]:
        tag, _, quality = part.strip().lower().partition(";q=")
        primary = tag.partition("-")[0]
        if primary in {"ar", "en"}:
            preferred.append((_number(quality), "ar" if primary == "ar" else "en"))
    return max(preferred, key=lambda one: one[0], default=(0.0, "en"))[1]


def say(language: Language, text: Text | str) -> str:
    """Return the HTML of a sentence. A plain `str` is a PSP's or a merchant's own and stays as it is."""
    if isinstance(text, Text):
        return escape(text.ar if language == "ar" else text.en)
    return f"<bdi>{escape(text)}</bdi>" if text else ""


def page(
    request: web.Request, title: Text, content: str, *, psp: str = "", kind: str = "", status: int = 200
) -> web.Response:
    """Return a page. `content` is HTML, whose values its author escaped; `psp` is the name of who shows it."""
    language = language_of(request)
    other: Language = "en" if language == "ar" else "ar"
    played = Text(_PLAYED.en.format(psp), _PLAYED.ar.format(f"\u2068{psp}\u2069")) if psp else ""
    text = _PAGE.substitute(
        language=language,
        direction="rtl" if language == "ar" else "ltr",
        title=say(language, title),
        style=_STYLE,
        psp=say(language, played),
        elsewhere=escape(f"{request.path}?{urlencode({**request.query, 'lang': other})}"),
        other=other,
        other_name=_NAMES[other],
        kind=f' class="{kind}"' if kind else "",
        content=content,
    )
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-store", "Vary": "Accept-Language"}
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def notice(
    request: web.Request, title: Text, sentence: Text | str, *, psp: str = "", more: str = "", status: int
) -> web.Response:
    """Return a page that says politely how it ended, or why nothing can be done here. `more` is HTML."""
    language = language_of(request)
    kind, role = ("test", "status") if status < web.HTTPBadRequest.status_code else ("error", "alert")
    if isinstance(sentence, str) and sentence in _REFUSALS:
        sentence = Text(sentence, _REFUSALS[sentence])
    said = say(language, sentence)
    if isinstance(sentence, str):
        said = f"{say(language, _PSPS_WORDS)} {said}".strip()
    home = f'<p><a href="/?lang={language}">{say(language, _HOME)}</a></p>'
    content = f'<div class="card"><p class="{kind}" role="{role}">{said}</p>{more}</div>{home}'
    return page(request, title, content, psp=psp, status=status)


def see_other(url: str) -> web.Response:
    """Send the browser to an address with GET, exactly as it is written: the query in it may be signed."""
    return web.Response(status=303, headers={"Location": url, "Cache-Control": "no-store"})


def _number(quality: str) -> float:
    """Read how much a language is wanted; what cannot be read is wanted in full."""
    try:
        return float(quality or 1)
    except ValueError:
        return 1.0
