"""What is on the pages of one's own data? Plain values, as `models`."""

from __future__ import annotations

from datetime import date, datetime  # noqa: TC003 - msgspec looks at them when it decodes
from typing import ClassVar

from msgspec import Struct

from autarco_portal.audit_page import Line  # noqa: TC001 - as above
from autarco_portal.bundle_jobs import BundleState  # noqa: TC001
from autarco_portal.pages.models import Page
from autarco_portal.privacy.erasure import Impact  # noqa: TC001
from autarco_portal.privacy.sharing import Disclosure  # noqa: TC001


class RequestRow(Struct, frozen=True, kw_only=True):
    """A request in a list; codes as `labels_privacy` knows them."""

    request_id: str
    right: str
    state: str
    received_at: datetime
    answer_by: date
    is_open: bool


class BundleRow(Struct, frozen=True, kw_only=True):
    """One kind of bundle, and where it stands."""

    profile: str
    state: BundleState | None


class DecisionRow(Struct, frozen=True, kw_only=True):
    """What a program decided."""

    decision_id: str
    effect: str
    thing: str
    state: str
    decided_at: datetime
    contest_until: datetime | None
    may_contest: bool
    reason: str


class TopicRow(Struct, frozen=True, kw_only=True):
    """A newsletter: wanted, asked for, or neither."""

    topic: str
    is_given: bool
    is_asked: bool


class MyData(Page, frozen=True, kw_only=True):
    """Somebody's rights over his data, and what became of them."""

    template: ClassVar[str] = "my_data.html"
    name: str
    email: str
    phone: str
    language: str
    is_fresh: bool
    """He proved just now who he is."""
    requests: tuple[RequestRow, ...]
    rights: tuple[str, ...]
    bundles: tuple[BundleRow, ...]
    objections: tuple[tuple[str, bool], ...]
    restricted_since: datetime | None
    ground: str = ""
    grounds: tuple[str, ...]
    topics: tuple[TopicRow, ...]
    decisions: tuple[DecisionRow, ...]

    @property
    def is_building(self) -> bool:
        """Whether to look again by itself."""
        return any(one.state is not None and one.state.state == "building" for one in self.bundles)


class StepRow(Struct, frozen=True, kw_only=True):
    """A step of a request."""

    at: datetime
    kind: str
    by: str = ""
    """A name; empty where it is not told."""
    method: str = ""
    outcome: str = ""
    reason: str = ""
    sha256: str = ""


class ErasurePreview(Struct, frozen=True, kw_only=True):
    """What erasure does, and how far it is."""

    case_id: str
    impact: Impact
    sha256: str
    cooling_off_days: int
    effective_at: datetime | None
    is_called_off: bool
    is_begun: bool


class MyRequest(Page, frozen=True, kw_only=True):
    """One's own request with its steps."""

    template: ClassVar[str] = "my_request.html"
    request: RequestRow
    is_fresh: bool
    is_verified: bool
    steps: tuple[StepRow, ...]
    erasure: ErasurePreview | None = None


class Looks(Page, frozen=True, kw_only=True):
    """Who looked at somebody's data, or at a site."""

    template: ClassVar[str] = "looks.html"
    site_id: str = ""
    site_name: str = ""
    """Empty for everything of a person."""
    lines: tuple[Line, ...]
    disclosures: tuple[Disclosure, ...] = ()
