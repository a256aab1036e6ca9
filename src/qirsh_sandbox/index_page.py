"""The first page of the sandbox: what it is, where payers act, and every payment that waits for one."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from aiohttp import web

from .page_parts import Due, Place, code, link
from .pages import Language, Text, language_of, page, say

_LISTED: Final = 50

_TITLE: Final = Text("Payment providers, all made up", "جهات دفع كلها تمثيل")
_WHAT: Final = Text(
    "This is the sandbox of Qirsh: it plays the payment providers below on this machine, with their addresses, "
    "signatures and webhooks. Nothing here costs anything, and no card is real.",
    "هذه بيئة قرش التجريبية: تمثّل جهات الدفع أدناه على هذا الجهاز، بعناوينها وتوقيعاتها وإشعاراتها. لا شيء هنا يكلف "
    "مالًا، ولا توجد بطاقة حقيقية.",
)
_OPEN: Final = Text("Waiting for a payer", "في انتظار الدافع")
_NONE: Final = Text(
    "Nothing waits. Begin a payment in the shop, and reload this page.",
    "لا شيء ينتظر. ابدأ عملية دفع في المتجر ثم أعد تحميل هذه الصفحة.",
)
_GO: Final = Text("Open its page", "افتح صفحته")
_PSPS: Final = Text("Who is played here", "من نمثّلهم هنا")
_NO_PLACE: Final = Text("Its page opens from a payment.", "تُفتح صفحته من عملية دفع.")
_MORE: Final = Text("For developers", "للمطورين")
_DOCS: Final = Text(
    "docs/sandbox.md of the repository is the manual: test data, faults, the clock.",
    "الدليل في الملف docs/sandbox.md من المستودع: بيانات الاختبار والأعطال والساعة.",
)
_LEDGER: Final = Text("What really happened", "ما حدث حقًا")
_DELIVERIES: Final = Text("Every webhook that was sent", "كل إشعار أُرسل")


@runtime_checkable
class Shown(Protocol):
    """A PSP whose pages are listed here. Those of this release are; one from outside may be.

    `places` are pages of the sandbox's own where its payers act.
    """

    @property
    def title(self) -> str:
        """The PSP's name as people write it."""
        ...

    @property
    def places(self) -> Sequence[Place]:
        """Tills and phones."""
        ...

    def dues(self, limit: int) -> list[Due]:
        """Return what waits for a payer, newest first."""
        ...


class Index:
    """The handler of the page."""

    def __init__(self, psps: Mapping[str, Any]) -> None:
        self._psps = {name: psp for name, psp in psps.items() if isinstance(psp, Shown)}

    def routes(self) -> list[web.RouteDef]:
        """Return the page's path."""
        return [web.get("/", self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        language = language_of(request)
        dues = [due for psp in self._psps.values() for due in psp.dues(_LISTED)]
        dues.sort(key=lambda due: due.created_at, reverse=True)
        waiting = "".join(self._waiting(language, due) for due in dues[:_LISTED])
        content = (
            f"<p>{say(language, _WHAT)}</p>"
            f"<h2>{say(language, _PSPS)}</h2>"
            f'<ul class="psps">{"".join(_played(language, psp) for psp in self._psps.values())}</ul>'
            f"<h2>{say(language, _OPEN)}</h2>"
            f'<ul class="list dues">{waiting}</ul>'
            f"{'' if waiting else f'<p>{say(language, _NONE)}</p>'}"
            f"<h2>{say(language, _MORE)}</h2>"
            f"<p>{say(language, _DOCS)}</p>"
            f'<p><a href="/__sandbox/ledger">{say(language, _LEDGER)}</a> · '
            f'<a href="/__sandbox/deliveries">{say(language, _DELIVERIES)}</a></p>'
        )
        return page(request, _TITLE, content, kind="index")

    def _waiting(self, language: Language, due: Due) -> str:
        return (
            f'<li class="card"><h3>{say(language, due.product or due.reference)}</h3>'
            f'<p class="hint">{say(language, self._psps[due.psp].title)} · {say(language, due.method)} · '
            f"{code(due.number)}</p>"
            f'<p class="hint">{code(due.reference)}</p>'
            f'<p class="amount"><bdi dir="ltr">{due.total or due.amount}</bdi></p>'
            f"{link(language, due.page, _GO, of=f'{due.product} {due.number}')}</li>"
        )


def _played(language: Language, psp: Shown) -> str:
    places = "".join(f"<p>{link(language, place.path, place.name)}</p>" for place in psp.places)
    none = f'<p class="hint">{say(language, _NO_PLACE)}</p>'
    return f'<li class="card"><h3>{say(language, psp.title)}</h3>{places or none}</li>'
