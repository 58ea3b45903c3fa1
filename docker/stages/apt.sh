#!/bin/sh
# Installs Debian packages in a stage of the build and leaves neither lists nor caches nor logs: apt.sh PACKAGE...
#
# SNAPSHOT says from where. Debian's images name, in a comment above each source, the snapshot of Debian's archive that they
# were made of: base takes that one, a date (20261101T000000Z) another day's, empty the mirror of the day.
set -eu

die() {
	echo "thaw: installing $packages: $*" >&2
	exit 1
}

packages="$*"
sources=/tmp/snapshot.sources
if [ "${SNAPSHOT-base}" ]; then
	awk -v date="${SNAPSHOT-base}" '
		/^# *https?:.*\/[0-9]+T[0-9]+Z\/?$/ {
			snapshot = $NF
			if (date != "base") sub(/[0-9]+T[0-9]+Z\/?$/, date, snapshot)
			next
		}
		/^URIs:/ {
			if (snapshot == "") exit 3
			$0 = "URIs: " snapshot
			snapshot = ""
			found = 1
		}
		{ print }
		END { if (!found) exit 3 }
	' /etc/apt/sources.list.d/debian.sources >"$sources" ||
		die "the base image names no snapshot of Debian; --build-arg SNAPSHOT= takes the mirror of the day"
	# Those of a snapshot are past the date until which they vouch for themselves.
	set -- -o Acquire::Check-Valid-Until=false -o "Dir::Etc::SourceList=$sources" -o Dir::Etc::SourceParts=/dev/null
else
	set --
fi
export DEBIAN_FRONTEND=noninteractive
apt-get "$@" -q update || die "the sources that apt uses cannot be reached; look at the network, or set SNAPSHOT"
# shellcheck disable=SC2086 # a list of words
apt-get "$@" -q -y install --no-install-recommends $packages
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old \
	/var/log/apt /var/log/*.log "$sources"
