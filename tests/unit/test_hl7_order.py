"""Orders and patients read out of messages: what counts, what is refused with its place, and that nothing else happens."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.errors import MessageRefused
from integrations.hl7.ack import AckError, ErrorCode
from integrations.hl7.escape import Charset
from integrations.hl7.order import (
    Content,
    EntityId,
    Identifier,
    OrderAction,
    OrderMessage,
    OrderRules,
    PatientMerge,
    PatientUpdate,
    read_content,
)
from integrations.hl7.received import MAX_SEGMENTS, VERSIONS, read_message
from tests.order_examples import Lis

BERLIN = ZoneInfo("Europe/Berlin")
LIS = Lis()
COLLECTED = datetime(2026, 11, 23, 7, 45, tzinfo=UTC)


def read(body: bytes, rules: OrderRules | None = None, charset: Charset = Charset.UTF_8) -> Content:
    return read_content(read_message(body, zone=BERLIN, charset=charset), rules or OrderRules())


def orders(body: bytes, rules: OrderRules | None = None) -> OrderMessage:
    content = read(body, rules)
    assert isinstance(content, OrderMessage)
    return content


def refused(body: bytes, rules: OrderRules | None = None) -> MessageRefused:
    with pytest.raises(MessageRefused) as caught:
        read(body, rules)
    return caught.value


def places(error: MessageRefused) -> list[tuple[int, str, int, int]]:
    return [(problem.code, problem.segment, problem.field, problem.sequence) for problem in error.problems]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_order_of_every_version(version: str) -> None:
    content = orders(Lis(version=version).orm())
    (order,) = content.orders
    assert order.action is OrderAction.NEW
    assert order.accession == EntityId("26-00412", ("LIS",))
    assert order.placer == EntityId("PL123", ("LIS",))
    assert order.filler == EntityId("26-00412", ("LIS",))
    assert (order.service, order.collected) == ("58408-6", COLLECTED)
    patient = content.patient
    assert patient.identifiers == (Identifier("123456", "HOSP", "MR"),)
    assert (patient.family, patient.given, patient.birth_date, patient.sex) == ("Müller", "Zoë", "1980-01-01", "F")


def test_the_accession_number_of_oml_is_the_specimens() -> None:
    (order,) = orders(LIS.oml()).orders
    assert order.accession == EntityId("26-00412", ("LIS",))
    assert order.filler == EntityId("F77", ("LIS",))
    assert (order.specimen, order.collected) == ("119297000", COLLECTED)
    (order,) = orders(LIS.oml(), OrderRules(accession_fields=("OBR-3",))).orders
    assert order.accession == EntityId("F77", ("LIS",))


def test_a_specimen_of_oml_o33_stands_before_its_orders() -> None:
    body = LIS.message(
        "OML^O33^OML_O33",
        LIS.pid,
        "SPM|1|P1&LIS^S1&LIS||BLD",
        "ORC|NW|A^LIS",
        "OBR|1|A^LIS||58408-6",
        "ORC|NW|B^LIS",
        "OBR|2|B^LIS||802-9",
        "SPM|2|S2&LIS",
        "ORC|NW|C^LIS",
        "OBR|3|C^LIS||58408-6",
    )
    found = orders(body).orders
    assert [order.accession.number for order in found] == ["S1", "S1", "S2"]
    assert [order.placer and order.placer.number for order in found] == ["A", "B", "C"]
    assert len(orders(body, OrderRules(service_codes=frozenset({"802-9"}))).orders) == 1


@pytest.mark.parametrize(
    ("code", "action"),
    [
        ("NW", OrderAction.NEW),
        ("XO", OrderAction.CHANGE),
        ("SC", OrderAction.CHANGE),
        ("CA", OrderAction.CANCEL),
        ("DC", OrderAction.CANCEL),
        ("oc", OrderAction.CANCEL),
    ],
)
def test_control_codes(code: str, action: OrderAction) -> None:
    assert [order.action for order in orders(LIS.orm(code=code)).orders] == [action]


def test_a_cancellation_needs_no_obr_and_a_prior_result_is_passed_over() -> None:
    assert orders(LIS.message("ORM^O01", LIS.pid, "ORC|CA|PL1|26-1")).orders[0].accession.number == "26-1"
    assert orders(LIS.message("OML^O21", LIS.pid, "ORC|PR|PL1|26-1", "OBR|1")).orders == ()


def test_universal_ids_are_kept_and_issuers_without_a_name() -> None:
    body = LIS.message("ORM^O01", "PID|1||7^^^&1.2.3&ISO", "ORC|NW|PL1^LIS^1.2.3^ISO|26-1^^4.5^ISO", "OBR|1|||58408-6")
    content = orders(body)
    assert content.orders[0].placer == EntityId("PL1", ("LIS", "1.2.3", "ISO"))
    assert content.orders[0].accession == EntityId("26-1", ("", "4.5", "ISO"))
    assert content.patient.identifiers == (Identifier("7", "1.2.3"),)


def test_of_several_identifiers_the_chosen_authority_counts_or_the_medical_record_number() -> None:
    several = Lis(pid="PID|1||9^^^NAT^SS~123456^^^HOSP^MR~5^^^OTHER^PI||Müller")
    assert [each.value for each in orders(several.orm()).patient.identifiers] == ["123456", "9", "5"]
    rules = OrderRules(patient_authority="OTHER")
    assert [each.value for each in orders(several.orm(), rules).patient.identifiers] == ["5", "123456", "9"]
    without = Lis(pid="PID|1||123456||Müller")
    assert places(refused(without.orm())) == [(101, "PID", 3, 1)]
    found = orders(without.orm(), OrderRules(default_authority="HOSP")).patient
    assert found.identifiers == (Identifier("123456", "HOSP"),)


def test_escapes_are_decoded_and_the_legal_name_counts() -> None:
    pid = "PID|1||1\\T\\2^^^HOSP||Nick^Zoe^^^^^N~O\\F\\Hara\\X20\\\\S\\x^A\\R\\B\\E\\C\\.br\\D\\H\\E^^^^^L||1980|f"
    patient = orders(Lis(pid=pid).orm()).patient
    assert patient.identifiers[0].value == "1&2"
    assert (patient.family, patient.given, patient.birth_date, patient.sex) == ("O|Hara ^x", "A~B\\C DE", "1980", "F")


@pytest.mark.parametrize(
    ("charset", "default", "name"),
    [("8859/1", Charset.UTF_8, "Müller"), ("", Charset.LATIN_1, "Müller"), ("UNICODE UTF-8", Charset.ASCII, "Müller")],
)
def test_the_character_set_is_that_of_msh_18(charset: str, default: Charset, name: str) -> None:
    body = Lis(charset=charset).orm()
    if not charset:
        body = body.decode().encode("iso-8859-1")
    content = read(body, charset=default)
    assert isinstance(content, OrderMessage)
    assert content.patient.family == name


def test_other_separators() -> None:
    plain = LIS.orm().decode()
    swapped = plain.translate(str.maketrans("|^~\\&", "!:*?%"))
    assert orders(swapped.encode()) == orders(LIS.orm())


def test_the_null_says_that_there_is_none_and_nothing_says_nothing() -> None:
    content = read(LIS.update('PID|1||1^^^HOSP||""^""||""'))
    assert isinstance(content, PatientUpdate)
    patient = content.patient
    assert (patient.family, patient.given, patient.birth_date, patient.sex) == ("", "", "", None)


def test_merges_come_in_pairs() -> None:
    body = LIS.message(
        "ADT^A40", "PID|1||1^^^HOSP", "MRG|2^^^HOSP~3^^^HOSP", "PID|1||4^^^HOSP", "PV1|1", "MRG|5^^^HOSP"
    )
    merges = read(body)
    assert isinstance(merges, tuple)
    assert all(isinstance(merge, PatientMerge) for merge in merges)
    told = [([each.value for each in merge.prior], merge.patient.identifiers[0].value) for merge in merges]
    assert told == [(["2", "3"], "1"), (["5"], "4")]


@pytest.mark.parametrize(
    ("body", "place", "rejected"),
    [
        (LIS.message("ORU^R01", LIS.pid), (200, "MSH", 9, 1), True),
        (LIS.message("ADT^A01", LIS.pid), (201, "MSH", 9, 1), True),
        (Lis(version="2.6").orm(), (203, "MSH", 12, 1), True),
        (LIS.orm().replace(b"|P|2.5.1", b"|X|2.5.1"), (202, "MSH", 11, 1), True),
        (b"PID|1", (100, "MSH", 0, 1), True),
        (LIS.orm().replace(b"UNICODE UTF-8", b"UNICODE"), (100, "MSH", 0, 1), True),
        (LIS.orm().replace("ü".encode(), b"\xff"), (100, "MSH", 0, 1), True),
        (LIS.orm(control_id=""), (101, "MSH", 10, 1), False),
        (Lis(version="").orm(), (101, "MSH", 12, 1), False),
        (LIS.orm() + LIS.orm(), (100, "MSH", 0, 1), False),
        (LIS.message("ORM^O01", "ORC|NW|1|2", "OBR|1"), (100, "PID", 0, 1), False),
        (LIS.message("ORM^O01", LIS.pid), (100, "ORC", 0, 1), False),
        (LIS.message("ORM^O01", LIS.pid, "ORC|NW|1|2"), (100, "ORC", 0, 1), False),
        (LIS.message("ORM^O01", LIS.pid, "OBR|1", "ORC|CA||2"), (100, "OBR", 0, 1), False),
        (LIS.message("ORM^O01", LIS.pid, "ORC|CA||2", "ORC||1", "OBR|1"), (101, "ORC", 1, 2), False),
        (LIS.orm(code="ZZ"), (103, "ORC", 1, 1), False),
        (LIS.message("ORM^O01", LIS.pid, "ORC|NW|PL1", "OBR|1|PL1"), (101, "OBR", 3, 1), False),
        (LIS.message("ORM^O01", LIS.pid, "ORC|NW", f"OBR|1||{'9' * 65}"), (101, "OBR", 3, 1), False),
        (LIS.message("ORM^O01", LIS.pid, "ORC|NW", "OBR|1||1||||soon"), (102, "OBR", 7, 1), False),
        (LIS.message("ORM^O01", LIS.pid, "ORC|NW", "OBR|1||1||||20261332"), (102, "OBR", 7, 1), False),
        (LIS.update("PID|1||1^^^HOSP||||19800231"), (102, "PID", 7, 1), False),
        (LIS.update("PID|1||1^^^HOSP|||||W"), (103, "PID", 8, 1), False),
        (LIS.update("PID|1||1^^^HOSP||A\\X00\\"), (102, "PID", 5, 1), False),
        (LIS.update("PID|1||1^^^HOSP||A\\C2842\\"), (102, "PID", 5, 1), False),
        (LIS.update("PID|1||1^^^HOSP||A\\S"), (102, "PID", 5, 1), False),
        (LIS.update(f"PID|1||{'1' * 201}^^^HOSP"), (104, "PID", 3, 1), False),
        (LIS.update("PID|1||"), (101, "PID", 3, 1), False),
        (LIS.message("ADT^A40", "PID|1||1^^^HOSP"), (100, "PID", 0, 1), False),
        (LIS.message("ADT^A40", "MRG|1^^^HOSP"), (100, "MRG", 0, 1), False),
        (LIS.message("OML^O21", LIS.pid, "ORC|CA||1", "PID|2||9^^^HOSP"), (100, "PID", 0, 2), False),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(
    body: bytes, place: tuple[int, str, int, int], rejected: bool
) -> None:
    error = refused(body)
    assert place in places(error)
    assert error.rejected is rejected
    told = f"{error} {error.problems}"
    assert not any(value in told for value in ("Müller", "123456", "PL123", "soon", "19800231", "20261332"))


def test_everything_wrong_is_told_at_once() -> None:
    body = LIS.message("ORM^O01", "PID|1|||||x|W", "ORC|NW", "OBR|1", "ORC|ZZ")
    assert len(refused(body).problems) >= 4


def test_a_message_that_is_too_large_is_not_parsed() -> None:
    many = LIS.message("ORM^O01", LIS.pid, "ORC|NW||1", "OBR|1||1", *["OBX|1"] * MAX_SEGMENTS)
    assert refused(many).rejected
    assert refused(LIS.message("ORM^O01", LIS.pid, "NTE|1||" + "x" * 1_048_576)).rejected


def test_twenty_thousand_observations_cost_no_time() -> None:
    body = LIS.message("ORM^O01", LIS.pid, "ORC|NW||1", "OBR|1||1", *["OBX|1|NM|1||1"] * 20_000)
    started = time.perf_counter()
    assert refused(body).rejected
    assert time.perf_counter() - started < 2


def test_values_hide_what_they_hold() -> None:
    shown = repr(orders(LIS.oml())) + repr(read(LIS.merge("1^^^HOSP", "2^^^HOSP")))
    assert not any(value in shown for value in ("Müller", "123456", "PL123", "26-00412", "HOSP"))


def test_times_without_a_zone_are_of_the_site() -> None:
    (order,) = orders(LIS.message("ORM^O01", LIS.pid, "ORC|NW", "OBR|1||1||||202607010830")).orders
    assert order.collected is not None
    assert order.collected.utcoffset() == timedelta(hours=2)


SEEDS = [
    LIS.orm(),
    LIS.oml(),
    LIS.update(LIS.pid),
    LIS.merge("1^^^HOSP~2^^^NAT", "3^^^HOSP"),
    Lis(version="2.3", charset="8859/1").orm(code="CA"),
    LIS.message("OML^O33", LIS.pid, "SPM|1|S1", "ORC|NW|A", "OBR|1||B|C", "TQ1|1", "SPM|2|^S2&&1.2&ISO", "ORC|CA"),
]
PIECES = [b"|", b"^", b"~", b"\\", b"&", b"\r", b"\n", b"MSH", b"PID|", b"ORC|", b"OBR|1", b"SPM|", b"MRG|", b'""']
PIECES += [
    b"\\X",
    b"\\X41\\",
    b"\\T\\",
    b"\x00",
    b"\x0b",
    b"\x1c",
    b"\xff",
    "é".encode(),
    b"20261123",
    b"A40",
    b"O33",
    b"NW",
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A message with pieces put in, cut out, doubled or moved."""
    body = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(body)))
        end = draw(st.integers(at, min(len(body), at + 40)))
        piece = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6), st.just(body[at:end] * 2)))
        body = body[:at] + piece + body[end if draw(st.booleans()) else at :]
    return body


@settings(max_examples=1500, deadline=None)
@given(mutated())
def test_a_mutated_message_is_read_or_refused_and_nothing_else(body: bytes) -> None:
    problems: tuple[AckError, ...] = ()
    content: Content | None = None
    try:
        content = read(body)
    except MessageRefused as error:
        problems = error.problems
    assert (content is None) == bool(problems)
    assert all(problem.code in ErrorCode for problem in problems)
