"""From open cases to complete ones: when everything is there, and whose case it is.

`case.json` is read when the case completes; then the order is looked for to which the case belongs. One that comes later may say whose a held case is; one that cannot be used is
put aside like any refused file, and the case is then held for want of a patient.
"""

from __future__ import annotations

import logging
from datetime import datetime, time
from zoneinfo import ZoneInfo

from db.context import Clock
from db.session import Database, UnitOfWork
from db.states import CaseState, HoldReason
from db.views import Acquisition, CaseView, Identity
from flows.dicom_identity import follow_headers
from flows.intake import ACTOR, Intake, refused_pictures
from flows.scanners import Scanners
from integrations.errors import ManifestError
from integrations.folder.manifest import Manifest
from integrations.folder.scanner import CaseFolder, Scan
from integrations.folder.source import SeenFile

log = logging.getLogger(__name__)

TOLD_ANEW = frozenset({HoldReason.NO_PATIENT, HoldReason.UNSENDABLE})
"""Reasons for a hold that a manifest can take away; where it does not, the case is held again."""


class Completion:
    """Completes the cases of the watched folder; for one thread at a time.

    Parameters
    ----------
    database : Database
    intake : Intake
    quiet_seconds : float
        A case into which nothing came for so long is complete.
    time_zone : ZoneInfo
        Of times that name none.
    clock : callable
        The time, aware.
    require_order : bool
        Whether a case without an order of the LIS is held.
    scanners : Scanners
        What the site knows of the scanners.
    """

    def __init__(
        self,
        *,
        database: Database,
        intake: Intake,
        quiet_seconds: float,
        time_zone: ZoneInfo,
        clock: Clock,
        require_order: bool = False,
        scanners: Scanners | None = None,
    ) -> None:
        self._database = database
        self._intake = intake
        self._quiet_seconds = quiet_seconds
        self._time_zone = time_zone
        self._clock = clock
        self._require_order = require_order
        self._scanners = scanners or Scanners()

    def finish(self, scan: Scan) -> tuple[str, ...]:
        """Complete the cases that are due, and read what came later; gives the ids of cases that got on.

        Raises
        ------
        DatabaseError
            Nothing is lost; look again later.
        """
        with self._database.reading() as work:
            folders = self._folders_by_case(work, scan)
            open_cases = work.cases.open_cases()
            unmatched = work.matching.unmatched()
            others = [work.cases.get(case_id) for case_id in folders.keys() - {case.case_id for case in open_cases}]
        moved = [case.case_id for case in open_cases if self._finish_open(case, folders.get(case.case_id))]
        for case in others:
            manifest = folders[case.case_id].manifest
            if manifest is not None and self._apply_late(case, folders[case.case_id], manifest):
                moved.append(case.case_id)
        moved += [case_id for case_id in unmatched if self._match_late(case_id)]
        return tuple(moved)

    def _match_late(self, case_id: str) -> bool:
        """Match a case whose order came in the very moment in which it was held for want of one."""
        with self._database.transaction(ACTOR) as work:
            return work.matching.match(case_id, required=self._require_order)

    def _folders_by_case(self, work: UnitOfWork, scan: Scan) -> dict[str, CaseFolder]:
        found = {}
        for folder in scan.cases:
            try:
                case_id = work.identities.find(self._intake.accession_of(folder))
            except ManifestError:
                continue
            if case_id is not None:
                found[case_id] = folder
        return found

    def _finish_open(self, case: CaseView, folder: CaseFolder | None) -> bool:
        manifest: Manifest | None = None
        file = folder.manifest if folder is not None else None
        if folder is not None and (folder.waiting or folder.ready):
            return False
        if folder is not None and file is not None:
            try:
                manifest = self._intake.read(file)
            except ManifestError as error:
                if self._is_due(case, None):
                    self._intake.refuse_manifest(file, self._intake.accession_of(folder), str(error))
                return False
            if manifest is None:
                return False  # it is there, but cannot be opened now
        if not self._is_due(case, manifest):
            return False
        sure = self._complete(case.case_id, manifest)
        if file is not None and manifest is not None:
            self._intake.take_manifest(file)
        log.info("case %s", "complete" if sure else "held", extra={"case": case.case_id})
        return sure

    def _complete(self, case_id: str, manifest: Manifest | None) -> bool:
        """Record whose case it is and complete it; False where it is held instead."""
        with self._database.transaction(ACTOR) as work:
            if manifest is not None and not self._record(work, case_id, manifest):
                return False
            followed = follow_headers(work, case_id, self._scanners)
            if not followed.agrees:
                return False
            if not work.matching.match(case_id, required=self._require_order or followed.needs_order):
                return False
            if not _has_patient(work.identities.get(case_id)):
                work.cases.hold(case_id, HoldReason.NO_PATIENT)
                return False
            if work.cases.get(case_id).state is not CaseState.OPEN:
                return False
            work.cases.complete(case_id)
            return True

    def _is_due(self, case: CaseView, manifest: Manifest | None) -> bool:
        expected = manifest.expected_fields if manifest is not None else None
        expected = expected or case.acquisition.expected_fields
        if expected is not None and case.fields + case.files_quarantined >= expected:
            with self._database.reading() as work:
                if case.fields + len(refused_pictures(work, case.case_id)) >= expected:
                    return True
        return (self._clock() - case.last_arrival_at).total_seconds() >= self._quiet_seconds

    def _apply_late(self, case: CaseView, folder: CaseFolder, file: SeenFile) -> bool:
        """Read a manifest for a case that is not open; True where it let go what was held until it is told anew."""
        try:
            manifest = self._intake.read(file)
        except ManifestError as error:
            self._intake.refuse_manifest(file, self._intake.accession_of(folder), str(error))
            return False
        if manifest is None:
            return False
        released = False
        with self._database.transaction(ACTOR) as work:
            waits = set(work.cases.get(case.case_id).hold_reasons) & TOLD_ANEW
            sure = self._record(work, case.case_id, manifest) and work.matching.match(
                case.case_id, required=self._require_order
            )
            if sure and waits and _has_patient(work.identities.get(case.case_id)):
                for reason in waits:
                    work.cases.release(case.case_id, reason)
                released = True
        self._intake.take_manifest(file)
        return released

    def _record(self, work: UnitOfWork, case_id: str, manifest: Manifest) -> bool:
        work.cases.set_acquisition(
            case_id,
            Acquisition(manifest.expected_fields, manifest.um_per_pixel, manifest.pixel_aspect, manifest.stain),
        )
        accession = manifest.accession or work.identities.get(case_id).accession
        identity = work.patients.current(identity_of(manifest, accession, self._time_zone))
        return work.identities.set(case_id, identity)


def identity_of(manifest: Manifest, accession: str, time_zone: ZoneInfo) -> Identity:
    """Whose case it is, as a manifest tells it.

    A date of collection without a time is taken as midnight of the site: HL7 wants a time, and this is how laboratories
    write that only the day is known.
    """
    patient, collected = manifest.patient, manifest.collected
    moment: datetime | None = None
    if isinstance(collected, datetime):
        moment = collected if collected.tzinfo else collected.replace(tzinfo=time_zone)
    elif collected is not None:
        moment = datetime.combine(collected, time(), time_zone)
    return Identity(
        accession=accession,
        accession_issuer=manifest.accession_issuer,
        placer_order=manifest.placer_order,
        filler_order=manifest.filler_order,
        patient_id=patient.id if patient else None,
        patient_issuer=patient.issuer if patient else None,
        family=patient.family if patient else None,
        given=patient.given if patient else None,
        birth_date=patient.birth_date.isoformat() if patient and patient.birth_date else None,
        sex=patient.sex if patient else None,
        collected=moment,
    )


def _has_patient(identity: Identity) -> bool:
    return bool(identity.patient_id and identity.patient_issuer)
