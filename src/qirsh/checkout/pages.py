"""What payers' browsers load: the element for shops' own pages, and the two pages that hold it."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler

from qirsh.checkout.element import joined, packed

ELEMENT: Final = "qirsh-checkout.js"

_FILES: Final = {"pay.css": "text/css", "pay.js": "text/javascript"}
_ELEMENT: Final = joined()
_ELEMENT_HEADERS: Final = {
    # Five minutes: a page that is opened now gets the release that answers it now.
    "Cache-Control": "public, max-age=300",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "ETag": _ELEMENT.etag,
    "Vary": "Accept-Encoding, Origin",
    "X-Content-Type-Options": "nosniff",
}
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@get(["/pay", "/pay/{draft_id:str}"], include_in_schema=False)
async def pay_page(request: Request[Any, Any, Any], draft_id: str = "") -> Response[bytes]:  # noqa: ARG001  the page's script reads it from the address
    """A payment link, and a payment that is under way: the element on a page of its own."""
    settings = request.app.state.settings
    return Response(
        (files(__package__) / "pay.html").read_bytes(),
        media_type="text/html",
        headers={**_HEADERS, "Content-Security-Policy": policy(settings.shop_origins, dev=settings.dev)},
    )


@get("/checkout/{name:str}", include_in_schema=False)
async def checkout_file(request: Request[Any, Any, Any], name: str) -> Response[bytes]:
    """The element, and the pages' script and style."""
    if name == ELEMENT:
        return await _element(request)
    if name not in _FILES:
        return Response(b"", status_code=HTTPStatus.NOT_FOUND)
    return Response((files(__package__) / name).read_bytes(), media_type=_FILES[name], headers=_HEADERS)


PAGES: Final[Sequence[HTTPRouteHandler]] = (pay_page, checkout_file)


def policy(shop_origins: Sequence[str], *, dev: bool) -> str:
    """The pages' Content-Security-Policy: scripts and styles of ours alone, and only the shop's pages around them.

    PSPs' card forms stand in a frame, on addresses that only the PSPs know; in `qirsh dev` the sandbox's are http.
    """
    rules = {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "connect-src": ["'self'"],
        "img-src": ["data:"],
        "frame-src": ["https:", *(["http:"] if dev else [])],
        "frame-ancestors": ["'self'", *shop_origins],  # ourselves: a PSP sends its frame back to one of these pages
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
    }
    return "; ".join(f"{name} {' '.join(values)}" for name, values in rules.items())


async def _element(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The element, packed where the browser says that it unpacks; whoever comes first waits until it is."""
    if _ELEMENT.etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, headers=_ELEMENT_HEADERS)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(_ELEMENT.body, media_type="text/javascript", headers=_ELEMENT_HEADERS)
    state = request.app.state
    if "packing" not in state or (state.packing.done() and state.packing.exception()):
        state.packing = asyncio.create_task(asyncio.to_thread(packed))
    body = await asyncio.shield(state.packing)
    return Response(body, media_type="text/javascript", headers={**_ELEMENT_HEADERS, "Content-Encoding": "gzip"})
