"""What the message guide says of each field, value and status, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from integrations.hl7.profile import Value
from integrations.hl7.result import ResultStatus

WHEN: Mapping[ResultStatus, str] = MappingProxyType(
    {
        ResultStatus.UNVERIFIED: "the fields of a case are analysed; again when a further field came",
        ResultStatus.FINAL: "a person signed the result; OBX-16 and OBR-32 say who",
        ResultStatus.RELEASED: "the site's release policy is `final`: no person stands behind it, and an NTE says so",
        ResultStatus.CORRECTED: "a person signed a change after a final result",
        ResultStatus.WRONG_PATIENT: "what was told does not belong to this patient; an NTE says so",
        ResultStatus.NOT_OBTAINED: "every field was refused, or a person rejected the case; the reasons stand in NTE",
    }
)

VALUES: Mapping[Value, str] = MappingProxyType(
    {
        Value.PRESENCE: "whether spherocytes are there, with the grade as alternate code; only where the result was graded; "
        "OBX-8 is A or N",
        Value.PERCENT: "spherocytes per 100 red cells, one decimal",
        Value.SPHEROCYTES: "spherocytes counted",
        Value.EVALUATED: "red cells counted, spherocytes included",
        Value.FINDING: "the result in one line with its 95 % interval; the NTE that follow hold limitations and remarks",
        Value.PICTURE: "a field with its cells outlined; OBX-4 counts them",
        Value.REPORT: "the report for people of this version as PDF/A: embedded, or its address, which asks who reads",
    }
)

MAY_BE_EMPTY = (("MSH", 4), ("MSH", 5), ("MSH", 6), ("MSH", 15), ("MSH", 16))
"""Fields that are told of even where the profile leaves them empty."""

FIELDS: Mapping[tuple[str, int], str] = MappingProxyType(
    {
        ("MSH", 1): "separates fields",
        ("MSH", 2): "separate components, repetitions and subcomponents; the third is the escape character",
        ("MSH", 3): "this system",
        ("MSH", 4): "this site",
        ("MSH", 5): "as the profile says",
        ("MSH", 6): "as the profile says",
        ("MSH", 7): "when the result was made; a repeat has the same",
        ("MSH", 9): "",
        ("MSH", 10): "names this message; a new one for each version of a result",
        ("MSH", 11): "P production, T training, D debugging",
        ("MSH", 12): "",
        ("MSH", 15): "commit acknowledgement, in enhanced mode",
        ("MSH", 16): "application acknowledgement, in enhanced mode",
        ("MSH", 18): "how the bytes are encoded",
        ("MSH", 21): "as the profile says",
        ("SFT", 1): "",
        ("SFT", 2): "version of the program",
        ("SFT", 3): "",
        ("SFT", 4): "the model that counted, with the begin of its SHA-256",
        ("PID", 1): "",
        ("PID", 3): "the patient's identifier with its assigning authority; without both nothing is sent",
        ("PID", 5): "family and given name; ^^^^^^U where no name is known",
        ("PID", 7): "only where the whole date is known",
        ("PID", 8): "table 0001",
        ("PV1", 1): "",
        ("PV1", 2): "U where it is not known",
        ("ORC", 1): "RE: results follow",
        ("ORC", 2): "the placer's number, as it came with the order",
        ("ORC", 3): "as OBR-3",
        ("OBR", 1): "",
        ("OBR", 2): "the placer's number, as it came with the order",
        (
            "OBR",
            3,
        ): "the filler's number of the order, else the accession number with its issuer; the profile may ask for "
        "the accession number always",
        ("OBR", 4): "the panel",
        ("OBR", 7): "when the specimen was taken, where it is known",
        ("OBR", 15): "the specimen",
        ("OBR", 18): "the accession number",
        ("OBR", 22): "when this version was made; later with each version",
        ("OBR", 24): "HM: haematology",
        ("OBR", 25): "see above",
        ("OBR", 32): "who verified the result; only with F and C",
        ("OBX", 1): "counts from 1",
        ("OBX", 2): "data type of OBX-5",
        ("OBX", 3): "what is told",
        ("OBX", 4): "counts pictures; OBX-3 and OBX-4 together are unique",
        ("OBX", 5): "the value; empty with OBX-11 X",
        ("OBX", 6): "UCUM; numbers only",
        ("OBX", 8): "of the presence only: A abnormal, N normal; no range is given for numbers",
        ("OBX", 11): "see above",
        ("OBX", 14): "when the specimen was taken",
        ("OBX", 16): "who verified the result; only with F and C",
        ("OBX", 17): "how it was counted",
        ("OBX", 18): "which instrument",
        ("OBX", 19): "when the last field was analysed",
        ("NTE", 1): "counts from 1 behind each OBX",
        ("NTE", 2): "L: from this system",
        ("NTE", 3): "one line: limitations, remarks, reasons",
        ("SPM", 1): "",
        ("SPM", 2): "the accession number with its issuer, as the filler's number of the specimen",
        ("SPM", 4): "the specimen",
        ("SPM", 17): "when the specimen was taken",
    }
)
