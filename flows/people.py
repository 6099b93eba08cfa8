"""Who acts: the one place where a person's login becomes an `Actor`, whether it comes from the system or from an identity provider."""

from __future__ import annotations

import getpass
from collections.abc import Mapping

from db.people import Actor
from flows.errors import PersonUnknown
from flows.settings import ReviewSettings

LONGEST = 100


def actor_of(settings: ReviewSettings, login: str = "") -> Actor:
    """The person behind a login, as the settings know them.

    Parameters
    ----------
    login : str
        Empty: the account under which this program runs.

    Raises
    ------
    PersonUnknown
        The login cannot be one.
    """
    name = login.strip() or getpass.getuser()
    if len(name) > LONGEST or not name.isprintable():
        raise PersonUnknown(f"a login has at most {LONGEST} printable characters")
    known = next((person for person in settings.person if person.login == name), None)
    if known is None:
        return Actor(name, name, settings.authority)
    authority = known.authority or settings.authority
    return Actor(name, known.identifier or name, authority, known.family, known.given)


def actor_from_headers(settings: ReviewSettings, headers: Mapping[str, str]) -> Actor:
    """The person that an identity provider in front of our HTTP port names in `[review] user_header`.

    Parameters
    ----------
    headers : mapping
        Of the request, whatever the case of their names.

    Raises
    ------
    PersonUnknown
        No header is set, or the request has none: nobody may act.
    """
    if not settings.user_header:
        raise PersonUnknown("[review] user_header is not set: who sends a request is not known")
    wanted = settings.user_header.lower()
    login = next((value for name, value in headers.items() if name.lower() == wanted), "")
    if not login.strip():
        raise PersonUnknown(f"the request has no {settings.user_header}: the identity provider must set it")
    return actor_of(settings, login)
