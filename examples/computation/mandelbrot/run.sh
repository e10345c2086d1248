#!/bin/sh
# Computes a picture, a row a job: run.sh [WIDTH [HEIGHT]] > picture.pgm. See README.md.
. "$(dirname "$0")/../cluster.sh"
width=${1:-240} height=${2:-160}

start_server
start_workers 2 rows awk -v width="$width" -v height="$height" -f "$here/row.awk"
printf 'P2\n%d %d\n255\n' "$width" "$height"
seq 0 $((height - 1)) | "$PARLEY" map rows
