"""hanwave rolls firmware out, over the air, to Great Britain's smart-meter devices, and can prove what it did."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hanwave.client import BlockingClient as BlockingClient
    from hanwave.client import Client as Client

__all__ = ["BlockingClient", "Client"]


def __getattr__(name: str) -> Any:
    """The SDK, when it is asked for: whoever only reads an image need not load the engine's client."""
    if name in __all__:
        from hanwave import client  # noqa: PLC0415

        return getattr(client, name)
    raise AttributeError(f"module 'hanwave' has no attribute {name!r}")
