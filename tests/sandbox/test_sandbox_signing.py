"""The sandbox signs as Paymob's documentation does."""

from qirsh_sandbox.paymob_signing import SIGNED_FIELDS, callback_hmac, make_token, read_token, redirect_query

# https://developers.paymob.com/egypt/manage-callback/hmac: the signed values of its sample, its secret and its digest.
SECRET = "04DC1A9490B8CC2094C011FC055ADCDB"
DIGEST = (
    "fa8ac0b7f3852e60c50e7fdd4ea5ef0bda96030c19dea1d55df8c76d6c08ab18"
    "77774662cbb04981dc84839ad4da560bcc8cb53b8973548657f7e8f8d2e79930"
)
SAMPLE = {
    "amount_cents": 100000,
    "created_at": "2024-06-13T11:33:44.592345",
    "currency": "EGP",
    "error_occured": False,
    "has_parent_transaction": False,
    "id": 192036465,
    "integration_id": 4097558,
    "is_3d_secure": True,
    "is_auth": False,
    "is_capture": False,
    "is_refunded": False,
    "is_standalone_payment": True,
    "is_voided": False,
    "order": {"id": 217503754, "merchant_order_id": None},
    "owner": 302852,
    "pending": False,
    "source_data": {"pan": "2346", "sub_type": "MasterCard", "type": "card"},
    "success": True,
}
UNSIGNED = {
    "profile_id": 164295,
    "merchant_commission": 0,
    "discount_details": [],
    "is_void": False,
    "is_refund": False,
    "refunded_amount_cents": 0,
    "captured_amount": 0,
    "updated_at": "2024-06-13T11:34:07.272638",
    "is_settled": False,
    "bill_balanced": False,
    "is_bill": False,
    "data": {"message": "Approved", "acq_response_code": "00", "txn_response_code": "APPROVED"},
}


def test_the_published_sample_has_the_published_digest() -> None:
    """The one signature of Paymob's that anybody can check: all else here rests on it."""
    assert callback_hmac(SAMPLE, SECRET) == DIGEST


def test_every_signed_field_changes_the_digest() -> None:
    """A field that is listed but not read would let a forged callback through unnoticed."""
    for path in SIGNED_FIELDS:
        name, _, inner = path.partition(".")
        value = {**SAMPLE[name], inner: "other"} if inner else "other"  # type: ignore[dict-item]
        assert callback_hmac({**SAMPLE, name: value}, SECRET) != DIGEST, path


def test_null_and_missing_count_as_empty() -> None:
    """A kiosk bill has no pan; libraries agree that it adds nothing."""
    empty = callback_hmac({**SAMPLE, "source_data": {"pan": "", "sub_type": "a", "type": "b"}}, SECRET)
    assert callback_hmac({**SAMPLE, "source_data": {"pan": None, "sub_type": "a", "type": "b"}}, SECRET) == empty
    assert callback_hmac({**SAMPLE, "source_data": {"sub_type": "a", "type": "b"}}, SECRET) == empty


def test_the_browser_carries_the_same_signature_and_paymobs_names() -> None:
    """The redirect signs the same values, under dotted names, with the order's id as `order`."""
    query = dict(redirect_query({**SAMPLE, **UNSIGNED}, SECRET))
    assert query["hmac"] == DIGEST
    assert query["order"] == "217503754"
    assert query["source_data.pan"] == "2346"
    assert query["data.message"] == "Approved"
    assert query["txn_response_code"] == "APPROVED"
    assert query["success"] == "true"
    assert query["discount_details"] == "[]"
    assert "merchant_order_id" not in query


def test_a_token_is_read_by_its_own_secret_only() -> None:
    """A token of another sandbox, or a changed one, is no authority."""
    token = make_token({"class": "Merchant"}, "one")
    assert read_token(token, "one") == {"class": "Merchant"}
    assert read_token(token, "two") is None
    assert read_token(token[:-4] + "AAAA", "one") is None
    assert read_token("not base64", "one") is None
    assert read_token("", "one") is None
