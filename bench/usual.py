"""The usual stack: FastAPI and pydantic, SQLAlchemy 2's ORM over asyncpg, httpx. As their documentation shows it.

The same tables, the same PSP call and the same answers as Qirsh: one session a request, one client for all.
"""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

import httpx
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import CHAR, DateTime, ForeignKey, LargeBinary, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.contender import Told, main
from bench.psp import INTEGRATION

_NA: Final = (
    *("apartment", "floor", "street", "building", "shipping_method", "postal_code", "city", "country", "state"),
)


class Base(DeclarativeBase):
    """The tables."""


class Product(Base):
    """What the shop sells."""

    __tablename__ = "products"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[dict[str, str]] = mapped_column(JSONB)
    prices: Mapped[dict[str, int]] = mapped_column(JSONB)
    purchasable: Mapped[bool]


class Draft(Base):
    """A payment draft."""

    __tablename__ = "payment_drafts"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    idempotency_key: Mapped[str]
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    request: Mapped[dict[str, Any]] = mapped_column(JSONB)
    product_id: Mapped[str]
    method: Mapped[str]
    gateway: Mapped[str]
    order_reference: Mapped[str | None]
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(CHAR(3))
    state: Mapped[str] = mapped_column(default="pending")
    reason: Mapped[str | None]
    transaction_reference_id: Mapped[str | None]
    payment_reference: Mapped[str | None]
    action: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    claimed_by: Mapped[uuid.UUID | None]
    claimed_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    next_check_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    refunded_minor: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Event(Base):
    """A line of the journal."""

    __tablename__ = "payment_events"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    draft_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("payment_drafts.id"))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    source: Mapped[str]
    event: Mapped[dict[str, Any]] = mapped_column(JSONB)
    verdict: Mapped[str]
    state: Mapped[str]


class Heard(Base):
    """An event that was heard."""

    __tablename__ = "webhook_events"
    gateway: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)


class Delivered(Base):
    """A delivery as it came."""

    __tablename__ = "webhook_deliveries"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    gateway: Mapped[str]
    event_id: Mapped[str | None]
    draft_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("payment_drafts.id"))
    verdict: Mapped[str]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    headers: Mapped[dict[str, str]] = mapped_column(JSONB)
    query: Mapped[dict[str, str]] = mapped_column(JSONB)


class Fulfilment(Base):
    """A completed draft that the shop must be told of."""

    __tablename__ = "fulfilments"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    draft_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("payment_drafts.id"))
    order_reference: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    next_check_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Payer(BaseModel):
    """Who pays."""

    name: Annotated[str | None, Field(max_length=100)] = None
    email: Annotated[str | None, Field(max_length=200)] = None
    phone: Annotated[str | None, Field(max_length=20)] = None


class InitiateRequest(BaseModel):
    """The body of initiate."""

    model_config = ConfigDict(extra="forbid")

    product_id: str = Field(max_length=100)
    product_amount: Decimal
    payment_method: str
    idempotency_key: str = Field(min_length=16, max_length=200)
    currency: str = "EGP"
    quantity: int = 1
    order_reference: str | None = None
    payer: Payer = Payer()
    return_url: str | None = None
    locale: str | None = None


class Initiated(BaseModel):
    """The answer to initiate."""

    paymentDraftId: uuid.UUID  # noqa: N815  the wire's name
    paymentAction: str  # noqa: N815  as above
    actionData: dict[str, Any]  # noqa: N815  as above
    expiresAt: datetime  # noqa: N815  as above


class Status(BaseModel):
    """The answer to status."""

    paymentDraftId: uuid.UUID  # noqa: N815  the wire's name
    status: str
    amount: Decimal
    currency: str
    updatedAt: datetime  # noqa: N815  the wire's name
    actionData: dict[str, Any] | None  # noqa: N815  as above


async def session_of(request: Request) -> AsyncIterator[AsyncSession]:
    """One session a request."""
    async with request.app.state.sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(session_of)]


router = APIRouter()


@router.post("/api/payments/initiate", status_code=201)
@router.post("/replay", status_code=201)
async def initiate(request: Request, asked: InitiateRequest, session: Session) -> Initiated:
    """Find the key, check the product, write the draft, call the PSP, write what it said."""
    known = await session.scalar(select(Draft).where(Draft.idempotency_key == asked.idempotency_key))
    if known is not None:
        return _answer(known)
    product = await session.get(Product, asked.product_id)
    if product is None or not product.purchasable:
        raise HTTPException(404)
    if product.prices[asked.currency] != int(asked.product_amount * 100) * asked.quantity:
        raise HTTPException(409)
    draft = _draft(asked)
    session.add(draft)
    await session.commit()
    answer = await request.app.state.http.post("/v1/intention/", json=_intention(draft, product, asked.payer))
    answer.raise_for_status()
    order = answer.json()
    draft.state = "awaiting_user_action"
    draft.transaction_reference_id = str(order["intention_order_id"])
    draft.action = {"paymentAction": "redirect_url", "url": order["client_secret"], "display": "redirect"}
    draft.claimed_by = draft.claimed_until = None
    draft.updated_at = datetime.now(UTC)
    session.add(_event(draft, "initiate", {"kind": "registered", "gateway": "paymob"}))
    await session.commit()
    return _answer(draft)


@router.post("/api/payments/webhook-handler/paymob")
async def webhook(request: Request, session: Session) -> dict[str, bool]:
    """Lock the draft, remember the event, complete the draft, keep the delivery."""
    body = await request.body()
    paid = (await request.json())["obj"]
    payment, now = str(paid["id"]), datetime.now(UTC)
    draft = await session.scalar(
        select(Draft)
        .where(Draft.gateway == "paymob", Draft.transaction_reference_id == str(paid["order"]["id"]))
        .with_for_update()
    )
    if draft is None:
        raise HTTPException(404)
    draft.state, draft.payment_reference, draft.updated_at, draft.next_check_at = "completed", payment, now, None
    event_id = f"{payment}:false:true"
    session.add(Heard(gateway="paymob", event_id=event_id))
    session.add(_event(draft, "webhook", {"kind": "paid", "gateway": "paymob", "event_id": event_id}))
    told = {"draft_id": draft.id, "order_reference": draft.order_reference}
    session.add(Fulfilment(id=uuid.uuid4(), **told, created_at=now, next_check_at=now))
    delivered = {"gateway": "paymob", "event_id": event_id, "draft_id": draft.id, "verdict": "applied"}
    session.add(Delivered(id=uuid.uuid4(), received_at=now, **delivered, body=body, headers={}, query={}))
    await session.commit()
    return {"received": True}


@router.get("/api/payments/status/{draft_id}", response_model=Status)
async def status(request: Request, draft_id: uuid.UUID, session: Session) -> Any:  # noqa: ANN401  a model, or 304
    """A draft as it stands."""
    draft = await session.get(Draft, draft_id)
    if draft is None:
        raise HTTPException(404)
    if "if-none-match" in request.headers:
        return Response(status_code=304)
    return Status(
        paymentDraftId=draft.id,
        status=draft.state,
        amount=Decimal(draft.amount_minor) / 100,
        currency=draft.currency,
        updatedAt=draft.updated_at,
        actionData=draft.action,
    )


def make(told: Told) -> FastAPI:
    """The application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine = create_async_engine(told.database_url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=10)
        app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
        limits = httpx.Limits(max_connections=1000, max_keepalive_connections=1000)
        async with httpx.AsyncClient(base_url=told.psp_url, limits=limits, timeout=10) as http:
            app.state.http = http
            yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan)
    app.include_router(router)
    return app


def _draft(asked: InitiateRequest) -> Draft:
    now = datetime.now(UTC)
    return Draft(
        id=uuid.uuid4(),
        idempotency_key=asked.idempotency_key,
        fingerprint=bytes(32),
        request=asked.model_dump(mode="json"),
        product_id=asked.product_id,
        method=asked.payment_method,
        gateway="paymob",
        order_reference=asked.order_reference,
        amount_minor=int(asked.product_amount * 100),
        currency=asked.currency,
        claimed_by=uuid.uuid4(),
        claimed_until=now + timedelta(seconds=15),
        next_check_at=now + timedelta(seconds=90),
        created_at=now,
        updated_at=now,
        expires_at=now + timedelta(hours=1),
    )


def _event(draft: Draft, source: str, event: dict[str, Any]) -> Event:
    return Event(
        id=uuid.uuid4(),
        draft_id=draft.id,
        at=datetime.now(UTC),
        source=source,
        event=event,
        verdict="applied",
        state=draft.state,
    )


def _intention(draft: Draft, product: Product, payer: Payer) -> dict[str, Any]:
    name = product.name["en"]
    return {
        "amount": draft.amount_minor,
        "currency": draft.currency,
        "payment_methods": [INTEGRATION],
        "items": [{"name": name, "amount": draft.amount_minor, "description": name, "quantity": 1}],
        "billing_data": {
            **dict.fromkeys(_NA, "NA"),
            "first_name": payer.name,
            "last_name": "NA",
            "email": payer.email,
            "phone_number": payer.phone,
        },
        "special_reference": str(draft.id),
        "expiration": 3600,
    }


def _answer(draft: Draft) -> Initiated:
    assert draft.action is not None
    return Initiated(
        paymentDraftId=draft.id,
        paymentAction="redirect_url",
        actionData=draft.action,
        expiresAt=draft.expires_at,
    )


if __name__ == "__main__":
    main(make)
