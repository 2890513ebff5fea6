#!/bin/sh
# Build the wheel with the tools of BIN, install it where no compiler and no libbpf can be seen, and record with it, as root:
# scripts/check-wheel.sh BIN
set -eu
cd "$(dirname "$0")/.."
python=$(readlink -f "$1/..")/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work" .
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --only-binary :all: "$work"/*.whl

# Programs by this name only; directories of headers, libbpf and kernel sources are empty.
mkdir "$work/path" "$work/trace"
for program in true; do ln -s /bin/$program "$work/path/$program"; done
unshare -m --propagation private sh -eu -s "$work" <<'END'
for hidden in /usr/include /usr/src /lib/modules /usr/lib/gcc; do
    [ ! -d $hidden ] || mount -t tmpfs none $hidden
done
for library in /usr/lib/*/libbpf* /usr/lib/*/libelf*; do
    [ ! -e "$library" ] || mount --bind /dev/null "$(readlink -f "$library")"
done
cd "$1"
PATH=$1/path "$1/venv/bin/boxtrace" record --output "$1/trace" -- true
PATH=$1/path "$1/venv/bin/boxtrace" view --event sched_process_exec "$1/trace"
END
[ -n "$("$work/venv/bin/boxtrace" view --event sched_process_exec "$work/trace")" ]
ls -l "$work"/*.whl | awk '{ print "ok: " $5 " bytes" }'
