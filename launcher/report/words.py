"""Durations and money in words, the same on the terminal and on paper."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """``75`` as "1 min 15 s"; hours and minutes above an hour."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def usd(amount: float) -> str:
    """Money with as many digits as it takes to see any: ``$12.30``, ``$0.50``, ``$0.042``."""
    if amount >= 0.0995 or amount == 0:
        return f"${amount:,.2f}"
    return f"${amount:.2g}" if amount >= 0.0001 else "<$0.0001"
