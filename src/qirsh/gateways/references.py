"""Our draft id as PSPs give it back to us: the merchant reference."""

from uuid import UUID


def draft_id_of(reference: object) -> UUID | None:
    """The draft that a merchant reference names, a retry's suffix (`~2`) stripped; None when it is no id of ours."""
    text = str(reference).partition("~")[0]
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None
