"""Which browser is that, by what it says of itself? For its owner to recognise, no more. Pure."""

from __future__ import annotations

# The first that fits: Edge and Opera also call themselves Chrome, Chrome also Safari.
_NAMES = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def browser(client: str) -> str:
    """Returns browser and system, such as `Firefox, Linux`; empty for what is none."""
    found = [
        next((name for mark, name in kind if mark in client), "") for kind in (_NAMES, _SYSTEMS)
    ]
    return ", ".join(part for part in found if part)
