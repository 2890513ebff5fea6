"""The user domain, the host's side: applications give their events over the protocol of ``docs/protocol.md``."""
