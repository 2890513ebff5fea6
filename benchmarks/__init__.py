"""What tracing costs: ``python -m benchmarks`` (as root, or ``make bench``)."""
