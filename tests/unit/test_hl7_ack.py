from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import hl7
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.errors import AckUnreadable
from integrations.hl7.ack import AckCode, AckPolicy, Decision, Outcome, build_ack, control_id_of, read_ack
from tests.hl7_examples import message

ACK = b"MSH|^~\\&|LIS|HOSP|SPHERO|HEMLAB|20261123101501||ACK^R01^ACK|77|P|2.5.1\rMSA|AA|ID1\r"
NOW = datetime(2026, 11, 23, 10, 15, 1, tzinfo=UTC)

ANSWERED = (Outcome.ACKNOWLEDGED, Outcome.REJECTED)


@pytest.mark.parametrize("wants_application_ack", [False, True])
@pytest.mark.parametrize(
    ("code", "decision"),
    [("AA", "delivered"), ("AE", "park"), ("AR", "retry"), ("CA", "delivered"), ("CE", "park"), ("CR", "retry")],
)
def test_every_cell_of_the_acknowledgement_table(code: str, decision: str, wants_application_ack: bool) -> None:
    ack = read_ack(ACK.replace(b"|AA|", f"|{code}|".encode()))
    expected = "await" if code == "CA" and wants_application_ack else decision
    assert AckPolicy(wants_application_ack).decide(ack.outcome, ack.code) == expected
    assert ack.outcome == ("acknowledged" if code in ("AA", "CA") else "rejected")


@pytest.mark.parametrize("wants_application_ack", [False, True])
def test_what_was_not_answered_does_not_depend_on_the_policy(wants_application_ack: bool) -> None:
    policy = AckPolicy(wants_application_ack, overrides=dict.fromkeys(AckCode, Decision.PARK))
    assert policy.decide(Outcome.REFUSED) is Decision.BACKOFF
    assert policy.decide(Outcome.UNKNOWN) is Decision.RESEND


@pytest.mark.parametrize("code", list(AckCode))
@pytest.mark.parametrize("decision", list(Decision))
def test_a_site_overrides_any_cell(code: AckCode, decision: Decision) -> None:
    policy = AckPolicy(wants_application_ack=True, overrides={code: decision})
    assert all(policy.decide(outcome, code) is decision for outcome in ANSWERED)


@pytest.mark.parametrize("line_end", [b"\r", b"\n", b"\r\n"])
def test_lines_may_end_in_any_way(line_end: bytes) -> None:
    ack = read_ack(ACK.replace(b"\r", line_end))
    assert (ack.code, ack.control_id) == (AckCode.AA, "ID1")


def test_other_separators_and_the_text_of_an_error() -> None:
    ack = read_ack(b"MSH$%~\\&$LIS\rMSA$AE$ID1\rERR$$PID%1%3$204$E$$$$unknown patient Mueller")
    assert (ack.code, ack.control_id, ack.text) == (AckCode.AE, "ID1", "unknown patient Mueller")
    assert "Mueller" not in repr(ack)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"MSA|AA|ID1\r",
        b"MSH",
        b"MSH|^~\\&|only a header\r",
        b"MSHaaaaaa\rMSA|AA|ID1",
        ACK.replace(b"AA", b"OK"),
        ACK.replace(b"AA", b""),
        bytes(range(256)),
        ACK + b"NTE|1\r" * 200,
        ACK + b"x" * 70_000,
    ],
)
def test_what_is_no_acknowledgement_is_refused(body: bytes) -> None:
    with pytest.raises(AckUnreadable) as refused:
        read_ack(body)
    assert "ID1" not in str(refused.value)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=40).map(lambda noise: ACK[:30] + noise + ACK[30:])))
def test_no_bytes_make_the_reader_fail_otherwise(body: bytes) -> None:
    with suppress(AckUnreadable):
        read_ack(body)
    control_id_of(body)
    build_ack(body, AckCode.AR, control_id="1", now=NOW)


@pytest.mark.parametrize("code", list(AckCode))
def test_a_built_acknowledgement_is_read_by_another_parser_and_by_ours(code: AckCode) -> None:
    received = message()
    built = build_ack(received, code, control_id="SIM1", now=NOW)
    parsed = hl7.parse(built)
    assert [str(parsed.segment("MSH")[field]) for field in (3, 4, 5, 6)] == ["LIS", "HOSP", "SPHERO", "HEMLAB"]
    assert str(parsed.segment("MSH")[9]) == "ACK^R01^ACK"
    assert [str(parsed.segment("MSA")[field]) for field in (1, 2)] == [code, control_id_of(received)]
    assert read_ack(built).control_id == control_id_of(received)
