"""Who acts: one value, wherever a person comes from (the system's login, or what an identity provider says of them)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """A member of the laboratory's staff.

    Attributes
    ----------
    login : str
        As the system or the identity provider knows the person; it stands in the audit.
    identifier, authority : str
        As the receivers of results know the person, and who assigned that (OBX-16, OBR-32); by default the login.
    family, given : str
        Empty where they are not known.
    """

    login: str
    identifier: str = ""
    authority: str = ""
    family: str = ""
    given: str = ""

    @property
    def shown(self) -> str:
        """The name for people, with the login behind it."""
        name = " ".join(part for part in (self.given, self.family) if part)
        return f"{name} ({self.login})" if name else self.login
