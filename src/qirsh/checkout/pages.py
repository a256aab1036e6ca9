"""The page a payer is sent to after a PSP's return, where the shop named no address of its own."""

from collections.abc import Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

_FILES: Final = {
    "pay.html": "text/html",
    "pay.css": "text/css",
    "pay.js": "text/javascript",
    "code.js": "text/javascript",
}
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:"
    ),
}


@get("/pay/{draft_id:str}", include_in_schema=False)
async def pay_page(draft_id: str) -> Response[bytes]:  # noqa: ARG001  the page's script reads it from the address
    """How a payment stands, followed live."""
    return _file("pay.html")


@get("/checkout/{name:str}", include_in_schema=False)
async def checkout_file(name: str) -> Response[bytes]:
    """The page's scripts and style."""
    return _file(name) if name in _FILES else Response(b"", status_code=HTTPStatus.NOT_FOUND)


PAGES: Final[Sequence[HTTPRouteHandler]] = (pay_page, checkout_file)


def _file(name: str) -> Response[bytes]:
    body = (files(__package__) / name).read_bytes()
    return Response(body, media_type=_FILES[name], headers=_HEADERS)
