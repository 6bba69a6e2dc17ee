#!/bin/sh
# Starts the agent and the other `socklb` commands with the packages in ../lib.
# Compiled dependencies fit one minor version of Python only: the interpreter they were installed for comes first, then
# one of the same version from PATH. setup/build-agent.sh fills in both.
lib=$(dirname "$(dirname "$(readlink -f "$0")")")/lib
for python in "@PYTHON@" python@VERSION@ python3; do
    found=$("$python" -S -E -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
    if [ "$found" = "@VERSION@" ]; then
        PYTHONPATH=$lib exec "$python" -P -s "$lib/bin/socklb" "$@"
    fi
done
echo "socklb: no Python @VERSION@ on this node (tried @PYTHON@, python@VERSION@, python3)." >&2
echo "Install it, or build the agent with the Python that the node has and deploy it again." >&2
exit 1
