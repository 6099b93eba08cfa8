"""Errors of the flows: the service, its settings and its processes.

    FlowsError
    ├── SettingsError        a setting is unknown or has a value that is not allowed; the key is named
    ├── ServiceError         the service cannot start, or a part of it does not come up
    │   ├── AlreadyRunning     another service works on the same data folder
    │   └── PortTaken          another program listens where the service is to
    ├── PrefectUnavailable   the Prefect server does not answer
    ├── ModelError           the model process
    │   ├── ModelUnavailable   it cannot be started, or is being stopped; nothing is known about the field
    │   ├── FieldRefused       the image cannot be read or analysed: the field goes into quarantine
    │   └── FieldFatal         this image ended the model process more than once: quarantine
    ├── StoreStopped         the poll of a store ends early, since the service stops
    ├── CaseStopped          the work on a case ends here, without a fault: held, reopened, or another worker has it
    ├── PersonUnknown        nobody, or nobody who can be, is named as the one who acts
    ├── ReviewRefused        what a person asks for cannot be done; the text says why and what can
    ├── BackupRefused        a backup cannot be made, or cannot be restored there; nothing was changed
    └── UnexpectedFault      a foreign exception, told by type and place

Each message says what is wrong, where, and what to do; none holds a name, an identifier or a path below the incoming
folder, for they end in logs and in Prefect.
"""

from __future__ import annotations


class FlowsError(Exception):
    """Base of every error that the flows raise on purpose."""


class SettingsError(FlowsError):
    """A setting is unknown or has a value that is not allowed."""


class ServiceError(FlowsError):
    """The service cannot start, or a part of it does not come up."""


class AlreadyRunning(ServiceError):
    """Another service works on the same data folder."""


class PortTaken(ServiceError):
    """Another program listens on an address that the service needs."""


class PrefectUnavailable(FlowsError):
    """The Prefect server does not answer."""


class ModelError(FlowsError):
    """Something about the model process."""


class ModelUnavailable(ModelError):
    """The model process cannot be started or is being stopped; nothing is known about the field."""


class FieldRefused(ModelError):
    """The image cannot be read or analysed."""


class FieldUnreadable(ModelError):
    """The stored image cannot be opened now; nothing is known about its content."""


class StoreUnavailable(FlowsError):
    """The store of images cannot be seen; a share may be away."""


class FieldFatal(ModelError):
    """The model process ended more than once over one image."""


class StoreStopped(FlowsError):
    """The poll of a store ends early, since the service stops."""


class CaseStopped(FlowsError):
    """The work on a case ends here without a fault.

    Attributes
    ----------
    outcome : str
        One word for people: ``Held``, ``Reopened``, ``Taken``.
    """

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome


class UnexpectedFault(FlowsError):
    """A foreign exception, told by type and place: its own text may hold what no log may."""


class PersonUnknown(FlowsError):
    """Nobody, or nobody who can be, is named as the one who acts."""


class ReviewRefused(FlowsError):
    """What a person asks for cannot be done."""


class BackupRefused(FlowsError):
    """A backup cannot be made, or cannot be restored there."""
