"""Fixtures of the user domain."""

from support.user import record_user

__all__ = ["record_user"]
