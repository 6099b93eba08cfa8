"""By what a case is graded: the site's scheme, and what the bundle that counted says of its own false calls."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from sphero_core.bundle import load_bundle
from sphero_core.errors import BundleError
from sphero_core.grading import DAVIS, GradingRule, GradingScheme
from sphero_core.statistics import MICROCYTE_UM, count_case
from sphero_core.types import BundleId, CaseCounts, FieldFindings

log = logging.getLogger(__name__)


class CaseGrader:
    """Counts and grades cases; for any number of threads.

    Parameters
    ----------
    scheme : GradingScheme
    bundle : Path or None
        Folder of the bundle at hand. Findings of another one have no known share of false calls.
    microcyte_um : float
    """

    def __init__(
        self, scheme: GradingScheme = DAVIS, bundle: Path | None = None, microcyte_um: float = MICROCYTE_UM
    ) -> None:
        self._scheme = scheme
        self._bundle = bundle
        self._microcyte_um = microcyte_um
        self._known: dict[str, float | None] = {}

    def count(
        self, findings: Sequence[FieldFindings], bundle: BundleId | None, um_per_pixel: float | None
    ) -> CaseCounts:
        """Count and grade a case.

        Parameters
        ----------
        findings : sequence of FieldFindings
            One per field, refused fields included, related to the case.
        bundle : BundleId or None
            That found them.
        um_per_pixel : float or None
        """
        rule = GradingRule(self._scheme, None if bundle is None else self._false_call_percent(bundle))
        return count_case(findings, um_per_pixel=um_per_pixel, rule=rule, microcyte_um=self._microcyte_um)

    def _false_call_percent(self, bundle: BundleId) -> float | None:
        if bundle.sha256 not in self._known and self._bundle is not None:
            try:
                loaded = load_bundle(self._bundle)
            except BundleError as error:  # the model process tells it as well; asked again with the next case
                log.warning("the share of false calls is not known: %s", error)
                return None
            self._known[loaded.id.sha256] = loaded.false_call_percent
        return self._known.get(bundle.sha256)
