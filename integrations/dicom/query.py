"""A store that speaks DIMSE: C-FIND for what it has, then C-GET, or C-MOVE to our own receiver.

PS3.4 annex C; always the Study Root model, hierarchical: studies, then the series of one, then the instances of one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import build_context, build_role, evt

from integrations.dicom.catalogue import IMAGE_CLASSES, SYNTAXES
from integrations.dicom.fetching import Deliver, InstanceAnswer, StudyAnswer
from integrations.dicom.part10 import EncodedInstance, is_uid
from integrations.dicom.peer import Entity, associate, echo
from integrations.errors import DicomError, PeerRefused, PeerUnavailable

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"

SUCCESS, PENDING = 0x0000, (0xFF00, 0xFF01)
OUT_OF_MATCHES = 0xA701
_OF_THE_INSTANCES = (0xA702, 0xB000)  # some sub-operations failed, or all; perhaps since we refused what came
OUT_OF_RESOURCES, NOT_WANTED, NOT_UNDERSTOOD = 0xA700, 0xA900, 0xC000
NEARLY = 0.9
MOST_CONTEXTS = 128  # PS3.8 section 9.3.2.2: odd numbers from 1 to 255

# PS3.4 tables C.4-1 to C.4-3, and PS3.7 annex C.
_REMEDIES = {
    OUT_OF_MATCHES: "it is out of resources",
    0xA801: "it does not know the AE title of our receiver: have it registered there with its address",
    0xA900: "it does not support this query",
    0xC000: "it cannot do it; does it know our receiver's AE title, and reach it?",
    0x0122: "it does not support this service",
    0x0124: "it does not allow us this service: have it allowed there",
}


class DimseStore:
    """A store that speaks DIMSE.

    Parameters
    ----------
    entity : Entity
    move_to : str
        AE title of our receiver, to which instances are moved; empty: they are fetched by C-GET.
    max_bytes : int
        Of one data set; larger ones are not taken.
    """

    def __init__(self, entity: Entity, *, move_to: str = "", max_bytes: int) -> None:
        self._entity = entity
        self._move_to = move_to
        self._max_bytes = max_bytes

    def check(self) -> None:
        """C-ECHO, and whether it takes queries from us."""
        echo(self._entity)
        wanted = [FIND, MOVE if self._move_to else GET]
        with associate(self._entity, [build_context(uid) for uid in wanted]) as association:
            offered = {context.abstract_syntax for context in association.accepted_contexts}
        for uid, name in ((FIND, "C-FIND"), (MOVE, "C-MOVE"), (GET, "C-GET")):
            if uid in wanted and uid not in offered:
                raise PeerRefused(f"{self._entity} offers us no {name} (study root): have it allowed there")

    def close(self) -> None:
        """Nothing is left open between two calls."""

    # ------------------------------------------------------------------------------------------------------------- find
    def studies(self, modalities: Sequence[str], since: date | None) -> Iterator[StudyAnswer]:
        """Studies with a series of one of these modalities, of this date or later; with None, of any date or none."""
        seen: set[str] = set()
        for modality in modalities:
            query = Dataset()
            query.QueryRetrieveLevel, query.ModalitiesInStudy, query.StudyInstanceUID = "STUDY", modality, ""
            query.StudyDate = "" if since is None else f"{since:%Y%m%d}-"
            query.NumberOfStudyRelatedInstances = ""
            for answer in list(self._find(query)):  # what follows may take longer than an association waits
                number = str(answer.get("NumberOfStudyRelatedInstances", "") or "")
                uid = _text(answer, "StudyInstanceUID")
                if is_uid(uid) and uid not in seen:
                    seen.add(uid)
                    yield StudyAnswer(uid, int(number) if number.isdigit() else None)

    def instances(self, study_uid: str) -> Iterator[InstanceAnswer]:
        """Everything in one study, series by series."""
        query = Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = "SERIES", study_uid
        query.SeriesInstanceUID, query.Modality = "", ""
        for series in list(self._find(query)):
            if not is_uid(series_uid := _text(series, "SeriesInstanceUID")):
                continue
            query = Dataset()
            query.QueryRetrieveLevel, query.StudyInstanceUID = "IMAGE", study_uid
            query.SeriesInstanceUID, query.SOPInstanceUID, query.SOPClassUID = series_uid, "", ""
            for found in list(self._find(query)):
                if is_uid(uid := _text(found, "SOPInstanceUID")):
                    sop_class = _text(found, "SOPClassUID")
                    yield InstanceAnswer(study_uid, series_uid, uid, sop_class, _text(series, "Modality"))

    def _find(self, query: Dataset) -> Iterator[Dataset]:
        with associate(self._entity, [build_context(FIND)]) as association:
            for code, answer in self._answers(association.send_c_find(query, FIND), "C-FIND"):
                if code in PENDING and answer is not None:
                    yield answer

    # ------------------------------------------------------------------------------------------------------------ fetch
    def fetch(self, wanted: Sequence[InstanceAnswer], deliver: Deliver) -> dict[str, str]:
        """Fetch some instances of one series; gives why not for those that did not come."""
        request = Dataset()
        request.QueryRetrieveLevel = "IMAGE"
        request.StudyInstanceUID, request.SeriesInstanceUID = wanted[0].study_uid, wanted[0].series_uid
        request.SOPInstanceUID = [each.sop_instance_uid for each in wanted]
        return self._move(request, wanted) if self._move_to else self._get(request, wanted, deliver)

    def _get(self, request: Dataset, wanted: Sequence[InstanceAnswer], deliver: Deliver) -> dict[str, str]:
        told = {each.sop_class_uid for each in wanted}
        classes = sorted(IMAGE_CLASSES if "" in told else told)  # where it does not say, it may be any of them
        # A context for each encoding: else the store would have to choose one for all, and decode what is not in it.
        pairs = [(uid, syntax) for syntax in SYNTAXES for uid in classes][: MOST_CONTEXTS - 1]
        contexts = [build_context(GET), *(build_context(uid, syntax) for uid, syntax in pairs)]
        ended = SUCCESS
        incoming = _Incoming(wanted, deliver, self._max_bytes)
        roles = [build_role(uid, scp_role=True) for uid in classes]
        handlers = [(evt.EVT_C_STORE, incoming.store)]
        with associate(self._entity, contexts, roles=roles, handlers=handlers) as association:
            for code, _ in self._answers(association.send_c_get(request, GET), "C-GET"):
                ended = code
                if incoming.error is not None:
                    raise incoming.error
        missing = {each.sop_instance_uid: f"C-GET ended with status 0x{ended:04X} without it" for each in wanted}
        return {uid: incoming.refused.get(uid, why) for uid, why in missing.items() if uid not in incoming.came}

    def _move(self, request: Dataset, wanted: Sequence[InstanceAnswer]) -> dict[str, str]:
        ended = SUCCESS
        with associate(self._entity, [build_context(MOVE)]) as association:
            for code, _ in self._answers(association.send_c_move(request, self._move_to, MOVE), "C-MOVE"):
                ended = code
        if ended == SUCCESS:
            return {}
        return {each.sop_instance_uid: f"C-MOVE ended with status 0x{ended:04X}" for each in wanted}

    def _answers(self, statuses: Iterator[Any], service: str) -> Iterator[tuple[int, Dataset | None]]:
        """Each answer with the code of its status, unless that says that nothing will come."""
        while True:
            asked_at = time.monotonic()
            try:
                status, answer = next(statuses)
            except StopIteration:
                return
            if "Status" in status:
                yield self._code(status, service), answer
                continue
            if time.monotonic() - asked_at < self._entity.timeout_seconds * NEARLY:
                own = self._entity.own_ae_title
                raise PeerRefused(f"{self._entity} ended the association at {service}: does it allow that to {own}?")
            raise PeerUnavailable(f"{self._entity} did not answer {service} within {self._entity.timeout_seconds:g} s")

    def _code(self, status: Dataset, service: str) -> int:
        code = int(status.Status)
        if code in PENDING or code in (SUCCESS, *_OF_THE_INSTANCES):
            return code
        remedy = _REMEDIES.get(code, "see its log")
        kind = PeerUnavailable if code == OUT_OF_MATCHES else PeerRefused
        raise kind(f"{self._entity} answered {service} with status 0x{code:04X}: {remedy}")


class _Incoming:
    """Takes what a store sends by C-STORE within a C-GET."""

    def __init__(self, wanted: Sequence[InstanceAnswer], deliver: Deliver, max_bytes: int) -> None:
        self._wanted = {each.sop_instance_uid: each for each in wanted}
        self._deliver = deliver
        self._max_bytes = max_bytes
        self.came: set[str] = set()
        self.refused: dict[str, str] = {}
        self.error: Exception | None = None

    def store(self, event: Any) -> int:
        """The status to answer."""
        uid = str(event.request.AffectedSOPInstanceUID)
        answer = self._wanted.get(uid)
        if answer is None or self.error is not None:
            return NOT_WANTED if answer is None else OUT_OF_RESOURCES
        data = event.request.DataSet.getbuffer()
        if len(data) > self._max_bytes:
            self.refused[uid] = f"it has {len(data) / 2**20:.0f} MiB; see max_object_mib"
            return OUT_OF_RESOURCES
        try:
            instance = EncodedInstance(
                str(event.request.AffectedSOPClassUID), uid, str(event.context.transfer_syntax), data
            )
            self._deliver(answer, instance)
        except DicomError as error:  # of this instance
            self.refused[uid] = str(error)
            return NOT_UNDERSTOOD
        except Exception as error:  # noqa: BLE001  # not ours to judge: it ends the fetching, and is raised there
            self.error = error
            return OUT_OF_RESOURCES
        self.came.add(uid)
        return SUCCESS


def _text(answer: Dataset, keyword: str) -> str:
    return str(answer.get(keyword, "") or "").strip()
