"""What settings mean together for a server that is about to start."""

from tellstream.config import ConfigError
from tellstream.settings import Settings


def check_available(settings: Settings, workers: int = 1) -> None:
    """Refuse settings that contradict each other in this many workers.

    Raises:
        ConfigError: naming each key.
    """
    if workers > 1 and not is_shared(settings.eventlog.url):
        problem = (
            f"configuration: eventlog.url: {settings.eventlog.url} belongs to one process; "
            f"--workers {workers} needs an event log that they share, redis://host:port/db"
        )
        raise ConfigError([problem])


def is_shared(event_log_url: str) -> bool:
    """Whether several processes may use an event log at once."""
    return event_log_url not in {"memory", "sqlite"}


def notices(settings: Settings) -> list[str]:
    """Say plainly what a setting means that may surprise."""
    if settings.eventlog.url == "memory":
        return ["Event log: in memory; streams do not survive a restart."]
    return []
