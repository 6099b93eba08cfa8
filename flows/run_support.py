"""What all flows share: stopping without noise, texts that may be shown, and which faults are tried again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.exceptions import Abort, PrefectSignal

from db.errors import DatabaseBusy, DatabaseUnavailable
from flows.errors import CaseStopped, FieldUnreadable, ModelUnavailable, StoreUnavailable, UnexpectedFault
from flows.log import OUR_ERRORS, tell

log = logging.getLogger(__name__)

#: Faults that lie outside of the case: its attempts are not spent by them.
OUTSIDE = (DatabaseBusy, DatabaseUnavailable, ModelUnavailable, StoreUnavailable)


async def worth_another_try(_task: Any, _run: Any, state: Any) -> bool:
    """Whether a task's failure may pass by itself."""
    error = await state.aresult(raise_on_failure=False)
    return not isinstance(error, CaseStopped) and isinstance(error, (*OUTSIDE, FieldUnreadable, UnexpectedFault))


@asynccontextmanager
async def shown_safely() -> AsyncIterator[None]:
    """Let nothing out of a flow or task whose text might hold what Prefect may not show."""
    try:
        yield
    except (asyncio.CancelledError, PrefectSignal):
        raise
    except OUR_ERRORS as error:
        raise error from None  # without what caused it: Prefect writes the whole chain into its log
    except Exception as error:  # noqa: BLE001  # the edge of a run: only our own texts are known to be clean
        raise UnexpectedFault(tell(error)) from None


@asynccontextmanager
async def interruptible() -> AsyncIterator[None]:
    """Turn the cancellation of a run into Prefect's own way to leave it as it is; whoever cancelled sets its state."""
    try:
        yield
    except asyncio.CancelledError:
        raise Abort("the run was interrupted") from None


#: Options of every task. It holds its place while it waits for the next attempt: few and short ones.
TASK: dict[str, Any] = {
    "retries": 2,
    "retry_delay_seconds": [1, 4],
    "retry_condition_fn": worth_another_try,
    "persist_result": False,
    "cache_policy": NO_CACHE,
}
