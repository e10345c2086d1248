# Sourced by the examples: a server on a free port in a directory of its own, and workers for it.
# All of it ends with the script, however that ends. PARLEY names the program; without it, it is built.

set -eu
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
started=

clean_up() {
	for pid in $started; do kill "$pid" 2>/dev/null || true; done
	wait
	rm -rf "$tmp"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -z "${PARLEY:-}" ]; then
	PARLEY=$tmp/parley
	(cd "$here/../../.." && go build -o "$PARLEY" ./cmd/parley)
fi

# start_server sets PARLEY_SERVER, where the commands of the client look for one.
start_server() {
	"$PARLEY" serve --data "$tmp/data" --tcp 127.0.0.1:0 --http '' 2>"$tmp/server.log" &
	server=$!
	started="$started $server"
	until PARLEY_SERVER=$(sed -n 's/^tcp  //p' "$tmp/server.log") && [ -n "$PARLEY_SERVER" ]; do
		kill -0 "$server" || { cat "$tmp/server.log" >&2; exit 1; }
		sleep 0.05
	done
	export PARLEY_SERVER
}

# start_workers N ROOM COMMAND... starts N processes that do two jobs at a time each. On another machine
# it would be the same line, with --server.
start_workers() {
	n=$1 room=$2
	shift 2
	for _ in $(seq "$n"); do
		"$PARLEY" work "$room" --group map --parallel 2 -- "$@" 2>>"$tmp/workers.log" &
		started="$started $!"
	done
}
