#!/bin/sh
# Runs one long step of the set-up: says in a line what it does and how long it took, keeps its output in build/log/,
# and shows that output only when the step fails.
#
#   step.sh NAME "What it does" COMMAND [ARGUMENT...]
set -eu

cd "$(dirname "$0")/.."
name=$1 what=$2
shift 2
log=build/log/$name.log
if ! (mkdir -p build/log && : >"$log") 2>/dev/null; then # else an earlier log would be shown as this one's
    echo "setup/step.sh: $log cannot be written: it is not this user's. Next: the same command as root, or make clean as root" >&2
    exit 1
fi
echo "$what ..."
started=$(date +%s)
status=0
"$@" >"$log" 2>&1 </dev/null || status=$?
took=$(($(date +%s) - started))
if [ "$status" != 0 ]; then
    {
        echo "FAILED after $took s with exit code $status: $*"
        echo "The last lines of $log:"
        tail -n 40 "$log"
    } >&2
    exit "$status"
fi
echo "  done in $took s"
