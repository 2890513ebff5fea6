"""Event types on the C client."""

from collections.abc import Callable

class Event:
    """An event type; a call records it.

    :param name: of the type, for messages.
    :param body: what REGISTER says of it.
    :param layout: kind, element kind and bits of each field; kind 255 is the task's name.
    :param counts: elements of arrays, 0 for other fields.
    :param task: returns the task's name.
    """

    def __init__(self, name: str, body: bytes, layout: bytes, counts: list[int], task: Callable[[], str]) -> None: ...
    def __call__(self, *values: object) -> None: ...
    @property
    def enabled(self) -> bool: ...

def start() -> None: ...
def context_changed() -> None: ...
