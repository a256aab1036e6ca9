"""The HTTP application: its routes, its edge rules, and what runs while it is up."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.types import ControllerRouterHandler

from qirsh.api.books import BOOKS_ROUTES
from qirsh.api.cache import AnswerCache
from qirsh.api.deliveries import DELIVERY_ROUTES
from qirsh.api.idempotency import IdempotencyMiddleware
from qirsh.api.limits import Limits
from qirsh.api.operator import OPERATOR_ROUTES
from qirsh.api.problems import HANDLERS
from qirsh.api.refunds import REFUND_ROUTES
from qirsh.api.requests import ReturnRules
from qirsh.api.routes import ROUTES, initiate_with
from qirsh.checkout.pages import PAGES
from qirsh.payments import Payments
from qirsh.routing import PaymentMethodRouter
from qirsh.settings import Settings
from qirsh.store.changes import Watch
from qirsh.store.store import Store

MAX_BODY_BYTES: Final = 64_000


class Services(Protocol):
    """What the routes need, connected."""

    @property
    def payments(self) -> Payments:
        """The verbs."""
        ...

    @property
    def store(self) -> Store:
        """The tables."""
        ...

    @property
    def router(self) -> PaymentMethodRouter:
        """Which methods can be taken in which currency."""
        ...

    @property
    def watch(self) -> Watch:
        """Wakes waiting clients."""
        ...


def create_app(
    settings: Settings,
    connect: Callable[[], AbstractAsyncContextManager[Services]],
    cache: AnswerCache,
    limits: Limits,
    more: tuple[ControllerRouterHandler, ...] = (),
) -> Litestar:
    """The application for these settings; `connect` opens what it needs while it runs."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with connect() as services:
            app.state.services = services
            app.state.settings = settings
            app.state.limits = limits
            yield

    rules = ReturnRules(frozenset(settings.shop_origins), dev=settings.dev)
    return Litestar(
        route_handlers=[
            initiate_with(IdempotencyMiddleware(cache, rules)),
            *ROUTES,
            *OPERATOR_ROUTES,
            *REFUND_ROUTES,
            *BOOKS_ROUTES,
            *DELIVERY_ROUTES,
            *PAGES,
            *more,
        ],
        lifespan=[lifespan],
        exception_handlers=HANDLERS,
        request_max_body_size=MAX_BODY_BYTES,
        cors_config=CORSConfig(
            allow_origins=list(settings.shop_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Content-Type", "Idempotency-Key", "If-None-Match"],
            expose_headers=["Date", "ETag", "Retry-After", "Idempotent-Replayed"],
            max_age=600,
        ),
        openapi_config=OpenAPIConfig(
            title="Qirsh",
            version="0.1.0",
            path="/openapi.json",
            render_plugins=[JsonRenderPlugin(path="/")],
            components=Components(security_schemes={"operatorKey": SecurityScheme(type="http", scheme="bearer")}),
        ),
        logging_config=None,
    )
