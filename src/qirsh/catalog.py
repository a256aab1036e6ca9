"""The catalogue: what is for sale, and for how much. The page's price is never believed, only compared."""

from collections.abc import Collection

import msgspec

from qirsh.draft import DraftRequest
from qirsh.errors import (
    FieldError,
    InvalidRequest,
    MethodNotSupported,
    PriceMismatch,
    ProductNotFound,
    ProductNotPurchasable,
)
from qirsh.money import InvalidAmountError, Money


class Product(msgspec.Struct, frozen=True):
    """Something the shop sells: its name by language and its price by currency, in minor units."""

    id: str
    name: dict[str, str]
    prices: dict[str, int]
    purchasable: bool

    def name_in(self, locale: str | None) -> str:
        """The name in the payer's language, else in English, else in whatever there is."""
        language = (locale or "en").partition("-")[0]
        return self.name.get(language) or self.name.get("en") or next(iter(self.name.values()), self.id)


def priced(product: Product | None, request: DraftRequest, currencies: Collection[str]) -> Money:
    """The money to collect: the product exists, is for sale, and costs what the payer was shown.

    `currencies` are those in which the payment method can be taken; they decide when the request names none.

    Raises:
        ProductNotFound, ProductNotPurchasable, PriceMismatch, MethodNotSupported: as they say.
        InvalidRequest: the currency is left out and not clear, or the amount has more decimals than the currency.
    """
    if product is None:
        raise ProductNotFound(f"No product has the id {request.product_id!r}.")
    if not product.purchasable:
        raise ProductNotPurchasable
    currency = request.currency or _only_currency(product, request, currencies)
    try:
        shown = Money.parse(request.amount, currency)
    except InvalidAmountError as error:
        raise InvalidRequest(errors=[FieldError("#/product_amount", f"{error}")]) from None
    price = product.prices.get(currency)
    if price is None:
        raise PriceMismatch(f"The product has no price in {currency}.")
    if shown.amount_minor != price * request.quantity:
        raise PriceMismatch
    return shown


def _only_currency(product: Product, request: DraftRequest, currencies: Collection[str]) -> str:
    choices = sorted(currency for currency in product.prices if currency in currencies)
    match choices:
        case []:
            raise MethodNotSupported(f"{request.method} cannot be taken in any currency this product is priced in.")
        case [currency]:
            return currency
        case _:
            detail = f"name the currency: this product can be paid by {request.method} in {', '.join(choices)}"
            raise InvalidRequest(errors=[FieldError("#/currency", detail)])
