"""Who acts: from a login or an identity provider's header, and nobody by default."""

from __future__ import annotations

import getpass

import pytest

from db.people import Actor
from flows.errors import PersonUnknown
from flows.people import actor_from_headers, actor_of
from flows.settings import Person, ReviewSettings

ANNA = Person(login="apruefer", identifier="4711", family="Pruefer", given="Anna")
SETTINGS = ReviewSettings(authority="HOSP", user_header="X-Remote-User", person=(ANNA,))


def test_a_listed_person_is_told_as_the_receivers_know_them() -> None:
    assert actor_of(SETTINGS, "apruefer") == Actor("apruefer", "4711", "HOSP", "Pruefer", "Anna")


def test_another_login_stands_for_itself_and_the_own_one_is_the_default() -> None:
    assert actor_of(SETTINGS, " ben ") == Actor("ben", "ben", "HOSP")
    assert actor_of(SETTINGS).login == getpass.getuser()


@pytest.mark.parametrize("login", ["a\nb", "x" * 101, "tab\there"])
def test_what_cannot_be_a_login_is_refused(login: str) -> None:
    with pytest.raises(PersonUnknown):
        actor_of(SETTINGS, login)


def test_the_identity_provider_names_the_person_in_the_header_that_is_set() -> None:
    assert actor_from_headers(SETTINGS, {"x-remote-user": "apruefer"}).family == "Pruefer"


@pytest.mark.parametrize("headers", [{}, {"X-Remote-User": " "}, {"X-Other": "apruefer"}])
def test_a_request_without_it_is_nobodys(headers: dict[str, str]) -> None:
    with pytest.raises(PersonUnknown, match="X-Remote-User"):
        actor_from_headers(SETTINGS, headers)


def test_without_a_header_set_no_request_is_anybodys() -> None:
    with pytest.raises(PersonUnknown, match="user_header"):
        actor_from_headers(ReviewSettings(), {"X-Remote-User": "apruefer"})
