from __future__ import annotations

import pytest

from integrations.hl7.ack import control_id_of
from integrations.hl7.control_id import derive_control_id, stamp_control_id
from tests.hl7_examples import message


def test_the_control_id_depends_on_everything_but_itself() -> None:
    body = message()
    control_id = derive_control_id("case", 1, "lis", body)
    assert len(control_id) == 20
    assert control_id.isalnum()
    assert derive_control_id("case", 1, "lis", stamp_control_id(body, "ANYTHING")) == control_id
    assert control_id not in {
        derive_control_id("case2", 1, "lis", body),
        derive_control_id("case", 2, "lis", body),
        derive_control_id("case", 1, "lis2", body),
        derive_control_id("cas", 1, "elis", body),
        derive_control_id("case", 1, "lis", body.replace(b"20261123101500", b"20261123101501")),
    }
    # Pinned: a report built again by the next release must not look like a new message to the receiver.
    pinned = derive_control_id("case", 1, "lis", b"MSH|^~\\&|A|B|C|D|20260101||ORU^R01|X|P|2.5.1\r")
    assert pinned == "WFA85QQ0YFVXSBFF19WS"


def test_stamping_changes_the_control_id_alone() -> None:
    body = message()
    stamped = stamp_control_id(body, "NEW1")
    assert control_id_of(stamped) == "NEW1"
    assert stamped.replace(b"NEW1", control_id_of(body).encode()) == body
    for wrong in ("A" * 21, "A|B", "Ä", "a b"):
        with pytest.raises(ValueError, match="control id"):
            stamp_control_id(body, wrong)
    with pytest.raises(ValueError, match="no MSH-10"):
        stamp_control_id(b"PID|1\r", "NEW1")
