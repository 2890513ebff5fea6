#!/bin/sh
# Run every check that needs no privilege: scripts/check.sh BIN. All run, then the status tells whether one failed.
set -u
cd "$(dirname "$0")/.." || exit
bin=$1
failed=

run() {
    name=$1
    shift
    if output=$("$@" 2>&1); then
        echo "ok      $name"
    else
        echo "FAILED  $name"
        echo "$output"
        failed="$failed $name"
    fi
}

clang_format() { # names places only: each is followed by a picture of the line
    complaints=$(scripts/c-sources.sh | xargs -0 "$bin/clang-format" --dry-run -Werror 2>&1) && return 0
    echo "$complaints" | grep -E '(error|warning|such file)' | cut -d: -f1,2
    return 1
}

shell_syntax() {
    for script in scripts/*.sh demo/*.sh .ci/run; do
        [ ! -e "$script" ] || sh -n "$script" || return
    done
}

run "ruff check" "$bin/ruff" check .
run "ruff format" "$bin/ruff" format --check .
run "mypy --strict" "$bin/mypy"
run "clang-format" clang_format
run "shell syntax" shell_syntax
run "system call tables" "$bin/python" scripts/make-syscall-tables.py --check
run "layers and public API" "$bin/pytest" -q tests/unit/test_layers.py tests/unit/test_public_api.py
run "nothing of this machine" scripts/check-text.sh

[ -z "$failed" ] || { echo "failed:$failed" && exit 1; }
