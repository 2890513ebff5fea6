#!/bin/sh
# Install what the named parts of the work need and this machine lacks: scripts/setup.sh build [demo] [test] [kernels] [bench]
# Does nothing, quickly, when all is there. Debian and Ubuntu packages by apt-get, as root or through sudo.
set -eu
cd "$(dirname "$0")/.."

VENV=.venv
STAMP=$VENV/.installed

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -E "$@"; fi
}

say() {
    echo "setup: $*" >&2
}

# What each part needs: a package, or COMMAND:PACKAGE when the command may also come from elsewhere.
needs() {
    case $1 in
    build) echo "libbpf-dev libelf-dev zlib1g-dev c++:g++ pkg-config:pkg-config python3-venv python3-dev git:git" ;;
    demo) echo "busybox:busybox-static unshare:util-linux ip:iproute2" ;;
    test) echo "busybox:busybox-static unshare:util-linux ip:iproute2 babeltrace2:babeltrace2 python3-bt2 strace:strace systemtap-sdt-dev
                dockerd:docker.io podman:podman runc:runc crun:crun lxc-start:lxc newuidmap:uidmap rootlesskit:rootlesskit bwrap:bubblewrap
                systemd-nspawn:systemd-container redis-server:redis-server lttng:lttng-tools liblttng-ust-dev musl-gcc:musl-tools perf:$(perf_package)
                $(needs kernels)" ;;
    kernels) echo "qemu-system-x86_64:qemu-system-x86 busybox:busybox-static unshare:util-linux babeltrace2:babeltrace2
                lttng:lttng-tools modprobe:kmod strip:binutils make:make" ;;
    bench) echo "crun:crun busybox:busybox-static strace:strace perf:$(perf_package) bpftrace:bpftrace lttng:lttng-tools liblttng-ust-dev python3-lttngust" ;;
    *) say "unknown part: $1" && exit 2 ;;
    esac
}

perf_package() {
    if [ "$(. /etc/os-release && echo "$ID")" = ubuntu ]; then echo linux-tools-generic; else echo linux-perf; fi
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_packages() {
    missing=
    for need in "$@"; do
        package=${need#*:}
        if [ "$package" != "$need" ] && command -v "${need%%:*}" >/dev/null; then continue; fi
        is_installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "please install:$missing"
        exit 1
    fi
    say "installing$missing"
    as_root apt-get update -q >/dev/null
    # shellcheck disable=SC2086 # a list
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >/dev/null
}

mount_tracefs() {
    [ -d /sys/kernel/tracing/events ] || as_root mount -t tracefs tracefs /sys/kernel/tracing ||
        say "tracefs could not be mounted: recording will not work here"
}

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    say "no Python >= 3.11 here"
    exit 1
}

build_requirements() {
    "$VENV/bin/python" -c 'import tomllib; print("\n".join(tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"]))'
}

is_current() {
    [ -e "$STAMP" ] && [ -z "$(find pyproject.toml CMakeLists.txt cmake native src/boxtrace/kernel/bpf -newer "$STAMP" -type f -print -quit)" ]
}

install_project() {
    ! is_current || return 0
    [ -x "$VENV/bin/python" ] || "$(find_python)" -m venv "$VENV"
    say "building the project into $VENV"
    touch "$STAMP.new" # before the build: what is edited during it is built again
    build_requirements >"$VENV/build-requirements.txt"
    "$VENV/bin/pip" install -qq --disable-pip-version-check -r "$VENV/build-requirements.txt" cmake ninja
    "$VENV/bin/pip" install -qq --disable-pip-version-check --no-build-isolation -e '.[test,check]'
    mv "$STAMP.new" "$STAMP"
}

# A program of its own environment: it wants an old PyYAML, which it does not need, and which no longer builds.
install_barectf() {
    [ ! -x "$VENV/barectf/bin/barectf" ] || return 0
    say "installing barectf into $VENV/barectf"
    "$(find_python)" -m venv "$VENV/barectf"
    "$VENV/barectf/bin/pip" install -qq --disable-pip-version-check --no-deps barectf==3.1.2
    "$VENV/barectf/bin/pip" install -qq --disable-pip-version-check 'jsonschema<4' 'jinja2<4' 'termcolor<2' pyyaml 'setuptools<81' \
        2>/dev/null
}

for part in "$@"; do
    # shellcheck disable=SC2046 # a list
    install_packages $(needs "$part")
    case $part in
    build) install_project ;;
    test) mount_tracefs && install_barectf ;;
    *) mount_tracefs ;;
    esac
done
