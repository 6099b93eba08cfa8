"""What is answered to a received message, in both acknowledgement modes; each cell of MSH-15 and MSH-16."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.errors import MessageNotTaken
from integrations.hl7.ack import AckCode, AckError, ErrorCode, build_ack, read_ack
from integrations.hl7.escape import Charset
from integrations.hl7.header import When, charset_of, decode_message, read_header
from integrations.hl7.reception import Reception, Reply

NOW = datetime(2026, 11, 23, 10, 15, 1, tzinfo=UTC)


def order(commit: str = "", application: str = "", charset: str = "UNICODE UTF-8", version: str = "2.5.1") -> bytes:
    head = f"MSH|^~\\&|LIS|HOSP|SPHERO|HEMLAB|20261123101500||OML^O21^OML_O21|ID7|P|{version}|||{commit}|{application}"
    return f"{head}||{charset}\rPID|1||123^^^HOSP^MR||Müller^Zoë\r".encode()


def answering(code: AckCode) -> Callable[[bytes], bytes]:
    return lambda body: build_ack(body, code, control_id="APP1", now=NOW)


def reception(handler: Callable[[bytes], bytes], max_segments: int = 1000) -> Reception:
    return Reception(handler, now=lambda: NOW, new_id=lambda: "OWN1", max_segments=max_segments)


def codes(reply: Reply) -> list[str]:
    return [read_ack(message).code.value for message in reply.messages]


def test_the_original_mode_gives_the_handlers_own_answer() -> None:
    seen: list[bytes] = []

    def handler(body: bytes) -> bytes:
        seen.append(body)
        return b"MSH|^~\\&|X\rMSA|AE|ID7\r"

    reply = reception(handler).answer(order())
    assert reply == Reply((b"MSH|^~\\&|X\rMSA|AE|ID7\r",), keep=True)
    assert seen == [order()]


@pytest.mark.parametrize("taken", [AckCode.AA, AckCode.AE, AckCode.AR])
@pytest.mark.parametrize("application", ["AL", "NE", "ER", "SU", ""])
@pytest.mark.parametrize("commit", ["AL", "NE", "ER", "SU"])
def test_every_cell_of_the_enhanced_mode(commit: str, application: str, taken: AckCode) -> None:
    expected = ["CA"] if commit in ("AL", "SU") else []
    asked = {"AL": True, "ER": taken is not AckCode.AA, "SU": taken is AckCode.AA}
    expected += [taken.value] if asked.get(application) else []
    reply = reception(answering(taken)).answer(order(commit, application))
    assert codes(reply) == expected
    assert reply.keep
    assert {read_ack(message).control_id for message in reply.messages} <= {"ID7"}


@pytest.mark.parametrize(
    ("commit", "application", "expected"),
    [("", "", "AE"), ("AL", "AL", "CE"), ("ER", "NE", "CE"), ("NE", "AL", "AE"), ("SU", "ER", "AE"), ("NE", "NE", "")],
)
def test_a_handler_that_fails_is_told_without_its_words(
    commit: str, application: str, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(_: bytes) -> bytes:
        raise RuntimeError("patient Mueller")

    reply = reception(handler).answer(order(commit, application))
    assert codes(reply) == ([expected] if expected else [])
    assert reply.keep
    assert "RuntimeError in test_hl7_reception.py" in caplog.text
    assert "Mueller" not in caplog.text + str(reply.messages)


def test_a_handler_that_returns_nonsense_has_failed() -> None:
    assert codes(reception(lambda _: b"OK").answer(order())) == ["AE"]


def test_what_cannot_be_kept_now_is_not_answered() -> None:
    def handler(_: bytes) -> bytes:
        raise MessageNotTaken("the database is away")

    assert reception(handler).answer(order("AL", "AL")) == Reply((), keep=False)


def never(_: bytes) -> bytes:
    raise AssertionError("the handler must not see this")


@pytest.mark.parametrize(
    ("body", "code", "error"),
    [
        (order().replace(b"ID7", b""), "AR", "101"),
        (order("AL").replace(b"ID7", b""), "CR", "101"),
        (order("NE", "AL").replace(b"ID7", b""), "AR", "101"),
        (order(charset="UNICODE UTF-16"), "AR", "102"),
        (order(charset="ASCII"), "AR", "102"),
        (order().replace(b"\xc3", b"\xff"), "AR", "102"),
        (order() + b"NTE|1\r" * 5, "AR", "104"),
        (order() + b"NTE|1\n" * 5, "AR", "104"),
    ],
)
def test_what_is_wrong_before_anybody_looks_is_rejected_with_its_reason(body: bytes, code: str, error: str) -> None:
    reply = reception(never, max_segments=5).answer(body)
    assert (codes(reply), reply.keep) == ([code], True)
    parsed = hl7.parse(reply.messages[0])
    assert str(parsed.segment("ERR")[3][0][0]) == error
    assert "Zo" not in reply.messages[0].decode("latin-1")


@pytest.mark.parametrize("body", [b"", b"GET / HTTP/1.1\r\n", b"\xff\xfeM\x00S\x00H\x00", b"MSHaaaaaa"])
def test_what_is_no_message_is_rejected_and_the_connection_closed(body: bytes) -> None:
    reply = reception(never).answer(body)
    assert (codes(reply), reply.keep) == (["AR"], False)


def test_an_acknowledgement_is_never_answered() -> None:
    ack = build_ack(order(), AckCode.CA, control_id="1", now=NOW)
    assert reception(never).answer(ack) == Reply((), keep=True)


def test_too_many_bytes_are_told_by_the_header_that_came() -> None:
    reply = reception(never).too_large(order()[:200], 1000)
    assert (codes(reply), reply.keep) == (["AR"], False)
    assert read_ack(reply.messages[0]).control_id == "ID7"
    assert reception(never).too_large(b"xyz", 1000) == Reply((), keep=False)


@given(st.binary(max_size=300), st.sampled_from(["MSH|^~\\&|", "MSH^~|\\&^", ""]))
def test_no_bytes_make_it_fail(noise: bytes, begin: str) -> None:
    for message in reception(answering(AckCode.AA)).answer(begin.encode() + noise).messages:
        read_ack(message)


@pytest.mark.parametrize(
    ("charset", "codec"), [("UNICODE UTF-8", "utf-8"), ("8859/1", "latin-1"), ("", "utf-8"), ("utf-8~ASCII", "utf-8")]
)
def test_a_message_is_decoded_by_its_header(charset: str, codec: str) -> None:
    text = order(charset=charset).decode()
    assert decode_message(text.encode(codec)) == text


def test_an_empty_character_set_means_what_the_site_says() -> None:
    body = order(charset="")
    assert charset_of(read_header(body), Charset.LATIN_1) is Charset.LATIN_1
    with pytest.raises(ValueError, match="is not of the character set ASCII"):
        decode_message(body, Charset.ASCII)


def test_an_acknowledgement_speaks_as_its_sender_does() -> None:
    body = "MSH$%~\\&$LAB & Söhne$H$S$F$2026$$ORM%O01$Ä1$T$2.3$$$$$$8859/1\rPID$1\r".encode("latin-1")
    wrong = AckError(ErrorCode.UNKNOWN_KEY_IDENTIFIER, "no such $ order, M\xfcller\n2", "ORC", 2)
    ack = build_ack(body, AckCode.AE, control_id="1", now=NOW, errors=[wrong])
    assert ack.decode("latin-1").split("\r") == [
        "MSH$%~\\&$S$F$LAB & Söhne$H$20261123101501+0000$$ACK%O01%ACK$1$T$2.3$$$$$$8859/1",
        "MSA$AE$Ä1$no such \\F\\ order, M?ller 2",
        "ERR$ORC%1%2%204&Unknown key identifier&HL70357",
        "",
    ]


def test_errors_since_2_5_have_their_own_fields() -> None:
    wrong = AckError(ErrorCode.REQUIRED_FIELD_MISSING, "no order number", "ORC", 2, sequence=3)
    ack = build_ack(order(), AckCode.AE, control_id="1", now=NOW, errors=[wrong, wrong])
    lines = ack.decode().split("\r")
    assert lines[1:3] == [
        "MSA|AE|ID7|no order number",
        "ERR||ORC^3^2|101^Required field missing^HL70357|E||||no order number",
    ]
    assert lines[3] == lines[2]


@pytest.mark.parametrize(("value", "success", "asked"), [("AL", True, True), ("AL", False, True), ("NE", True, False)])
def test_when_an_acknowledgement_is_asked_for(value: str, success: bool, asked: bool) -> None:
    assert When(value).asks(success=success) is asked
