#!/usr/bin/env bash
# Builds the program into /opt/program: program.sh [FLAG...]. It runs in the build stages, with libtorch mounted.
#
# Nothing of the machine or of the moment goes in: the path of the sources is the same in every build, -trimpath takes it
# out, and the build's own id is left empty. So the same sources give the same bytes.
set -euo pipefail

grep -q "^const Version = \"$VERSION\"\$" internal/version/version.go || {
	echo "thaw: docker build: internal/version/version.go has another version than the argument VERSION, $VERSION:" \
		"change it in docker/Dockerfile, or build with docker/build.sh" >&2
	exit 1
}
# Go's cache does not look at libtorch's headers, so each lock file has a cache of its own.
GOCACHE=/objects/$(sha256sum third_party/wheels.lock | cut -c1-12)
export GOCACHE CGO_ENABLED=1
go build "$@" -ldflags "-s -w -buildid= -r /opt/thaw/lib" -o /opt/program/thaw ./cmd/thaw
