#!/usr/bin/env bash
# Builds Thaw's images with Docker, their labels filled in: see usage. docker/engine.sh run docker/build.sh does so on a
# machine without Docker, too.
set -euo pipefail

usage() {
	cat <<EOT
usage: docker/build.sh [cpu|cuda]... [-- ARGUMENT...]

Builds thaw:cpu, thaw:cuda or, without a word, both. What follows -- goes to docker build, as in -- --build-arg WITH=linalg.

IMAGE    another name than thaw
DOCKER   another client than docker
CA       a bundle of certificates for a builder behind a proxy that signs TLS anew; by default \$SSL_CERT_FILE. No layer has it.
BASE, GOLANG, SNAPSHOT, WHEELS  as in docker/Dockerfile, which says what they are
NETWORK  the network of the builder's steps, as of docker build --network
CONTEXT  another folder to build than this checkout
EOT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
docker=${DOCKER:-docker}
image=${IMAGE:-thaw}
targets=()
while [[ $# -gt 0 && $1 != -- ]]; do
	case $1 in
	cpu | cuda) targets+=("$1") ;;
	-h | --help) usage && exit 0 ;;
	*) echo "thaw: docker/build.sh: \"$1\" is no target; there are cpu and cuda" >&2 && exit 2 ;;
	esac
	shift
done
[[ ${1:-} != -- ]] || shift
[[ ${#targets[@]} -gt 0 ]] || targets=(cpu cuda)

arguments=()
while read -r line; do arguments+=(--build-arg "$line"); done < <("$root/docker/versions.sh")
for name in BASE GOLANG SNAPSHOT WHEELS; do
	[[ ! -v $name ]] || arguments+=(--build-arg "$name=${!name}")
done
ca=${CA-${SSL_CERT_FILE:-}}
[[ -z $ca ]] || arguments+=(--secret "id=ca,src=$ca")
[[ -z ${NETWORK:-} ]] || arguments+=(--network "$NETWORK")

context=${CONTEXT:-$root}
export DOCKER_BUILDKIT=1
for target in "${targets[@]}"; do
	"$docker" build -f "$context/docker/Dockerfile" --target "$target" -t "$image:$target" "${arguments[@]}" "$@" "$context"
done
