#!/usr/bin/env bash
# A Docker engine for builds and tests on a machine that has none, or has no registry: see usage.
set -euo pipefail

usage() {
	cat <<EOT
usage: docker/engine.sh run COMMAND...  runs a command with DOCKER, DOCKER_HOST and docker/build.sh's variables set
       docker/engine.sh start           starts the private engine, and leaves it running; prints those variables
       docker/engine.sh stop            stops it
       docker/engine.sh remove          stops it, and removes all it built

Where a Docker engine answers, that one is taken. Where none does, Debian's dockerd is started for root: on a socket and with
folders of its own in \$THAW_CACHE/docker, without a network bridge, firewall rules or sysctls. It stops with the last run.

Where no registry gives the images that docker/bases.lock pins, stand-ins for them are made of Debian's packages and of Go, once
per machine (minutes); images built on those are for tests. What \$THAW_CACHE/wheels holds is not brought a second time.

THAW_BASES  pinned: never stand-ins; standin: at once
EOT
}

die() {
	printf 'thaw: docker/engine.sh: %s\n' "$*" >&2
	exit 1
}
say() { printf 'thaw: %s\n' "$*" >&2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${THAW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/thaw}
dir=$cache/docker
socket=$dir/run/engine.sock
codename=bookworm
debian_made=3 go_made=2 # how the stand-ins are made: raised where that changes

# need COMMAND PACKAGE...: on Debian root installs what is missing.
need() {
	local command=$1
	shift
	! command -v "$command" >/dev/null || return 0
	if ! command -v apt-get >/dev/null || [[ $(id -u) != 0 ]]; then
		die "$command not found: install it (on Debian: apt-get install $*), or run this as root on Debian, or use a machine with Docker"
	fi
	say "installing $* with apt-get"
	{ DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@" ||
		{ apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@"; }; } >&2 ||
		die "apt-get could not install $*"
}

# client: the first Docker client on PATH that knows BuildKit: one with buildx, or one before 23.
client() {
	local candidate major
	while read -r candidate; do
		major=$("$candidate" --version 2>/dev/null | sed -n 's/^Docker version \([0-9]*\)\..*/\1/p')
		[[ $major ]] || continue
		if ((major < 23)) || "$candidate" buildx version >/dev/null 2>&1; then
			echo "$candidate"
			return
		fi
	done < <(type -aP docker)
	return 1
}

# answers [HOST]: an engine is there.
answers() { DOCKER_HOST=${1:-${DOCKER_HOST:-}} timeout 20 "$docker" info >/dev/null 2>&1; }

# private_is_up: asked without waiting.
private_is_up() { [[ -S $socket ]] && answers "unix://$socket"; }

start_private() {
	((${#socket} < 100)) || die "$socket is too long for a socket's name: set THAW_CACHE to a shorter path"
	[[ $(id -u) == 0 ]] || die "no Docker engine answers, and only root can start one: install Docker, or run this as root"
	need dockerd docker.io containerd runc
	docker=$(client) || die "no Docker client that knows BuildKit; install Debian's docker.io, or buildx for yours"
	mkdir -p "$dir/run" "$dir/engine"
	rm -f "$socket" "$dir/run/engine.pid"
	# No network of its own: builds use the machine's, tests none.
	setsid dockerd --data-root "$dir/engine" --exec-root "$dir/run/exec" --pidfile "$dir/run/engine.pid" -H "unix://$socket" \
		--iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --bridge=none --userland-proxy=false \
		--cgroup-parent thaw-engine >"$dir/run/engine.log" 2>&1 </dev/null 8>&- &
	local waited
	for ((waited = 0; waited < 150; waited++)); do
		! private_is_up || { say "a private Docker engine runs ($dir)" && return; }
		kill -0 $! 2>/dev/null || break
		sleep 0.2
	done
	die "dockerd did not start: $(grep -v 'level=info' "$dir/run/engine.log" | tail -n 1)"
}

stop_private() {
	local pid waited
	pid=$(cat "$dir/run/engine.pid" 2>/dev/null) || return 0
	kill "$pid" 2>/dev/null || true
	for ((waited = 0; waited < 300; waited++)); do
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	! kill -0 "$pid" 2>/dev/null || die "dockerd ($pid) does not stop; see $dir/run/engine.log"
	rm -rf "$dir/run/exec" "$socket"
	local parent
	for parent in /sys/fs/cgroup/thaw-engine /sys/fs/cgroup/*/thaw-engine; do
		[[ ! -d $parent ]] || find "$parent" -depth -type d -exec rmdir '{}' + 2>/dev/null || true
	done
	say "the private Docker engine is stopped"
}

# ---- bases ---------------------------------------------------------------------------------------------------

pin_of() { sed -n "s/^ARG $1=//p" "$root/docker/Dockerfile"; } # BASE or GOLANG

# has_pins: the engine has the pinned images, or its registry gives them.
has_pins() {
	local name pin
	for name in BASE GOLANG; do
		pin=$(pin_of "$name")
		"$docker" image inspect "$pin" >/dev/null 2>&1 || timeout 600 "$docker" pull -q "$pin" >/dev/null 2>&1 || return 1
	done
}

# debootstrap FILE [OPTION...]: a small Debian as a tar file, with what Debian's slim image leaves out left out.
debootstrap() {
	local file=$1 mirror=()
	shift
	need mmdebstrap mmdebstrap
	# The sources of this machine, where it is the same Debian.
	if grep -qs "^VERSION_CODENAME=$codename" /etc/os-release && [[ -s /etc/apt/sources.list.d/debian.sources ]]; then
		mirror=(/etc/apt/sources.list.d/debian.sources)
	fi
	say "making $(basename "$file") of Debian's packages, once per machine"
	# usr-is-merged, as Debian's images have it: apt would take usrmerge, with all of perl.
	mmdebstrap --quiet --variant=minbase --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include=usr-is-merged \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/lintian/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		"$@" "$codename" "$file.part.tar" "${mirror[@]}" >"$dir/mmdebstrap.log" 2>&1 || {
		rm -f "$file.part.tar"
		die "mmdebstrap failed, see $dir/mmdebstrap.log: $(tail -n 1 "$dir/mmdebstrap.log")"
	}
	mv "$file.part.tar" "$file"
}

# import FILE IMAGE [CHANGE...]: an image of one layer, unless the engine has it.
import() {
	local file=$1 image=$2 changes=()
	shift 2
	! "$docker" image inspect "$image" >/dev/null 2>&1 || return 0
	while [[ $# -gt 0 ]]; do changes+=(--change "$1") && shift; done
	"$docker" import "${changes[@]}" - "$image" <"$file" >/dev/null
}

# standins: sets BASE, GOLANG and SNAPSHOT to images that are made here.
standins() {
	local go goroot file
	go=$(sed -n 's/^ARG GOLANG=golang:\([0-9.]*\)-.*/\1/p' "$root/docker/Dockerfile")
	BASE=thaw-standin/debian:$codename-slim-$debian_made
	GOLANG=thaw-standin/golang:$go-$codename-$go_made
	SNAPSHOT= # mmdebstrap's image names no snapshot
	file=$dir/standin-debian-$codename-$debian_made.tar
	[[ -f $file ]] || debootstrap "$file"
	import "$file" "$BASE"
	file=$dir/standin-golang-$go-$codename-$go_made.tar
	if [[ ! -f $file ]]; then
		goroot=$(cd / && GOTOOLCHAIN=go$go go env GOROOT) || die "Go $go is not to be had: install it, or look at the network"
		# shellcheck disable=SC2016 # mmdebstrap sets $1
		debootstrap "$file" --include=ca-certificates,g++,libc6-dev,make,git \
			--customize-hook='mkdir -p "$1/usr/local/go" "$1/go" && chmod 1777 "$1/go"' \
			--customize-hook="tar -C '$goroot' --exclude=./test --exclude=./api -c . | tar -C \"\$1/usr/local/go\" --no-same-owner -x"
	fi
	import "$file" "$GOLANG" "ENV GOPATH=/go" \
		"ENV PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

# wheels: sets WHEELS to an image of what $THAW_CACHE/wheels holds, so that the builder does not bring it again.
wheels() {
	local names name key
	names=$(cd "$cache/wheels" 2>/dev/null && awk '!/^#/ && $1 ~ /cpu|cuda/ { print $2 "-" $3 "-" substr($5, 1, 12) }' \
		"$root/third_party/wheels.lock" | while read -r name; do compgen -G "$name-[0-9]*" || true; done) || return 0
	[[ $names ]] || return 0
	key=$(sha256sum <<<"$names")
	WHEELS=thaw-standin/wheels:${key:0:12}
	! "$docker" image inspect "$WHEELS" >/dev/null 2>&1 || return 0
	say "handing the builder $(wc -l <<<"$names") files of $cache/wheels"
	tar -C "$cache/wheels" -c -T - <<<"$names" | "$docker" import - "$WHEELS" >/dev/null
	"$docker" image ls --format '{{.Repository}}:{{.Tag}}' thaw-standin/wheels | grep -vxF "$WHEELS" |
		xargs -r "$docker" image rm >/dev/null || true # of older lock files
}

# ---- commands ------------------------------------------------------------------------------------------------

# lock_users: the folder of this engine's users is changed by one at a time.
lock_users() {
	mkdir -p "$dir/run/users"
	exec 8>"$dir/run/lock"
	flock 8
}

# use_engine: finds or starts an engine, notes that this process uses it, and sets the variables.
use_engine() {
	docker=$(client) || docker=
	if [[ -z $docker ]] || ! answers; then
		lock_users
		if [[ -z $docker ]] || ! private_is_up; then start_private; fi
		: >"$dir/run/users/$$"
		exec 8>&-
		export DOCKER_HOST=unix://$socket NETWORK=host
	fi
	export DOCKER=$docker DOCKER_BUILDKIT=1
	mkdir -p "$dir"
	exec 9>"$dir/bases.lock" # two runs do not make the same images
	flock 9
	if [[ ${THAW_BASES:-} == standin ]] || { [[ ${THAW_BASES:-} != pinned ]] && ! has_pins; }; then
		say "no registry gives the images that docker/bases.lock pins: stand-ins of Debian's packages take their place, for tests only"
		standins
		export BASE GOLANG SNAPSHOT
	fi
	wheels
	[[ -z ${WHEELS:-} ]] || export WHEELS
	exec 9>&-
}

# leave: this process uses the engine no longer; the last one stops it, unless it was started to stay.
leave() {
	[[ -e $dir/run/users/$$ ]] || return 0
	lock_users
	rm -f "$dir/run/users/$$"
	local user left=
	for user in "$dir/run/users"/*; do
		user=${user##*/}
		if [[ $user == stay ]] || kill -0 "$user" 2>/dev/null; then left=yes; else rm -f "$dir/run/users/$user"; fi
	done
	[[ $left ]] || stop_private
	exec 8>&-
}

case ${1:-} in
run)
	[[ $# -gt 1 ]] || { usage >&2 && exit 2; }
	trap leave EXIT
	use_engine
	code=0
	"${@:2}" || code=$?
	exit "$code"
	;;
start)
	trap leave EXIT
	use_engine
	[[ ! -e $dir/run/users/$$ ]] || : >"$dir/run/users/stay"
	for name in DOCKER DOCKER_HOST NETWORK BASE GOLANG SNAPSHOT WHEELS; do
		[[ ! -v $name ]] || printf 'export %s=%q\n' "$name" "${!name}"
	done
	;;
stop | remove)
	lock_users
	rm -rf "$dir/run/users"
	stop_private
	[[ $1 == stop ]] || rm -rf "$dir"
	;;
-h | --help) usage ;;
*) usage >&2 && exit 2 ;;
esac
