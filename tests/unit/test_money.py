"""Money: the grammar of amounts, the exponents of currencies, and no float anywhere near either."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_support import SOURCE, thorough

from qirsh.money import EXPONENTS, MAX_AMOUNT_MINOR, InvalidAmountError, Money, major_units

CURRENCIES = st.sampled_from(sorted(EXPONENTS))
WHOLE_DIGITS = 12

NOT_AMOUNTS = [
    *("", " ", "1 ", " 1", "1\n", "\n1", "\t1", "1\x00", "\x00"),
    *("+1", "-1", "-0", "--1", "1-", "1+1"),
    *("1E9", "1e9", "1E+9", "1E999999999", "NaN", "sNaN", "Infinity", "-Infinity", "inf"),
    *("01", "00", "00.5", "1.", ".5", ".", "1..5", "1.5.0", "1,5", "1,000.00", "1_000", "1 000", "1'000"),
    # Digits to Unicode and to Decimal: Arabic-Indic, full width, superscript, a Roman numeral.
    *("\u0663", "\u0663\u0660\u0660", "3\u0660", "1.\u0665", "\uff13", "\uff11.\uff15", "\u00b2", "\u2167"),
    *("1234567890123", "9" * 5000, "1.2345", "1." + "0" * 4),
    *("0x10", "0b1", "0o7", "1/2", "1%", "EGP 1", "1 EGP", "$1", "true", "null", "None", "one"),
]

# The places where an amount is read, compared, sent or heard.
MONEY_FILES = [
    *(SOURCE / "qirsh" / name for name in ("money.py", "draft.py", "catalog.py", "api/requests.py")),
    *sorted((SOURCE / "qirsh" / "gateways").glob("*/*.py")),
]


@pytest.mark.parametrize("text", NOT_AMOUNTS, ids=ascii)
def test_what_is_not_in_the_grammar_is_no_amount(text: str) -> None:
    """Decimal alone would take most of these, and each would be another sum to somebody else's parser."""
    with pytest.raises(InvalidAmountError):
        major_units(text)
    with pytest.raises(InvalidAmountError):
        Money.parse(text, "KWD")


@pytest.mark.parametrize(
    ("text", "currency", "amount_minor"),
    [
        ("300", "EGP", 30_000),
        ("300.0", "EGP", 30_000),
        ("300.00", "EGP", 30_000),
        ("0.01", "EGP", 1),
        ("0", "EGP", 0),
        ("0.10", "EGP", 10),
        ("0.1", "EGP", 10),
        ("12.5", "KWD", 12_500),
        ("0.001", "KWD", 1),
        ("150", "JPY", 150),
        ("999999999999.999", "KWD", MAX_AMOUNT_MINOR),
        ("999999999999", "JPY", 999_999_999_999),
        # Sums that a float would miss by one: 1.15 × 100, 4.35 × 100, 1.005 × 1000.
        ("1.15", "EGP", 115),
        ("4.35", "EGP", 435),
        ("1.005", "KWD", 1_005),
        ("1111111111.11", "EGP", 111_111_111_111),
    ],
)
def test_an_amount_is_read_to_the_last_minor_unit(text: str, currency: str, amount_minor: int) -> None:
    """One piastre more or less is a wrong charge."""
    assert Money.parse(text, currency) == Money(amount_minor, currency)


@pytest.mark.parametrize(
    ("text", "currency"),
    [("1.0", "JPY"), ("1.5", "JPY"), ("0.001", "EGP"), ("1.000", "EGP"), ("1.999", "USD"), ("12.500", "EGP")],
)
def test_more_decimals_than_the_currency_has_are_refused(text: str, currency: str) -> None:
    """Rounding would charge what nobody was shown; even zeros say that the shop thinks of another currency."""
    with pytest.raises(InvalidAmountError, match="decimals"):
        Money.parse(text, currency)


@pytest.mark.parametrize("currency", ["egp", "Egp", "XXX", "EGPX", "EG", "", "EGP ", "\uff25GP", "CLF", "XAU", "BTC"])
def test_an_unknown_currency_is_refused(currency: str) -> None:
    """Without its exponent nobody knows how much money a number is."""
    with pytest.raises(InvalidAmountError):
        Money.parse("1", currency)
    with pytest.raises(InvalidAmountError):
        Money(100, currency)


@pytest.mark.parametrize(
    "amount_minor", [-1, MAX_AMOUNT_MINOR + 1, 2**63, True, False, 1.0, 300.5, "300", None, float("nan")]
)
def test_only_a_whole_number_in_range_is_an_amount(amount_minor: int) -> None:
    """A bool, a float or a text that slips in from a PSP's answer must stop here, not in the ledger."""
    with pytest.raises(InvalidAmountError):
        Money(amount_minor, "EGP")


@pytest.mark.parametrize(
    ("currency", "exponent"),
    [
        *(("EGP", 2), ("USD", 2), ("EUR", 2), ("GBP", 2), ("SAR", 2), ("AED", 2), ("QAR", 2), ("MAD", 2)),
        *(("KWD", 3), ("BHD", 3), ("OMR", 3), ("JOD", 3), ("TND", 3), ("IQD", 3), ("LYD", 3)),
        *(("JPY", 0), ("KRW", 0), ("VND", 0), ("CLP", 0), ("XAF", 0), ("ISK", 0), ("UGX", 0), ("PYG", 0)),
        # Often taken for zero: ISO 4217 gives them two decimals, whatever is in people's pockets.
        *(("HUF", 2), ("TWD", 2), ("IDR", 2), ("COP", 2), ("LBP", 2), ("MRU", 2), ("MGA", 2)),
    ],
)
def test_the_exponents_are_those_of_iso_4217(currency: str, exponent: int) -> None:
    """A wrong exponent charges ten or a hundred times the price."""
    assert EXPONENTS[currency] == exponent


def test_every_currency_is_three_capitals_with_zero_two_or_three_decimals() -> None:
    """The table is typed by hand; a slip in one code would silently lose a currency."""
    assert all(len(code) == 3 and code.isascii() and code.isalpha() and code.isupper() for code in EXPONENTS)
    assert set(EXPONENTS.values()) == {0, 2, 3}


@pytest.mark.parametrize("amount_minor", [0, 1, 9, 10, 99, 100, 101, 999, 1000, 1001, 30_000, 10**12 - 1])
def test_every_currency_reads_back_what_it_writes(amount_minor: int) -> None:
    """What we show is what we are shown again: the page posts the amount that GET methods gave it."""
    for currency in EXPONENTS:
        money = Money(amount_minor, currency)
        assert Money.parse(money.major, currency) == money


@thorough
@given(st.data())
def test_any_amount_reads_back_what_it_writes(data: st.DataObject) -> None:
    """The same for amounts that no example thought of, up to what the grammar can say in that currency."""
    currency = data.draw(CURRENCIES)
    amount_minor = data.draw(st.integers(0, 10 ** (WHOLE_DIGITS + EXPONENTS[currency]) - 1))
    money = Money(amount_minor, currency)
    assert Money.parse(money.major, currency) == money
    assert len(money.major.partition(".")[2]) == EXPONENTS[currency]


@thorough
@given(CURRENCIES, st.from_regex(r"\A(0|[1-9][0-9]{0,11})(\.[0-9]{1,3})?\Z"))
def test_what_is_in_the_grammar_is_exact_or_refused(currency: str, text: str) -> None:
    """There is no third way: an amount is either read exactly or has too many decimals."""
    whole, _, decimals = text.partition(".")
    exponent = EXPONENTS[currency]
    if len(decimals) > exponent:
        with pytest.raises(InvalidAmountError):
            Money.parse(text, currency)
    else:
        assert Money.parse(text, currency).amount_minor == int(whole + decimals.ljust(exponent, "0"))


@thorough
@given(st.text(max_size=20))
def test_any_text_is_an_amount_or_an_invalid_amount(text: str) -> None:
    """Whatever a page sends, the answer is a 400 and never a 500."""
    try:
        money = Money.parse(text, "KWD")
    except InvalidAmountError:
        return
    assert text.isascii()
    assert Money.parse(money.major, "KWD") == money


@thorough
@given(st.integers(0, 10**9), st.integers(1, 10_000))
def test_price_times_quantity_is_whole_minor_units(amount_minor: int, quantity: int) -> None:
    """The catalogue's comparison is integer arithmetic."""
    product = Money(amount_minor, "EGP") * quantity
    assert product == Money(amount_minor * quantity, "EGP")
    assert type(product.amount_minor) is int


def test_a_product_beyond_the_range_is_refused_and_does_not_wrap() -> None:
    """A quantity must not lift an amount over what the column can hold."""
    with pytest.raises(InvalidAmountError):
        Money(MAX_AMOUNT_MINOR, "EGP") * 2


@pytest.mark.parametrize("file", MONEY_FILES, ids=lambda file: str(file.relative_to(SOURCE / "qirsh")))
def test_no_float_touches_money(file: Path) -> None:
    """Half of all pounds have no exact float. Only waiting times, named *_SECONDS, may be written as one."""
    tree = ast.parse(file.read_text("utf-8"))
    times = {id(node) for statement in ast.walk(tree) if _is_waiting_time(statement) for node in ast.walk(statement)}
    floats = [
        f"{file.name}:{getattr(node, 'lineno', '?')}"
        for node in ast.walk(tree)
        if id(node) not in times and _is_float(node)
    ]
    assert not floats


def test_the_float_check_sees_floats() -> None:
    """A guard that cannot fail guards nothing."""
    for text in ("x = 0.5", "float('1')", "x = a / b", "round(x, 2)", "msgspec.convert(a, float)"):
        assert any(_is_float(node) for node in ast.walk(ast.parse(text))), text
    assert _is_waiting_time(ast.parse("A_SECONDS: Final = 0.5").body[0])
    assert not _is_waiting_time(ast.parse("PRICE = 0.5").body[0])


def _is_waiting_time(node: ast.AST) -> bool:
    match node:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name.endswith("_SECONDS")
    return False


def _is_float(node: ast.AST) -> bool:
    """A float literal, a call of float or round, float handed on as a type, or a division that makes one."""
    match node:
        case ast.Constant(value=float()) | ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return True
        case ast.Call(func=ast.Name(id="float" | "round")):
            return True
        case ast.Call(args=args, keywords=keywords):
            handed_on = [*args, *(keyword.value for keyword in keywords)]
            return any(isinstance(one, ast.Name) and one.id == "float" for one in handed_on)
    return False
