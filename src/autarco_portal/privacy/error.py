"""What is said of a step that the rules of privacy do not allow?"""

from __future__ import annotations


class PrivacyError(ValueError):
    """The step is not allowed or its words do not fit; the message is one sentence."""


def need_text(name: str, text: str, limit: int = 2_000) -> str:
    """Returns the text without blanks around it; raises PrivacyError for none or a long one."""
    stripped = text.strip()
    if not stripped:
        raise PrivacyError(f"{name}: expected a text")
    if len(stripped) > limit:
        raise PrivacyError(f"{name}: {len(stripped)} characters, limit {limit}")
    return stripped
