"""What several tests share; importable because the conftest beside it puts this directory on the path."""
