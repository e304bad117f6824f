"""How are the codes of people's rights called for people?

Each vocabulary has its words here; a test compares them with the codes of the rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autarco_portal.pages.words import N_

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autarco_portal.pages.words import Words

RIGHT = {
    "access": N_("Access: a copy of all my data"),
    "rectification": N_("Rectification: something about me is wrong"),
    "erasure": N_("Erasure: forget me"),
    "restriction": N_("Restriction: keep my data, do not use it"),
    "portability": N_("Portability: my data to take elsewhere"),
    "objection": N_("Objection: not for this purpose"),
    "human_decision": N_("A human decision: let a person look at it"),
}
REQUEST_STATE = {
    "received": N_("Received"),
    "awaiting_proof": N_("Waits for proof of identity"),
    "verified": N_("Verified"),
    "decided": N_("Decided"),
    "closed": N_("Closed"),
    "withdrawn": N_("Withdrawn"),
}
STEP = {
    "proof_asked": N_("Proof of identity was asked for"),
    "verified": N_("It was verified who asks"),
    "extended": N_("Two months more were taken"),
    "warned": N_("The officer was warned of the deadline"),
    "decided": N_("It was decided"),
    "evidence": N_("Evidence was added"),
    "withdrawn": N_("It was withdrawn"),
    "closed": N_("The closing letter was sent"),
}
OUTCOME = {
    "granted": N_("Granted"),
    "partly": N_("Granted in part"),
    "refused": N_("Refused"),
}
CHANNEL = {
    "portal": N_("In the portal"),
    "mail": N_("By mail"),
    "letter": N_("By letter"),
    "phone": N_("By phone"),
}
METHOD = {
    "fresh_sign_in": N_("Fresh sign-in"),
    "mailed_link": N_("Link to the address on file"),
    "known_fact": N_("A fact that only the owner knows"),
    "masked_copy": N_("Masked copy of an identity card"),
}
PURPOSE = {
    "monitoring": N_("Monitoring my system"),
    "analytics": N_("Comparing it with weather and neighbours"),
    "alarms": N_("Alarms about faults"),
    "guarantee": N_("The yield guarantee"),
    "support": N_("Support"),
    "sharing": N_("Sharing with partners and insurer"),
    "improvement": N_("Improving the service"),
    "research": N_("Research"),
    "product_contact": N_("Messages about the product"),
    "marketing": N_("Marketing"),
}
GROUND = {
    "accuracy": N_("My data is not right, and you look into that"),
    "unlawful": N_("You may not use it, and I do not want it erased"),
    "claim": N_("I need it for a claim"),
    "objection": N_("I objected, and that is being weighed"),
}
TOPIC = {
    "news": N_("News"),
    "products": N_("Products"),
    "energy_tips": N_("Energy tips"),
}
EFFECT = {
    "refused": N_("A guarantee was refused"),
    "lapsed": N_("A guarantee lapses"),
    "zero_value": N_("A settlement owes nothing"),
    "claim_rejected": N_("A claim was rejected"),
    "account_closed": N_("An account was closed"),
}
DECISION_STATE = {
    "provisional": N_("Not final yet"),
    "contested": N_("Contested: a person looks at it"),
    "final": N_("Final"),
    "overturned": N_("Overturned by a person"),
}
RECIPIENT = {
    "channel_partner": N_("Channel partner"),
    "insurer": N_("Insurer"),
    "researcher": N_("Researcher"),
    "authority": N_("Authority"),
    "acquirer": N_("Acquirer"),
    "person_choice": N_("Whom the person named"),
}
BASIS = {
    "contract": N_("Contract"),
    "consent": N_("Consent"),
    "legitimate_interest": N_("Legitimate interest"),
    "legal_obligation": N_("Legal obligation"),
}
REPORT = {
    "nature": N_("Nature of the breach"),
    "categories": N_("Categories of people and data"),
    "people": N_("Number of people"),
    "records": N_("Number of records"),
    "contact": N_("Contact"),
    "consequences": N_("Likely consequences"),
    "measures": N_("Measures"),
}
VOCABULARIES: Mapping[str, Mapping[str, str]] = {
    "right": RIGHT,
    "request_state": REQUEST_STATE,
    "step": STEP,
    "outcome": OUTCOME,
    "channel": CHANNEL,
    "method": METHOD,
    "purpose": PURPOSE,
    "ground": GROUND,
    "topic": TOPIC,
    "effect": EFFECT,
    "decision_state": DECISION_STATE,
    "recipient": RECIPIENT,
    "basis": BASIS,
    "report": REPORT,
}
"""By the name that a template calls them by."""

SAID_ELSEWHERE = (
    N_("the use of your data is restricted already"),
    N_("what was confirmed is not this preview: show it again"),
    N_("the erasure has been confirmed or called off"),
    N_("a newsletter needs the portal's https address (`url`)"),
    N_("a named employee decides, not the system and not the person himself"),
    N_("who asks for a disclosure does not approve it"),
    N_("two approvals are those of two people"),
    N_("a request is extended once at most"),
    N_("the first month is over: it is too late to extend"),
    N_("nobody verified who asks: it can only be refused"),
    N_("what was granted is proved before it is closed"),
    N_("the authority has not heard of it"),
    N_("the people concerned have not heard of it"),
    N_("the readings cannot be read now: try again in a minute"),
    N_("it was cut short: begin again"),
)
"""What rules say when they refuse, as people read it on a page."""


def called(code: str, vocabulary: str, words: Words) -> str:
    """Returns what a code of a vocabulary is called."""
    return words.say(VOCABULARIES[vocabulary][code])
