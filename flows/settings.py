"""What can be set, with defaults and allowed values; `flows.config` reads it from file and environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from flows.audit_settings import AuditSettings
from flows.database_settings import DatabaseSettings
from flows.dicom_settings import DicomSettings
from flows.operations_settings import AlertSettings, HousekeepingSettings, LogSettings
from flows.quality_settings import QualitySettings
from flows.retention_settings import RetentionSettings
from flows.scanner_settings import ScannerSettings
from flows.secret_files import with_files
from flows.setting_types import Host, HttpUrl, Name, Network, Port, Seconds, Section, TlsListenerSection, TlsSection
from flows.watch_settings import DiskSettings, WatchSettings
from sphero_core.grading import DAVIS, SCHEMES, GradingScheme
from sphero_core.statistics import MICROCYTE_UM

ENV_PREFIX = "SPHERO_"
DATA = "<data>"


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError('must be a name of the IANA time zone list, such as "Europe/Berlin" or "UTC"') from None
    return name


def _profile(value: object) -> object:
    if isinstance(value, dict):
        raise ValueError(  # noqa: TRY004  # pydantic wants this one
            'must be the name of a shipped profile or a path such as "lis.toml"; write these keys into that file'
        )
    return value


class Site(Section):
    """The laboratory."""

    name: str = ""
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    release_policy: Literal["preliminary", "hold", "final"] = "preliminary"
    scheme: dict[Name, dict[Literal["1+", "2+", "3+", "4+"], float]] = {}
    grade_scheme: Name = DAVIS.name
    microcyte_um: Annotated[float, Field(gt=0, le=20)] = MICROCYTE_UM

    @field_validator("scheme")
    @classmethod
    def _cut_offs(cls, schemes: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for name, cut_offs in schemes.items():
            if name in SCHEMES:
                raise ValueError(f'"{name}" is shipped and cannot be changed; give yours another name')
            GradingScheme(name, tuple(sorted(cut_offs.items())))
        return schemes

    @field_validator("grade_scheme")
    @classmethod
    def _known_scheme(cls, name: str, info: ValidationInfo) -> str:
        known = [*SCHEMES, *info.data.get("scheme", {})]
        if name not in known:
            raise ValueError(f"must be one of {', '.join(known)}, or be given by its cut-offs in [site.scheme.NAME]")
        return name

    @property
    def grading(self) -> GradingScheme:
        """The scheme that cases are graded by."""
        ours = self.scheme.get(self.grade_scheme)
        return (
            SCHEMES[self.grade_scheme]
            if ours is None
            else GradingScheme(self.grade_scheme, tuple(sorted(ours.items())))
        )


class Paths(Section):
    """Where everything is kept."""

    data: Path = Path("sphero-data")
    shared: Path | None = None


class HostSettings(Section):
    """What one of several machines on a database does."""

    roles: Annotated[tuple[Literal["intake", "cases", "delivery"], ...], Field(min_length=1)] = (
        "intake",
        "cases",
        "delivery",
    )
    lease_seconds: Annotated[float, Field(ge=2, le=600)] = 30.0

    @property
    def analyses(self) -> bool:
        """Whether it analyses cases."""
        return "cases" in self.roles

    @property
    def delivers(self) -> bool:
        """Whether it sends what waits for receivers."""
        return "delivery" in self.roles


class PrefectSettings(Section):
    """The Prefect server: our own on this machine, or one elsewhere."""

    api_url: HttpUrl = ""
    port: Port = 4200
    auth_file: Path | None = None
    public_url: HttpUrl = ""


class FolderSettings(Section):
    """The watched folder."""

    enabled: bool = True
    path: str = f"{DATA}/incoming"
    scan_seconds: Seconds = 5.0
    stable_seconds: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    quiet_seconds: Seconds = 120.0
    pixel_aspect: Annotated[float, Field(ge=0.2, le=5.0)] = 1.0


class Destination(TlsSection):
    """One receiver of results."""

    name: Name
    kind: Literal["mllp", "batch"] = "mllp"
    host: Annotated[str, Field(max_length=253, pattern=r"^\S*$", validate_default=True)] = ""
    port: Annotated[int, Field(ge=0, le=65535, validate_default=True)] = 0
    folder: Annotated[Path | None, Field(validate_default=True)] = None
    batch_messages: Annotated[int, Field(ge=1, le=10_000)] = 100
    batch_seconds: Seconds = 60.0
    server_name: str = ""
    profile: Annotated[str, BeforeValidator(_profile), Field(min_length=1)] = "default"
    ack_timeout_seconds: Seconds = 30.0
    gap_seconds: Annotated[float, Field(ge=0, le=3600)] = 0.0

    @field_validator("host", "port", "folder")
    @classmethod
    def _by_kind(cls, value: str | int | Path | None, info: ValidationInfo) -> str | int | Path | None:
        kind = info.data.get("kind")
        needed = (info.field_name == "folder") == (kind == "batch")
        if kind is not None and needed and not value:
            raise ValueError("must be given" if kind == "mllp" else 'must be given where kind is "batch"')
        if kind is not None and not needed and value:
            raise ValueError(f'is not for kind = "{kind}"')
        return value


class ListenerSettings(TlsListenerSection):
    """Where orders and patient data come in."""

    enabled: bool = False
    host: Host = "127.0.0.1"
    port: Port = 2576
    allowed_addresses: tuple[Network, ...] = ()
    max_connections: Annotated[int, Field(ge=1, le=1000)] = 16
    idle_seconds: Seconds = 3600.0
    charset: Literal["ASCII", "8859/1", "UNICODE UTF-8"] = "UNICODE UTF-8"
    accession_fields: Annotated[
        tuple[Literal["SPM-2", "OBR-18", "OBR-3", "ORC-3", "OBR-2", "ORC-2"], ...], Field(min_length=1)
    ] = ("SPM-2", "OBR-18", "OBR-3", "ORC-3")
    service_codes: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    patient_authority: str = ""
    default_authority: str = ""


class Hl7Settings(Section):
    """Results out, orders in."""

    sending_application: Annotated[str, Field(min_length=1)] = "SPHERO"
    sending_facility: str = ""
    require_order: bool = False
    destination: tuple[Destination, ...] = ()
    listener: ListenerSettings = ListenerSettings()


class ModelSettings(Section):
    """The model."""

    bundle: str = "<shipped>"


class HttpSettings(TlsListenerSection):
    """Our own HTTP port: health, measures and pictures."""

    host: Host = "127.0.0.1"
    port: Port = 8080
    public_url: HttpUrl = ""


class Person(Section):
    """A person of the laboratory, as the receivers of results know them (OBX-16, OBR-32)."""

    login: Annotated[str, Field(min_length=1, max_length=100)]
    identifier: str = ""
    authority: str = ""
    family: str = ""
    given: str = ""


class ReviewSettings(Section):
    """People who review results."""

    user_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]*$")] = ""
    authority: str = ""
    person: tuple[Person, ...] = ()


class Settings(BaseSettings):
    """All settings, checked; paths and URLs are complete."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    site: Site = Site()
    paths: Paths = Paths()
    host: HostSettings = HostSettings()
    database: DatabaseSettings = DatabaseSettings()
    prefect: PrefectSettings = PrefectSettings()
    folder: FolderSettings = FolderSettings()
    scanner: tuple[ScannerSettings, ...] = ()
    hl7: Hl7Settings = Hl7Settings()
    dicom: DicomSettings = DicomSettings()
    model: ModelSettings = ModelSettings()
    quality: QualitySettings = QualitySettings()
    http: HttpSettings = HttpSettings()
    review: ReviewSettings = ReviewSettings()
    disk: DiskSettings = DiskSettings()
    watch: WatchSettings = WatchSettings()
    log: LogSettings = LogSettings()
    alerts: AlertSettings = AlertSettings()
    housekeeping: HousekeepingSettings = HousekeepingSettings()
    audit: AuditSettings = AuditSettings()
    retention: RetentionSettings = RetentionSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the hook's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the file; a variable may name a file that holds the value."""
        if isinstance(env_settings, EnvSettingsSource):
            env_settings.env_vars = with_files(env_settings.env_vars, is_setting)
        return env_settings, init_settings

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.paths.data

    @property
    def shared(self) -> Path:
        """What the machines have in common: images, quarantine, reports for people."""
        return self.paths.shared or self.paths.data

    @property
    def incoming(self) -> Path:
        """The watched folder."""
        return Path(self.folder.path)

    @property
    def images_come(self) -> bool:
        """Whether images come by themselves: through the folder, the DICOM receiver, or from a store that is asked."""
        return self.folder.enabled or self.dicom.receiver.enabled or bool(self.dicom.store)

    @property
    def time_zone(self) -> ZoneInfo:
        """The site's time zone."""
        return ZoneInfo(self.site.time_zone)

    @property
    def embedded_prefect(self) -> bool:
        """Whether the service runs its own Prefect server."""
        return not self.prefect.api_url

    @property
    def prefect_api_url(self) -> str:
        """Where Prefect's API answers."""
        return self.prefect.api_url or f"http://127.0.0.1:{self.prefect.port}/api"

    @property
    def prefect_ui_url(self) -> str:
        """Where people look at Prefect."""
        return self.prefect.public_url.rstrip("/") or self.prefect_api_url.removesuffix("/").removesuffix("/api")

    @property
    def http_url(self) -> str:
        """Where our own HTTP port answers, as people reach it: behind a proxy, or on this machine."""
        if self.http.public_url:
            return self.http.public_url.rstrip("/")
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.http.host, self.http.host)  # noqa: S104  # compared, not bound
        return f"{'https' if self.http.tls else 'http'}://{host}:{self.http.port}"


def is_setting(place: list[str]) -> bool:
    """Whether sections and a key, from the outside in, are a setting."""
    model: Any = Settings
    for name in place:
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or name not in model.model_fields:
            return False
        model = model.model_fields[name].annotation
    return True
