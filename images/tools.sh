#!/bin/sh
# Makes build/tools.tar, the image socklb/tools of the pods that labs and tests ask. No registry has it, so machines over SSH that
# get the rest from one are sent this archive. Prints its path on stdout, progress on stderr.
#
# Wants setup/packages.sh setup/apt-kind.txt; the first time it builds agnhost, in some minutes.
set -eu

images=$(CDPATH='' cd "$(dirname "$0")" && pwd)
# shellcheck source=images/names.sh
. "$images/names.sh"
archive=${images%/*}/build/tools.tar

needs_python
needs_root
layer=$("$images/root.sh" tools)
programs=$("$images/programs.sh" agnhost)
mkdir -p "${archive%/*}"
trap 'rm -f "$archive.partial"' EXIT
trap 'exit 130' INT TERM
"$python" "$images/archive.py" "$images/images.toml" tools --layer tools="$layer" --programs "$programs" >"$archive.partial"
mv "$archive.partial" "$archive"
echo "$archive"
