"""Messages of a LIS as tests of the orders need them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Lis:
    """Writes messages; what a test does not name stands as in a plain order."""

    version: str = "2.5.1"
    charset: str = "UNICODE UTF-8"
    pid: str = "PID|1||123456^^^HOSP^MR||Müller^Zoë||19800101|F"

    def header(self, kind: str, control_id: str = "C1", more: str = "") -> str:
        return f"MSH|^~\\&|LIS|HOSP|SPHERO|HEMLAB|20261123080000||{kind}|{control_id}|P|{self.version}||||{more}"

    def message(self, kind: str, *segments: str, control_id: str = "C1") -> bytes:
        header = self.header(kind, control_id) + f"||{self.charset}"
        codec = "iso-8859-1" if self.charset == "8859/1" else "utf-8"
        return "".join(f"{line}\r" for line in (header, *segments)).encode(codec)

    def orm(
        self, accession: str = "26-00412", *, code: str = "NW", control_id: str = "C1", placer: str = "PL123^LIS"
    ) -> bytes:
        """ORM^O01: the filler number is the accession number."""
        return self.message(
            "ORM^O01",
            self.pid,
            "PV1|1|U",
            f"ORC|{code}|{placer}|{accession}^LIS",
            f"OBR|1|{placer}|{accession}^LIS|58408-6^Erythrocyte morphology panel^LN|||20261123084500+0100",
            control_id=control_id,
        )

    def oml(self, accession: str = "26-00412", *, filler: str = "F77^LIS", control_id: str = "C1") -> bytes:
        """OML^O21: the accession number is the specimen's, and the filler number another."""
        return self.message(
            "OML^O21^OML_O21",
            self.pid,
            f"ORC|NW|PL123^LIS|{filler}",
            f"OBR|1|PL123^LIS|{filler}|58408-6^Erythrocyte morphology panel^LN",
            f"SPM|1|^{accession}&LIS||119297000^Blood specimen^SCT|||||||||||||20261123084500+0100",
            control_id=control_id,
        )

    def update(self, pid: str, control_id: str = "U1") -> bytes:
        return self.message("ADT^A08^ADT_A01", "EVN|A08|20261123", pid, "PV1|1|U", control_id=control_id)

    def merge(self, survivor: str, prior: str, control_id: str = "M1") -> bytes:
        """ADT^A40: the identifiers as PID-3 and MRG-1 have them."""
        return self.message(
            "ADT^A40^ADT_A39",
            "EVN|A40|20261123",
            f"PID|1||{survivor}||Müller^Zoë||19800101|F",
            f"MRG|{prior}",
            control_id=control_id,
        )
