"""What fetching from a store means, whatever it speaks: `query` (DIMSE) and `dicomweb` are two ways to do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from integrations.dicom.part10 import EncodedInstance


@dataclass(frozen=True, slots=True)
class StudyAnswer:
    """One study that a store has.

    Attributes
    ----------
    instances : int or None
        How many the store has of it (0020,1208); None where it does not say.
    """

    study_uid: str
    instances: int | None


@dataclass(frozen=True, slots=True)
class InstanceAnswer:
    """One instance that a store has.

    Attributes
    ----------
    sop_class_uid : str
        Empty where the store does not say.
    modality : str
        Of its series; empty where the store does not say.
    """

    study_uid: str
    series_uid: str
    sop_instance_uid: str
    sop_class_uid: str = ""
    modality: str = ""


Deliver = Callable[[InstanceAnswer, EncodedInstance], None]
"""Takes an instance that came; an error of it ends the fetching and goes to the caller."""


class Store(Protocol):
    """A store that can be asked for instances. Each method may raise `PeerUnavailable` or `PeerRefused`."""

    def studies(self, modalities: Sequence[str], since: date | None) -> Iterator[StudyAnswer]:
        """Studies with a series of one of these modalities, of this date or later; with None, of any date or none.

        Each once, and more where the store does not filter.
        """

    def instances(self, study_uid: str) -> Iterator[InstanceAnswer]:
        """Everything in one study."""

    def fetch(self, wanted: Sequence[InstanceAnswer], deliver: Deliver) -> dict[str, str]:
        """Fetch some instances of one series; gives why not, in words, for the SOP instance UIDs that did not come.

        Where the store sends them to our receiver, `deliver` is not called and what is given is only what it told.
        """

    def check(self) -> None:
        """See whether it answers and lets us ask."""

    def close(self) -> None:
        """Close its connections."""
