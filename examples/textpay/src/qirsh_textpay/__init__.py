"""TextPay, a gateway that is installed beside Qirsh: a made-up Egyptian wallet that texts its payers a code.

There is no TextPay; what follows stands for the documentation of a PSP. Its API speaks JSON, takes
`Authorization: Bearer <api_key>` and counts money in piastres. A test account never moves money, and says
`"live": false` everywhere.

1. Charges. `POST /textpay/v1/charges` `{merchant_reference, amount, currency: "EGP", phone, description}` answers 201
   with a charge and texts a code to the phone. A merchant reference is taken once: 422 `reference_taken`. A phone
   without a wallet: 422 `no_wallet`. A charge ends after ten minutes.

       {"id": "ch_…", "live": true, "merchant_reference": "…", "amount": 30000, "currency": "EGP",
        "status": "awaiting_code", "otp_token": "ot_…", "code_length": 6, "declines": [], "refunds": []}

   `status`: `awaiting_code`; `processing` while the wallet's operator has not answered; `paid`; and the ends `locked`,
   `expired`, `cancelled`. `declines` are the codes of the tries that were refused, `refunds` are
   `{id, reference, amount}`, each list oldest first.
2. Confirming. `POST …/charges/{id}/confirm` `{otp_token, code}` answers 200 with the charge, `paid` or `processing`.
   422 `wrong_code` and `insufficient_funds`: another code, or the same, may be tried. 422 `charge_locked` with the
   eighth wrong code, then and after the other ends `charge_expired` and `charge_cancelled`. 422 `not_awaiting`: it is
   paid or processing.
3. Looking up. `GET …/charges?merchant_reference=…` answers `{"charges": […]}` with one charge or none.
4. Refunds. `POST …/charges/{id}/refunds` `{amount, reference, reason}` answers 201 with the charge. Parts may go
   back until nothing is left: 422 `refund_too_much`. 422 `not_paid`.
5. Repeats. Each POST takes an `Idempotency-Key`. For 24 hours the same key gets the first answer again, and nothing is
   done: no second text, no other try, no other refund.
6. Errors are `{"error": {"code", "message"}}`.
7. Webhooks. `{"id", "type", "live", "charge": {…}}`, the charge as it was then, posted to one address. `type`:
   `charge.paid`, `charge.declined`, `charge.ended`, `charge.refunded`. The header `TextPay-Signature` is
   `t=<seconds since 1970>,v1=<hex>`: HMAC-SHA256 of `<t>.<body>` under the webhook secret, anew for each attempt.
"""

from qirsh.gateways.base import GatewayKind
from qirsh_textpay.gateway import Credentials, TextPay

GATEWAY = GatewayKind(Credentials, TextPay)
"""What the entry point in the group `qirsh.gateways` names."""

__all__ = ["GATEWAY", "Credentials", "TextPay"]
