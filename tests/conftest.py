"""Makes ``support`` importable for every test (pytest puts a conftest's directory on the import path)."""

from hypothesis import settings

# How long an example takes is a matter of what else the machine does.
settings.register_profile("boxtrace", deadline=None, print_blob=True)
settings.load_profile("boxtrace")
