#!/bin/sh
# The job: a file's name on stdin, its words with how often each stands there on stdout.
IFS= read -r file || [ -n "$file" ]
[ -r "$file" ] || exit 65 # to try again is of no use
tr -cs 'A-Za-z' '\n' <"$file" | tr 'A-Z' 'a-z' | awk 'length >= 4 { n[$0]++ } END { for (word in n) print n[word], word }'
