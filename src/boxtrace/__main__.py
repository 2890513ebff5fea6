"""``python -m boxtrace``."""

from __future__ import annotations

from boxtrace.cli.main import main

if __name__ == "__main__":
    main()
