"""How does a new policy reach every registered user before it starts?"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from autarco_portal.audit import AuditEntry
from autarco_portal.privacy import letter, policy
from autarco_portal.privacy.policy import Notice, Version

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from autarco_portal.privacy.policy import Language
    from autarco_portal.store import Store

LANGUAGES: tuple[Language, ...] = ("nl", "en")


def publish(
    store: Store,
    version: str,
    starts_on: date,
    texts: Mapping[str, str],
    *,
    url: str,
    now: datetime,
    by: str,
) -> tuple[Notice, int]:
    """Keeps a significant new policy and queues its mails; returns the notice and how many.

    Raises PrivacyError where it starts too soon, KeyError without one of the languages.
    """
    versions = [
        Version(
            version=version, language=language, text=texts[language], in_force_on=starts_on,
            published_at=now,
        )
        for language in LANGUAGES
    ]  # fmt: skip
    for one in versions:
        policy.check_new(one, today=now.date())
    notice = Notice(
        notice_id=secrets.token_hex(6), kind="policy", thing=version, starts_on=starts_on,
        created_at=now,
        letters={
            language: letter.new_policy(starts_on, f"{url}/privacy/policy/{version}", language)
            for language in LANGUAGES
        },
    )  # fmt: skip
    for one in versions:
        store.privacy.policies.add(
            one,
            AuditEntry(
                at=now, actor=by, action="publish_policy",
                thing=f"notice:{notice.notice_id}", detail={"language": one.language},
            ),
        )  # fmt: skip
    store.privacy.notices.add(
        notice,
        AuditEntry(at=now, actor=by, action="notify", thing=f"notice:{notice.notice_id}"),
    )
    return notice, store.mails.queue_notice(notice.notice_id, notice.letters, now)
