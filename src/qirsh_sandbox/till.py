"""A page where payments wait that a payer makes elsewhere: in cash at a shop, in a wallet, on the phone.

`?number=…` shows one of them, also after it has ended, and the page without it all that wait.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, get_args

from aiohttp import web

from .page_parts import (
    Due,
    button,
    card,
    error_line,
    facts,
    form,
    hints,
    link,
    only_here,
    owed,
)
from .pages import Language, Text, language_of, notice, page, say, see_other
from .psp import Act, CannotActError, Refused, Route, UnknownReferenceError

LISTED: Final = 50

_NOTHING: Final = Text("Nothing waits for a payer.", "لا شيء ينتظر الدفع.")
_ALL: Final = Text("All that waits", "كل ما ينتظر الدفع")
_UNKNOWN: Final = Text("There is no such number.", "لا يوجد هذا الرقم.")
_NO_BUTTON: Final = Text("There is no such button.", "لا يوجد هذا الزر.")
_STATUS: Final = Text("Status:", "الحالة:")


class Waiting(NamedTuple):
    """A payment at the till. `pay` is its main button, None once it is over; `others` are the buttons beside it.

    `status` is the PSP's own word, and `message` what the payer was told on a phone. `notes` say what the payer or the
    PSP cannot do, where one looks for the button.
    """

    due: Due
    status: str
    pay: Text | None = None
    others: Mapping[str, Text] = {}
    notes: Sequence[Text] = ()
    message: str = ""


class Till(NamedTuple):
    """One till. `settle` does an act of the control plane's to the payment of a number."""

    psp: str
    path: str
    title: Text
    about: Sequence[Text]
    waiting: Callable[[], Sequence[Waiting]]
    named: Callable[[str], Waiting | None]
    settle: Callable[[str, Act], None]

    def routes(self) -> list[Route]:
        """Return the till's paths. No fault hits them: a payer reloads."""
        return [Route("GET", self.path, self._show), Route("POST", self.path, self._settle)]

    async def _show(self, request: web.Request) -> web.Response:
        return self._listed(request, request.query.get("number", ""))

    async def _settle(self, request: web.Request) -> web.Response:
        posted = await request.post()
        number, action = f"{posted.get('number', '')}", f"{posted.get('action', '')}"
        act: Act | None = next((one for one in get_args(Act) if one == action), None)
        if act is None:
            return notice(request, self.title, _NO_BUTTON, psp=self.psp, status=400)
        try:
            self.settle(number, act)
        except UnknownReferenceError:
            return notice(request, self.title, _UNKNOWN, psp=self.psp, status=404)
        except (CannotActError, Refused) as error:
            return self._listed(request, number, error=f"{error}.".replace("..", "."), status=409)
        return see_other(f"{request.rel_url.update_query(number=number)}")

    def _listed(self, request: web.Request, number: str, *, error: str = "", status: int = 200) -> web.Response:
        language = language_of(request)
        shown: Sequence[Waiting]
        if number:
            found = self.named(number)
            shown = [found] if found else []
        else:
            shown = self.waiting()
        rows = "".join(_row(language, one) for one in shown) or card(f"<p>{say(language, _NOTHING)}</p>")
        all_of_them = link(language, f"{request.rel_url.without_query_params('number')}", _ALL) if number else ""
        content = f"{error_line(language, error)}{rows}{all_of_them}{hints(language, *self.about)}"
        return page(request, self.title, content, psp=self.psp, kind="till", status=status)


def _row(language: Language, waiting: Waiting) -> str:
    due = waiting.due
    pressed = ""
    if waiting.pay is not None:
        pressed = form(
            button(language, "pay", waiting.pay, amount=due.total or due.amount, kind="primary"),
            only_here(language, waiting.others, *waiting.notes),
            hidden={"number": due.number},
        )
    return card(
        f"<h2>{due.number}</h2>",
        owed(language, due),
        f'<p class="test">{say(language, waiting.message)}</p>' if waiting.message else "",
        f'<p class="status">{say(language, _STATUS)} <bdi>{waiting.status}</bdi></p>',
        pressed,
        facts(language, due, number=False),
    )
