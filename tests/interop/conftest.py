"""Fixtures of real container runtimes, and of hosts of the user domain."""

from support.containerd import containerd, containerd_daemon
from support.demo import demo_container
from support.dockerd import docker_daemon, dockerd, redis_image
from support.runtimes import start_container
from support.user import record_user

__all__ = [
    "demo_container",
    "containerd",
    "containerd_daemon",
    "docker_daemon",
    "dockerd",
    "record_user",
    "redis_image",
    "start_container",
]
