"""Errors of the database layer.

    DatabaseError
    ├── UnsupportedDatabase    the URL names no database that is supported
    ├── DatabaseUnavailable    not reachable, disk full or damaged: try again later, or see to the server
    ├── DatabaseBusy           locked too long, deadlock: nothing was written, run the transaction again
    ├── SchemaMismatch         the tables are missing, older or newer than the program
    ├── ConstraintBroken       the database refused a row or a change
    │   └── NotPermitted       our role has no right to it
    ├── NotFound               no case, field, message or picture has this id
    ├── IllegalMove            the state machine knows no such move
    ├── LeaseLost              another worker has taken over
    ├── CaseNotReady           fields are still without an outcome, or none was analysed
    ├── FindingsRemoved        the cells of the case were taken away by the retention policy
    ├── CaseChanged            something came while a person looked at the case
    ├── BackupFailed           the database cannot be written into a file, or brought back from one
    └── DamagedRecord          what was read back is not what was written

Every error of the driver is turned into one of these where a transaction ends. Their texts quote no values: the driver's
own texts may hold an accession number.
"""

from __future__ import annotations


class DatabaseError(Exception):
    """Base of every error that the database layer raises on purpose."""


class UnsupportedDatabase(DatabaseError):
    """The URL names no database that is supported."""


class DatabaseUnavailable(DatabaseError):
    """The database cannot be reached, or cannot write; nothing of the transaction was kept."""


class DatabaseBusy(DatabaseError):
    """The database was locked too long, or chose this transaction to end a deadlock; run it again."""


class SchemaMismatch(DatabaseError):
    """The tables are missing, older or newer than this program."""


class ConstraintBroken(DatabaseError):
    """The database refused a row or a change."""


class NotPermitted(ConstraintBroken):
    """Our role in the database has no right to what was asked."""


class NotFound(DatabaseError):
    """No row has this id."""


class IllegalMove(DatabaseError):
    """The state machine knows no such move."""


class LeaseLost(DatabaseError):
    """The lease belongs to another worker by now; leave the work to it."""


class CaseNotReady(DatabaseError):
    """The case has fields without an outcome, or none that was analysed."""


class FindingsRemoved(DatabaseError):
    """The cells of the case were taken away by the retention policy; its reports hold its numbers."""


class CaseChanged(DatabaseError):
    """Something came while a person looked at the case: look again."""


class DamagedRecord(DatabaseError):
    """What was read back is not what was written."""


class BackupFailed(DatabaseError):
    """The database cannot be written into a file, or brought back from one."""
