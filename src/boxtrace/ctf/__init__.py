"""The trace format: model, metadata (TSDL and CTF 2 JSON), decoding, writing."""
