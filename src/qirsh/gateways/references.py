"""Our draft id as PSPs give it back to us: the merchant reference."""

import re
from typing import Final
from uuid import UUID

_REFERENCE: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:~[1-9])?\Z")
"""As we write it, and nothing else: some PSPs sign it beside other fields without anything in between."""


def draft_id_of(reference: object) -> UUID | None:
    """The draft that a merchant reference names, a retry's suffix (`~2`) stripped; None when it is no id of ours."""
    found = _REFERENCE.match(str(reference))
    return UUID(found[1]) if found else None
