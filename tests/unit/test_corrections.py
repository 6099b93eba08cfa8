"""A person's corrections: what may be changed, what may not, and the control id they get."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from db.states import MessageState
from db.views import MessageView
from flows.corrections import corrected, text_of
from integrations.errors import ConformanceError
from integrations.hl7.ack import control_id_of
from tests.hl7_examples import message

BODY = message(1)
PARKED = MessageView(
    message_id="m", position=1, case_id="c", revision=1, destination="lis", part="", edition=1, supersedes=None, order_key="c",
    control_id=control_id_of(BODY), body=BODY, sha256="", state=MessageState.PARKED, attempts=1, next_attempt_at=None,
    lease_owner=None, lease_expires_at=None, reason=None, ack_code="AE", ack=None, ack_seconds=None, batch=None,
    created_at=datetime(2026, 11, 25, tzinfo=UTC), delivered_at=None,
)  # fmt: skip


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_a_changed_text_gets_a_control_id_of_its_own(ending: bytes) -> None:
    text = text_of(BODY).replace(b"Mueller", b"Muller").replace(b"\n", ending)
    body, control_id = corrected(PARKED, text)
    assert control_id == control_id_of(body) != PARKED.control_id
    assert body.replace(control_id.encode(), PARKED.control_id.encode()) == BODY.replace(b"Mueller", b"Muller")
    assert corrected(PARKED, text) == (body, control_id)


def test_changed_back_it_is_a_message_of_its_own() -> None:
    body, control_id = corrected(PARKED, text_of(BODY).replace(b"Mueller", b"Muller"))
    second = replace(PARKED, body=body, control_id=control_id, edition=2)
    assert corrected(second, text_of(BODY))[1] not in (PARKED.control_id, control_id)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b"", b"", "nothing was changed"),
        (PARKED.control_id.encode(), b"OTHER", "nothing was changed"),
        (b"|P\n", b"|F\n", "who stands behind the result"),
        (b"PID|", b"QID|", "the segments do not stand in the order"),
        (b"MSH|", b"", "it does not begin with MSH"),
        (b"Mueller", b"M\x07ller", "control character"),
    ],
)
def test_what_may_not_be_sent_is_told_and_nothing_of_it_quoted(old: bytes, new: bytes, told: str) -> None:
    text = text_of(BODY)
    with pytest.raises(ConformanceError) as caught:
        corrected(PARKED, text.replace(old, new) if old else text)
    assert told in str(caught.value)
    assert "ller" not in str(caught.value)
