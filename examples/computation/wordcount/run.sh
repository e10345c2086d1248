#!/bin/sh
# Counts the words of the files in a directory: run.sh [DIR [HOW MANY]]. See README.md.
. "$(dirname "$0")/../cluster.sh"
dir=$(cd "${1:-$here/../../../docs}" && pwd)

start_server
start_workers 2 words sh "$here/count.sh"
find "$dir" -type f -name '*.md' | sort >"$tmp/files"
"$PARLEY" map words --quiet <"$tmp/files" >"$tmp/counts"
awk 'NF == 2 { total[$2] += $1 } END { for (word in total) print total[word], word }' "$tmp/counts" |
	sort -k1,1nr -k2 | head -n "${2:-10}"
