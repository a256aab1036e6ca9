"""What the fake Stripe shows: single objects, lists page by page, and objects inside others where they are asked for.

https://docs.stripe.com/api/pagination and https://docs.stripe.com/api/expanding_objects.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from .stripe_book import Book
from .stripe_errors import Rejected, invalid, missing
from .stripe_params import integer, known
from .stripe_shapes import (
    charge_shape,
    dispute_shape,
    items_shape,
    list_shape,
    payment_shape,
    refund_shape,
    session_shape,
)

_PAGE: Final = ("limit", "starting_after", "ending_before", "expand")
_MOMENTS: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "gt": lambda at, bound: at > bound,
    "gte": lambda at, bound: at >= bound,
    "lt": lambda at, bound: at < bound,
    "lte": lambda at, bound: at <= bound,
}
_OF_SESSIONS: Final = ("payment_intent", "status")
_MOST: Final = 100
_DEFAULT: Final = 10
_MAX_DEPTH: Final = 4  # documented

Shape = dict[str, Any]
Form = Mapping[str, Any]


class _Collection(NamedTuple):
    """One kind of object: its name in refusals, one by its id, all newest first, and by what they can be asked for."""

    noun: str
    one: Callable[[str], Shape | None]
    all: Callable[[], list[Shape]]
    filters: Sequence[str]


class Reads:
    """The GETs of one account."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._collections = {
            "checkout/sessions": _Collection("checkout.session", self.session, self._sessions, _OF_SESSIONS),
            "payment_intents": _Collection("payment_intent", self._payment, self._payments, ()),
            "charges": _Collection("charge", self._charge, self._charges, ("payment_intent",)),
            "refunds": _Collection("refund", self._refund, self._refunds, ("payment_intent", "charge")),
            "disputes": _Collection("dispute", self._dispute, self._disputes, ("payment_intent", "charge")),
            "events": _Collection("event", self._event, self._events, ("type",)),
        }

    def session(self, name: str) -> Shape:
        """Return a session's shape."""
        return session_shape(self._book.session(name), livemode=self._book.livemode)

    def one(self, collection: str, name: str, form: Form) -> Shape:
        """Return one object, with what it was asked to expand.

        Raises:
            Rejected: 404, or parameters that the call does not have.
        """
        known(form, ("expand",))
        kind = self._collections[collection]
        shape = kind.one(name)
        if shape is None:
            raise missing(kind.noun, name)
        return self.expanded(shape, form)

    def items(self, name: str, form: Form) -> Shape:
        """Return the line items of a session.

        Raises:
            Rejected: as above.
        """
        known(form, _PAGE)
        return items_shape(self._book.session(name), livemode=self._book.livemode)

    def page(self, collection: str, form: Form) -> Shape:
        """Return a page of a collection, newest first.

        Raises:
            Rejected: parameters that the call does not have, or that make no sense.
        """
        kind = self._collections[collection]
        known(form, (*_PAGE, "created", *kind.filters))
        limit = integer(form["limit"], "limit") if "limit" in form else _DEFAULT
        if not 1 <= limit <= _MOST:
            raise invalid(f"This value must be between 1 and {_MOST}.", "parameter_invalid_integer", "limit")
        found = [one for one in kind.all() if _fits(one, form, kind.filters)]
        found, more = _cut(found, form, limit, kind.noun)
        return self.expanded(list_shape(found, f"/v1/{collection}", has_more=more), form)

    def expanded(self, shape: Shape, form: Form) -> Shape:
        """Return an object with the objects that `expand` names in the place of their ids.

        Raises:
            Rejected: a property that is none, or cannot be expanded.
        """
        paths = form.get("expand", [])
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise invalid("Invalid array", None, "expand")
        for path in paths:
            parts = path.split(".")
            if len(parts) > _MAX_DEPTH:
                raise invalid("You cannot expand more than 4 levels.", "property_expansion_max_depth", "expand")
            self._expand(shape, parts, path)
        return shape

    def _expand(self, shape: Shape, parts: Sequence[str], path: str) -> None:
        name, rest = parts[0], parts[1:]
        if shape.get("object") == "list" and name == "data" and rest:
            for one in shape["data"]:
                self._expand(one, rest, path)
            return
        inner = shape.get(name)
        if isinstance(inner, str) or (inner is None and name in {"line_items", "refunds"}):
            inner = shape[name] = self._inside(shape, name, inner, path)
        elif name not in shape:
            raise _not_expandable(path)
        if rest and isinstance(inner, dict):
            self._expand(inner, rest, path)

    def _inside(self, shape: Shape, name: str, value: str | None, path: str) -> Shape:
        """Return what an id in an object stands for."""
        if name == "line_items" and shape["object"] == "checkout.session":
            return self.items(shape["id"], {})
        if name == "refunds" and shape["object"] == "charge":
            ours = [refund_shape(refund) for refund in reversed(self._book.refunds.children(shape["id"]))]
            return list_shape(ours, f"/v1/charges/{shape['id']}/refunds", has_more=False)
        collection = {"payment_intent": "payment_intents", "latest_charge": "charges", "charge": "charges"}.get(name)
        found = self._collections[collection].one(f"{value}") if collection else None
        if found is None:
            raise _not_expandable(path)
        return found

    def _sessions(self) -> list[Shape]:
        sessions = reversed(self._book.all_sessions())
        return [session_shape(one, livemode=self._book.livemode) for one in sessions]

    def _payment(self, name: str) -> Shape | None:
        payment = self._book.payments.get(name)
        return None if payment is None else payment_shape(payment, livemode=self._book.livemode)

    def _payments(self) -> list[Shape]:
        return [payment_shape(one, livemode=self._book.livemode) for one in reversed(self._book.payments.all())]

    def _charge(self, name: str) -> Shape | None:
        charge = self._book.charges.get(name)
        return None if charge is None else charge_shape(charge, livemode=self._book.livemode)

    def _charges(self) -> list[Shape]:
        return [charge_shape(one, livemode=self._book.livemode) for one in reversed(self._book.charges.all())]

    def _refund(self, name: str) -> Shape | None:
        refund = self._book.refunds.get(name)
        return None if refund is None else refund_shape(refund)

    def _refunds(self) -> list[Shape]:
        return [refund_shape(one) for one in reversed(self._book.refunds.all())]

    def _dispute(self, name: str) -> Shape | None:
        dispute = self._book.disputes.get(name)
        return None if dispute is None else dispute_shape(dispute, livemode=self._book.livemode)

    def _disputes(self) -> list[Shape]:
        return [dispute_shape(one, livemode=self._book.livemode) for one in reversed(self._book.disputes.all())]

    def _event(self, name: str) -> Shape | None:
        event = self._book.events.get(name)
        return None if event is None else event.body

    def _events(self) -> list[Shape]:
        return [event.body for event in reversed(self._book.events.all())]


def _fits(shape: Shape, form: Form, filters: Iterable[str]) -> bool:
    created = form.get("created")
    if isinstance(created, str):
        if shape["created"] != integer(created, "created"):
            return False
    elif isinstance(created, dict):
        known(created, _MOMENTS, "created")
        bounds = {word: integer(bound, f"created[{word}]") for word, bound in created.items()}
        if not all(_MOMENTS[word](shape["created"], bound) for word, bound in bounds.items()):
            return False
    elif created is not None:
        raise invalid("Invalid timestamp", None, "created")
    return all(shape.get(name) == form[name] for name in filters if name in form)


def _cut(found: list[Shape], form: Form, limit: int, noun: str) -> tuple[list[Shape], bool]:
    """Return the page after or before an object, and whether there is more in that direction."""
    ids = [one["id"] for one in found]
    for name in ("starting_after", "ending_before"):
        if name in form and form[name] not in ids:
            raise missing(noun, f"{form[name]}", name)
    if "ending_before" in form:
        before = found[: ids.index(form["ending_before"])]
        return before[-limit:], len(before) > limit
    start = ids.index(form["starting_after"]) + 1 if "starting_after" in form else 0
    return found[start : start + limit], len(found) > start + limit


def _not_expandable(path: str) -> Rejected:
    return invalid(f"This property cannot be expanded ({path}).", None, "expand")
