#!/usr/bin/env bash
# Turns data/movieReviewSnippets_GroundTruth.txt into reviews.tsv: 10,605 snippets of movie reviews, in the same
# order, each with the sign of its mean human rating (5,242 positive, 5,363 negative).
#
# In: id, mean rating from -4 to 4 and text, separated by tabs, CRLF at the end. Out: a header, then text and
# sentiment. The text's bytes stay as they are; a few are not UTF-8.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")"

in=data/movieReviewSnippets_GroundTruth.txt
if [[ ! -f $in ]]; then
	echo "thaw: $in is not there: run third_party/fetch.sh --set reviews first" >&2
	exit 1
fi
out=$(mktemp reviews.tsv.XXXXXX)
trap 'rm -f "$out"' EXIT
awk -v file="$in" '
	BEGIN { FS = OFS = "\t"; print "snippet", "sentiment" }
	{ sub(/\r$/, "") }
	NF != 3 || $2 !~ /^-?[0-9.]+$/ {
		printf "thaw: %s:%d: want id, rating and text\n", file, NR > "/dev/stderr"
		exit 1
	}
	{ print $3, ($2 > 0 ? "positive" : "negative") }
' "$in" >"$out"
chmod 644 "$out"
mv "$out" reviews.tsv
