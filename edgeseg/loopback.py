"""Which addresses only this machine reaches, and what others are let in by."""

from __future__ import annotations

import ipaddress

TOKEN_VARIABLE = "EDGESEG_SERVE_TOKEN"
"""The environment variable that a service and its clients take the bearer token from."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; of names only ``localhost`` is trusted to be one."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
