#!/bin/sh
# Make a small container, record it for two seconds from outside, show what the trace tells: demo/run.sh [BOXTRACE]
set -eu
exec 2>&1
boxtrace=$(command -v "${1:-boxtrace}")
python=$(dirname "$(readlink -f "$boxtrace")")/python3
[ -x "$python" ] || python=python3
here=$(dirname "$(readlink -f "$0")")
name=demo-$$
trace=$(mktemp -d)/trace

# A shop that writes an order every 200 ms, and whose pid 1 is a shell.
workload='while :; do echo "order $RANDOM" >>/tmp/orders; wc -l /tmp/orders >/dev/null; sleep 0.2; done'

"$python" "$here/container.py" "$name" -- sh -c "$workload" &
container=$!
trap 'kill $container 2>/dev/null; wait $container 2>/dev/null || true' EXIT

show() {
    printf '\n\033[1m$ boxtrace %s\033[0m\n' "$*"
    "$boxtrace" "$@"
}

first_lines() {
    printf '\n\033[1m$ boxtrace %s | head -n %s\033[0m\n' "$2" "$1"
    # shellcheck disable=SC2086 # the words of a command
    "$boxtrace" $2 | head -n "$1"
}

tries=50
until "$boxtrace" pids "$name" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || { echo "the container did not start" >&2 && exit 1; }
    sleep 0.1
done

show containers
show pids "$name"
show record --container "$name" --duration 2s --output "$trace"
show containers "$trace"
first_lines 8 "pids $name $trace"
first_lines 5 "view --event syscall_entry_open* --container $name $trace"
first_lines 3 "view --event sched_process_exec --container $name $trace"
printf '\nThe trace stays in %s\n' "$trace"
