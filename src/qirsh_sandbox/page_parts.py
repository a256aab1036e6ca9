"""What the sandbox's pages are made of: what is owed, buttons, fields, hints. Everything returned is HTML."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

from .pages import Language, Text, say

PAY: Final = Text("Pay", "ادفع")
CARD_NUMBER: Final = Text("Card number", "رقم البطاقة")
EXPIRY: Final = Text("Expiry (MM/YY)", "الانتهاء (شهر/سنة)")
CVV: Final = Text("CVV", "رمز التحقق CVV")
DECLINE: Final = Text("Decline", "رفض")
DECLINE_TRY: Final = Text("Decline this try", "ارفض هذه المحاولة")
CANCEL: Final = Text("Cancel", "إلغاء")
EXPIRE: Final = Text("Let it expire", "دع المهلة تنتهي")

_LONG: Final = 24  # letters; a longer label has a line of its own
_ONLY_HERE: Final = Text("Only in the sandbox", "في البيئة التجريبية فقط")
_PRICE: Final = Text("Price", "السعر")
_TO_PAY: Final = Text("To pay", "المطلوب دفعه")
_ORDER: Final = Text("an order without a name", "طلب بلا اسم")
_FACTS: Final = {
    "merchant": Text("Merchant", "التاجر"),
    "method": Text("Method", "طريقة الدفع"),
    "number": Text("Number", "الرقم"),
    "reference": Text("Merchant's reference", "مرجع التاجر"),
}
_MERCHANT: Final = Text("the sandbox's only merchant", "التاجر الوحيد في البيئة التجريبية")
_TEST_DATA: Final = Text("Test data:", "بيانات الاختبار:")


class Due(NamedTuple):
    """What a payer is asked for, in words; `page` is the path where it can be paid.

    `amount` is what the merchant asked for. Where the PSP asks for more, `fee` says who takes it and how much, and
    `total` is all of it.
    """

    psp: str
    product: str
    reference: str
    number: str
    method: Text
    amount: str
    page: str
    created_at: float
    fee: tuple[Text, str] | None = None
    total: str = ""


class Place(NamedTuple):
    """A page of the sandbox's own where payers act: a till, a phone."""

    name: Text
    path: str


def owed(language: Language, due: Due) -> str:
    """Say what is bought and what it costs; a fee stands apart, so that nobody takes it for a mistake."""
    rows = ""
    if due.fee is not None:
        name, fee = due.fee
        rows = _rows("sum", ((say(language, _PRICE), _amount(due.amount)), (say(language, name), _amount(fee))))
    total = due.total or due.amount
    said = f'<p class="hint">{say(language, _TO_PAY)}</p>' if rows else ""
    product = say(language, due.product or _ORDER)
    return (
        f'<div class="owed"><p class="product">{product}</p>{rows}{said}'
        f'<p class="amount"><strong>{_amount(total)}</strong></p></div>'
    )


def facts(language: Language, due: Due, *, number: bool = True) -> str:
    """Say who asks, by what method, and the two names of the order."""
    named = {
        "merchant": say(language, _MERCHANT),
        "method": say(language, due.method),
        "number": code(due.number) if number else "",
        "reference": code(due.reference),
    }
    told = ((say(language, _FACTS[name]), value) for name, value in named.items() if value)
    return _rows("facts", told)


def code(value: str) -> str:
    """Write a number or a reference."""
    return f'<code dir="ltr">{escape(value)}</code>' if value else ""


def field(language: Language, label: Text, name: str, value: str, longest: int, *, half: bool = False) -> str:
    """Return a labelled field, filled in."""
    mode = ' inputmode="numeric"' if value[:1].isdecimal() else ""
    kind = ' class="half"' if half else ""
    return (
        f"<label{kind}>{say(language, label)} "
        f'<input name="{name}"{mode} maxlength="{longest}" value="{escape(value)}"></label>'
    )


def fields(*labelled: str) -> str:
    """Put fields beside each other where they are short."""
    return f'<div class="fields">{"".join(labelled)}</div>'


def button(language: Language, act: str, label: Text, *, amount: str = "", kind: str = "") -> str:
    """Return a button that does an act; the main one, of kind `primary`, has the amount on it."""
    dressed = f' class="{kind}"' if kind else ""
    shown = f"<span>{say(language, label)} {_amount(amount)}</span>" if amount else say(language, label)
    return f'<button{dressed} name="action" value="{act}">{shown}</button>'


def only_here(language: Language, buttons: Mapping[str, Text], *notes: Text) -> str:
    """Return what no real page of the PSP has: buttons for what happens elsewhere, and what it cannot do."""
    pressed = "".join(
        button(language, act, label, kind="long" if len(label.en) > _LONG else "") for act, label in buttons.items()
    )
    pair = f'<div class="pair">{pressed}</div>' if pressed else ""
    lines = "".join(f"<p>{say(language, note)}</p>" for note in notes)
    return f'<fieldset class="only"><legend>{say(language, _ONLY_HERE)}</legend>{pair}{lines}</fieldset>'


def form(*content: str, hidden: Mapping[str, str] | None = None) -> str:
    """Return a form that posts to the address it is shown at."""
    kept = "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">' for name, value in (hidden or {}).items()
    )
    return f'<form method="post" autocomplete="off">{kept}{"".join(content)}</form>'


def what_pays(language: Language, *lines: Text) -> str:
    """Say what pays and what does not, where whoever fills in the form sees it."""
    first, *others = (say(language, line) for line in lines)
    said = "".join(f"<p>{line}</p>" for line in others)
    return f'<div class="test"><p><b>{say(language, _TEST_DATA)}</b> {first}</p>{said}</div>'


def hints(language: Language, *lines: Text) -> str:
    """Say what is good to know."""
    return "".join(f'<p class="hint">{say(language, line)}</p>' for line in lines)


def link(language: Language, address: str, label: Text, *, of: str = "") -> str:
    """Return a link that looks like a button; `of` tells it, for who hears it, from others with the same words."""
    heard = f' aria-label="{escape(label.ar if language == "ar" else label.en)}: {escape(of)}"' if of else ""
    return f'<a class="button" href="{escape(address)}"{heard}>{say(language, label)}</a>'


def table(rows: Mapping[str, str]) -> str:
    """Show names and values of a PSP's own."""
    return _rows("facts", ((code(name), code(value)) for name, value in rows.items()))


def card(*content: str) -> str:
    """Put things on a card."""
    return f'<div class="card">{"".join(content)}</div>'


def error_line(language: Language, sentence: Text | str) -> str:
    """Return a mistake that the payer can mend; nothing when there is none."""
    return f'<p class="error" role="alert">{say(language, sentence)}</p>' if sentence else ""


def named_items(items: Sequence[Mapping[str, object]], name: str) -> str:
    """Return what an order is for: its items by name, with how many where they are several."""
    shown = []
    for item in items:
        quantity, called = f"{item.get('quantity') or 1}", f"{item.get(name) or ''}"
        if called:
            shown.append(called if quantity == "1" else f"{quantity} × {called}")
    return ", ".join(shown)


def _amount(money: str) -> str:
    return f'<bdi dir="ltr">{escape(money)}</bdi>'


def _rows(kind: str, rows: Iterable[tuple[str, str]]) -> str:
    pairs = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return f'<dl class="{kind}">{pairs}</dl>'
