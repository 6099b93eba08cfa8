"""Errors of the outside world.

    IntegrationError
    ├── FolderError            something about the watched folder
    │   ├── FolderUnavailable    the incoming folder is missing or cannot be listed; try again later
    │   ├── SourceError          a file in it cannot be taken
    │   │   ├── SourceGone         it was there at the scan and is not now; nothing to do
    │   │   ├── SourceChanged      it changed since the scan or while it was copied; the next scan takes it up again
    │   │   ├── SourceUnreadable   it may not be read, or the share failed; try again later
    │   │   └── SourceRefused      it is no regular file, or too large: quarantine it
    │   ├── StoreError           our own store cannot be written; stop taking files in
    │   │   └── StoreFull          because no space is left on it
    │   └── ManifestError        `case.json`, or the folder's name, says something that cannot be used
    ├── DicomError             something about DICOM
    │   ├── PeerUnavailable      a DICOM system cannot be reached, does not answer in time, or asks to wait
    │   │   └── PeerRefused        it answers and does not let us: AE titles, sign-in, a service that it has not
    │   ├── InstanceNotFetched   one instance did not come; the others may
    │   ├── InstanceRefused      what came is no instance that can be kept
    │   │   └── InstanceMismatch     its data set is another instance than its sender says
    │   ├── InstanceConflict     other bytes came before under its UID; both are kept
    │   ├── InstanceNotTaken     it cannot be kept just now; its sender is to send it again
    │   ├── ObjectDamaged        the file of an object that we made is gone, or another than was frozen
    │   ├── ObjectRefused        a result cannot be told as a DICOM object; the attribute is named
    │   ├── ReportNotTaken       a requester of storage commitment did not take our answer; try again later
    │   └── SandboxFailed        the process that reads instances does not work; nothing is known about the file
    ├── AuditNotTaken          the audit repository did not take audit messages for certain; they are sent again
    └── Hl7Error               something about HL7 version 2
        ├── ProfileError         a destination's profile says something that is not allowed
        ├── TextRefused          a text holds what no HL7 field can carry; the field is named
        ├── PatientUnknown       no patient identifier with its assigning authority: the case is held `no-patient`
        ├── ResultRefused        the result itself cannot be told: contradictory counts, a time without zone
        ├── ConformanceError     the finished message breaks a rule of our own check; a fault of the program
        ├── AckUnreadable        what came back is no acknowledgement
        ├── FramingError         bytes that are no MLLP block
        │   └── BlockTooLarge        a block of more bytes than are taken
        ├── MessageRefused       a received message cannot be used; its answer says where and why
        ├── MessageNotTaken      a received message cannot be kept just now; its sender is to send it again
        └── TlsError             a certificate or key file cannot be used; the file and the remedy are named

Each message says what is wrong, where (by segment and field, never by content), and what to do. None quotes a name, an
identifier or a line of a message: they end in logs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integrations.hl7.ack import AckError


class IntegrationError(Exception):
    """Base of every error that an integration raises on purpose."""


class FolderError(IntegrationError):
    """Something about the watched folder went wrong."""


class FolderUnavailable(FolderError):
    """The incoming folder is missing or cannot be listed; the share may be away."""


class SourceError(FolderError):
    """A file in the incoming folder cannot be taken."""


class SourceGone(SourceError):
    """The file was there at the scan and is not now."""


class SourceChanged(SourceError):
    """The file changed since the scan or while it was copied; the next scan takes it up again."""


class SourceUnreadable(SourceError):
    """The file may not be read, or the share failed."""


class SourceRefused(SourceError):
    """The file is not a regular one, or larger than is taken; it belongs into quarantine."""


class StoreError(FolderError):
    """Our own store cannot be written."""


class StoreFull(StoreError):
    """No space, or no quota, is left where our store lies; nothing was left behind."""


class ManifestError(FolderError):
    """`case.json`, or the name of a case's folder, says something that cannot be used.

    Names keys, never values.
    """


class DicomError(IntegrationError):
    """Something about DICOM went wrong."""


class PeerUnavailable(DicomError):
    """A DICOM system cannot be reached, does not answer in time, or asks to wait.

    Attributes
    ----------
    retry_seconds : float or None
        For so long it wants to be left alone.
    """

    def __init__(self, reason: str, *, retry_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.retry_seconds = retry_seconds


class PeerRefused(PeerUnavailable):
    """A DICOM system answers and does not let us; the message says which setting to look at, here or there."""


class InstanceNotFetched(DicomError):
    """One instance did not come, or not as what was asked for; the others may."""


class InstanceRefused(DicomError):
    """What came is no instance that can be kept: a UID that is none, no data set, a damaged file meta group."""


class InstanceMismatch(InstanceRefused):
    """The data set names another SOP class or instance than the command or the file meta group it came with."""


class InstanceConflict(DicomError):
    """Other bytes came before under the same SOP instance UID; both are kept, and their case is held."""


class InstanceNotTaken(DicomError):
    """An instance cannot be kept just now, whatever it is: no space is left, or the database is away."""


class ReportNotTaken(DicomError):
    """A requester of storage commitment did not take our answer: it is away, or says so."""


class SandboxFailed(DicomError):
    """The process that reads DICOM files does not start, or answers nonsense; nothing is known about the file."""


class ObjectDamaged(DicomError):
    """The file of an object that we made is gone, or another than was frozen; nothing of it may leave."""


class ObjectRefused(DicomError):
    """A result cannot be told as a DICOM object: a text that does not fit, a code that is none. Never quotes content."""


class AuditNotTaken(IntegrationError):
    """The audit repository did not take audit messages for certain."""


class Hl7Error(IntegrationError):
    """Something about HL7 version 2 went wrong."""


class ProfileError(Hl7Error):
    """A destination's profile says something that is not allowed."""


class TextRefused(Hl7Error):
    """A text holds what no HL7 field can carry.

    Attributes
    ----------
    field : str
        Where the text was meant to stand, such as ``PID-5 family name``.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


class PatientUnknown(Hl7Error):
    """There is no patient identifier with its assigning authority; the case must be held, nothing may be sent."""


class ResultRefused(Hl7Error):
    """The result cannot be told as it stands: contradictory counts, or a time without its zone."""


class ConformanceError(Hl7Error):
    """A finished message breaks rules of our own check.

    Attributes
    ----------
    rules : tuple of str
        The broken rules, each with segment and field, without content.
    """

    def __init__(self, rules: tuple[str, ...]) -> None:
        super().__init__("the built message was not let out: " + "; ".join(rules))
        self.rules = rules


class AckUnreadable(Hl7Error):
    """What came back is no acknowledgement."""


class FramingError(Hl7Error):
    """Bytes are no MLLP block."""


class BlockTooLarge(FramingError):
    """A block has more bytes than are taken."""


class MessageRefused(Hl7Error):
    """A received message cannot be used as it is.

    Attributes
    ----------
    problems : tuple of AckError
        Everything that is wrong, for the ERR segments of the answer.
    rejected : bool
        Whether it is of a kind that is not taken at all (AR); else it has an error (AE).
    """

    def __init__(self, problems: tuple[AckError, ...], *, rejected: bool = False) -> None:
        super().__init__("; ".join(problem.text for problem in problems))
        self.problems = problems
        self.rejected = rejected


class MessageNotTaken(Hl7Error):
    """A received message cannot be kept just now, whatever it says; it is not answered, so that it comes again."""


class TlsError(Hl7Error):
    """A certificate, key or list of authorities cannot be used."""
