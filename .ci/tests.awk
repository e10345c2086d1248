# Reads what "go test -v" prints for many packages and shows what a person wants to know: a line for
# each package, everything of a package that failed, and which tests were left out for want of
# something ("needs root: ..."). Its last line of input is the exit status of go test.

function flush_lines(   i) {
	for (i = 1; i <= n; i++) print lines[i]
	n = 0
}

/^=== (RUN|NAME|CONT|PAUSE) / { test = $3; lines[++n] = $0; next }

/^ *--- FAIL: / { failed[++failures] = $3 }

/^ +[a-z0-9_]+_test\.go:[0-9]+: / { said[test] = said[test] "\n" substr($0, 1, 500) }

/_test\.go:[0-9]+: needs / {
	reason = $0
	sub(/^.*_test\.go:[0-9]+: /, "", reason)
	left[++lefts] = test ": " reason
}

/^ok  \t/ || /^\?   \t/ { print; fflush(); n = 0; next }
/^\t.*\tcoverage: 0\.0%/ { n = 0; next }
/^FAIL\t/ { flush_lines(); print; fflush(); next }
/^exit status of go test: / { status = $NF; next }
{ lines[++n] = $0 }

END {
	if (status != 0) flush_lines()
	if (failures > 0) {
		print ""
		print "Failed, and what it said:"
		for (i = 1; i <= failures; i++) print "  " failed[i] substr(said[failed[i]], 1, 3000)
	}
	if (lefts > 0) {
		print ""
		print "Left out, since this machine or user lacks what they need:"
		for (i = 1; i <= lefts; i++) print "  " left[i]
	}
	exit status
}
