#!/usr/bin/env bash
# Prints what the images' labels tell, as NAME=VALUE lines: the versions that third_party/wheels.lock pins, the program's, and
# the commit, with "-changed" behind it where the checkout is not what was committed. docker/build.sh passes them on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pinned() { # PACKAGE
	awk -v name="$1" '
		!/^#/ && $2 == name { print $3; found = 1 }
		END { if (!found) { print "thaw: third_party/wheels.lock has no " name > "/dev/stderr"; exit 1 } }
	' third_party/wheels.lock
}

version=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' internal/version/version.go)
[[ $version ]] || {
	echo "thaw: internal/version/version.go has no line const Version = \"...\"" >&2
	exit 1
}
revision=$(git rev-parse HEAD 2>/dev/null) || revision=unknown
[[ $revision == unknown || -z $(git status --porcelain) ]] || revision+=-changed

libtorch=$(pinned torch)
cuda=$(pinned nvidia-cuda-runtime)
cudnn=$(pinned nvidia-cudnn-cu13)
nccl=$(pinned nvidia-nccl-cu13)
cat <<EOT
VERSION=$version
REVISION=${REVISION:-$revision}
LIBTORCH=$libtorch
CUDA=$cuda
CUDNN=$cudnn
NCCL=$nccl
EOT
