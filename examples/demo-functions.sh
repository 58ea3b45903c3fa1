# What examples/*/demo.sh do alike; each sources it after setting
#
#	here  its own folder, with the specs
#	test  the file with test data
#	make  the target of make that brings $test
#
# It sets thaw, the program, and out, the folder that the runs are made in.
thaw=${THAW:-$here/../../bin/thaw}

# begin FOLDER makes the folder, which must not be there, once all that the demo needs is.
begin() {
	if [[ $# != 1 ]]; then
		echo "usage: examples/$(basename "$here")/demo.sh FOLDER" >&2
		exit 2
	fi
	out=$1
	if [[ -e $out ]]; then
		echo "thaw: $out is there already: name a folder to make" >&2
		exit 1
	fi
	if [[ ! -x $thaw ]]; then
		echo "thaw: $thaw is not there: run make build first" >&2
		exit 1
	fi
	if [[ ! -f $test ]]; then
		echo "thaw: $test is not there: run make $make first" >&2
		exit 1
	fi
	mkdir -p "$out"
}

# train NAME SPEC KEY=VALUE... trains into $out/NAME, with what the program printed in its log.txt. The variable began is
# when it began.
train() {
	local name=$1 spec=$2 log=$out/$1.log
	shift 2
	began=$SECONDS
	if ! "$thaw" train "$here/$spec" out="$out/$name" "$@" >"$log" 2>&1; then
		cat "$log" >&2
		exit 1
	fi
	mv "$log" "$out/$name/log.txt"
}

# measure NAME has the run measured on the test data, into $out/NAME/test.json.
measure() { "$thaw" eval "$out/$1" --data "$test" --json >"$out/$1/test.json"; }

# percent METRIC NAME is a number that measure found, of all classes, which comes before those of each.
percent() {
	local value
	value=$(grep -o "\"$1\":[0-9.e-]*" "$out/$2/test.json" | awk -F : 'NR == 1 { printf "%.2f", 100 * $2 }') || true
	if [[ -z $value ]]; then
		echo "thaw: $out/$2/test.json has no $1" >&2
		exit 1
	fi
	echo "$value"
}
