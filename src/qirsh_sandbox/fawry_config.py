"""The merchant account at the fake Fawry."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class FawryConfig:
    """What Fawry hands to a merchant. The code looks like base64, as a real one does, which queries must carry."""

    merchant_code: str = "sandbox/Fawry+merchant=="
    security_key: str = field(default="sandbox_fawry_security_key", repr=False)
