"""The frame of every hosted page: plain, readable on a phone, unmistakably fake, and allowed inside an iframe."""

from html import escape
from string import Template
from typing import Final

from aiohttp import web

# Nothing but the style in the page: no request leaves it. No frame-ancestors and no X-Frame-Options, for the shop shows
# it in an iframe; no form-action, for browsers apply that to the redirect after the form too.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SANDBOX: $title</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; color: #222; background: #fff; }
header { background: #b45309; color: #fff; font-weight: bold; padding: .75rem 1rem; text-align: center; }
main { max-width: 26rem; margin: 0 auto; padding: 1rem; }
label { display: block; margin: .75rem 0; }
input { display: block; width: 100%; box-sizing: border-box; font: inherit; padding: .5rem; }
button { font: inherit; padding: .6rem 1rem; margin: .5rem .5rem 0 0; }
.error { border-left: .25rem solid #b91c1c; padding: .25rem .75rem; background: #fef2f2; }
.hint { color: #555; font-size: .9rem; }
code { word-break: break-all; }
</style>
</head>
<body>
<header>SANDBOX — no real money</header>
<main>
<h1>$title</h1>
$content
</main>
</body>
</html>
""")


def page(title: str, content: str, *, status: int = 200) -> web.Response:
    """Return a page. `title` is text and is escaped; `content` is HTML, whose values its author escaped."""
    return web.Response(
        text=_PAGE.substitute(title=escape(title), content=content),
        status=status,
        content_type="text/html",
        headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-store"},
    )


def notice(title: str, sentence: str, *, status: int) -> web.Response:
    """Return a page that says politely why nothing can be done here."""
    return page(title, f'<p class="error" role="alert">{escape(sentence)}</p>', status=status)


def error_line(sentence: str) -> str:
    """Return the HTML of a mistake the payer can mend; nothing when there is none."""
    return f'<p class="error" role="alert">{escape(sentence)}</p>' if sentence else ""


def see_other(url: str) -> web.Response:
    """Send the browser to an address with GET, exactly as it is written: the query in it may be signed."""
    return web.Response(status=303, headers={"Location": url, "Cache-Control": "no-store"})
