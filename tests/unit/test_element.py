"""The element's source and what is served of it: every word in every language, every module once, and small."""

import gzip
import re
from typing import Final

import pytest
from unit_support import SOURCE

from qirsh.checkout.element import MODULES, joined, packed
from qirsh.checkout.pages import policy
from qirsh.draft import DeclineCode

ELEMENT: Final = SOURCE / "qirsh" / "checkout" / "element"
DOCUMENT: Final = (SOURCE.parent / "docs" / "checkout.md").read_text("utf-8")
MAX_PACKED: Final = 15_000
"""15 kB, of 1,024 bytes."""
PLACEHOLDER: Final = re.compile(r"\{\w+\}")


def strings() -> dict[str, dict[str, str]]:
    """The sentences of each language."""
    text = (ELEMENT / "strings.js").read_text("utf-8")
    return {
        language: dict(re.findall(r'^    (\w+): "(.*)",$', table, re.MULTILINE))
        for language, table in re.findall(r"^  (\w\w): \{\n(.*?)^  \},$", text, re.MULTILINE | re.DOTALL)
    }


def source() -> str:
    """All modules, as they are written."""
    return "".join(file.read_text("utf-8") for file in ELEMENT.glob("*.js"))


def test_every_sentence_is_there_in_every_language() -> None:
    """A word that one language lacks is an exception in the middle of somebody's payment."""
    said = strings()
    assert said.keys() == {"en", "ar"}
    assert said["en"].keys() == said["ar"].keys()
    for name, english in said["en"].items():
        assert set(PLACEHOLDER.findall(english)) == set(PLACEHOLDER.findall(said["ar"][name])), name
        assert re.search(r"[\u0600-\u06ff]", said["ar"][name]), name


def test_every_reason_of_the_server_has_a_sentence() -> None:
    """An enum of another language: no type checker tells when it grows."""
    assert {f"reason_{code}" for code in DeclineCode} <= strings()["en"].keys()


def test_every_sentence_is_said_somewhere_and_every_one_that_is_said_is_there() -> None:
    """Dead words weigh on slow networks; a missing one is found by a payer."""
    known = strings()["en"].keys()
    said = set(re.findall(r'say\(\s*"(\w+)"', source()))
    quoted = set(re.findall(r'"(\w+)"', source()))
    assert said <= known
    built = {name for name in known if name.startswith(("reason_", "hint_"))}
    by_code = {"price_mismatch", "too_many_requests", "gateway_unavailable", "invalid_request"}
    assert known - said - quoted - built - by_code == set()


def test_what_is_served_is_one_module_of_all_modules() -> None:
    """A file that is not joined is a name that is not defined; what is left of an import would be a second request."""
    assert {file.stem for file in ELEMENT.glob("*.js")} == set(MODULES)
    served = joined().body.decode()
    assert gzip.decompress(packed()).decode() == served
    assert not re.search(r"^\s*import\b|from ?\"\.", served, re.MULTILINE)
    assert re.findall(r"\bexport\b.*", served) == ["export { QirshCheckout };"]
    assert "/**" not in served


def test_no_two_modules_use_one_name() -> None:
    """Joined, they share one scope."""
    names = re.findall(r"^(?:export )?(?:async )?(?:const|function|class) (\w+)", source(), re.MULTILINE)
    assert sorted(names) == sorted(set(names))


def test_strings_are_served_as_they_are_written() -> None:
    """Spaces are taken out around signs, and never inside of a sentence; each stands at the place of its name."""
    (served,) = re.findall(r'const \[NAMES,...TABLES\]="([^"]*)"', joined().body.decode())
    names, *tables = (line.split("|") for line in served.split("~"))
    assert {code: dict(zip(names, said, strict=True)) for code, *said in tables} == strings()


def test_the_element_is_small_and_the_documentation_says_how_small() -> None:
    """A payer on a slow network waits for each byte."""
    size = len(packed())
    assert size <= MAX_PACKED
    (told,) = re.findall(r"\| packed \(gzip\) \| ([\d,]+) bytes \|", DOCUMENT)
    assert abs(int(told.replace(",", "")) - size) < 100, size


def test_nothing_in_the_element_leads_to_another_host() -> None:
    """No font, no script, no picture of anybody else: whoever serves one learns who pays where."""
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", joined().body.decode()))
    assert addresses == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("dev", [False, True])
def test_frames_may_show_what_comes_over_tls_alone_except_in_dev(dev: bool) -> None:  # noqa: FBT001  a parameter
    """A card form over plain http is nobody's."""
    rules = policy(["https://shop.example"], dev=dev)
    assert ("http:" in re.split("[; ]", rules)) is dev
    assert "frame-ancestors 'self' https://shop.example" in rules
