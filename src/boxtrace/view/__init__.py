"""Formats of what is shown: text, JSON, tables. They only format."""
