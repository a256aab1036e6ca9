"""How a payment that waits for its payer begins at the fake Paymob: by `payments/pay`, or from the checkout page."""

import re
from typing import Any, Final

from .paymob_book import Book
from .paymob_records import Outcome
from .paymob_shapes import wallet_page_url
from .psp import Refused

_MOBILE: Final = re.compile(r"01[0125][0-9]{8}")
_WALLET_WAITS: Final = Outcome(success=False, message="Transaction Created Successfully", txn_response_code="200")
_BILL_WAITS: Final = Outcome(success=False, message="Pending Payment", txn_response_code="05")


def pay_by_wallet(book: Book, token: str, identifier: str) -> dict[str, Any]:
    """Ask a wallet for the money; its payer confirms on the page at `redirect_url`."""
    if not _MOBILE.fullmatch(identifier):
        raise Refused(400, {"source": {"identifier": ["Enter a valid phone number."]}})
    order, key = book.usable(token, "wallet")
    transaction = book.begin(key, "wallet", pan=identifier, sub_type="wallet", outcome=_WALLET_WAITS)
    url = wallet_page_url(transaction, order, book.merchant)
    return {**book.shape(transaction), "redirect_url": url, "iframe_redirection_url": url}


def pay_at_kiosk(book: Book, token: str) -> dict[str, Any]:
    """Make a bill, whose payer quotes `data.bill_reference` at a kiosk."""
    _, key = book.usable(token, "aggregator")
    return book.shape(book.begin(key, "aggregator", pan="", sub_type="AGGREGATOR", outcome=_BILL_WAITS))
