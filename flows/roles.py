"""What of the settings this machine is there for: the same file may lie on every machine, and `[host] roles` tells them apart."""

from __future__ import annotations

from flows.settings import Settings


def own_share(settings: Settings) -> Settings:
    """The settings without what is left to other machines.

    A machine without the role ``intake`` watches no folder, takes no DICOM objects and no orders, and asks no store.
    Destinations stay, since messages are written where a case is analysed; only a machine with the role ``delivery`` sends
    them.
    """
    if "intake" in settings.host.roles:
        return settings
    return settings.model_copy(
        update={
            "folder": settings.folder.model_copy(update={"enabled": False}),
            "hl7": settings.hl7.model_copy(
                update={"listener": settings.hl7.listener.model_copy(update={"enabled": False})}
            ),
            "dicom": settings.dicom.model_copy(
                update={"receiver": settings.dicom.receiver.model_copy(update={"enabled": False}), "store": ()}
            ),
        }
    )
