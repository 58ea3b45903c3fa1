#!/usr/bin/env bash
# Lays out what wheels.lock pins for one image: native.sh cpu|cuda. It runs in the stages native-cpu and native-cuda.
#
#   /opt/libtorch      headers, libraries and licences, as third_party/libtorch has them: the program is built with it
#   /opt/groups/GROUP  the libraries of the image, a folder for each of its layers
#
# LIBTORCH, CUDA, CUDNN and NCCL are the versions that the image's labels tell; WITH names what a CUDA image has besides.
set -euo pipefail

die() {
	printf 'thaw: docker build: %s\n' "$*" >&2
	exit 1
}

# pinned PACKAGE WANT ARGUMENT: the lock's version of a package is the one that the labels will tell.
pinned() {
	local version
	version=$(awk -v name="$1" '!/^#/ && $2 == name { print $3 }' third_party/wheels.lock)
	[[ $version == "$2" ]] ||
		die "third_party/wheels.lock pins $1 $version, the argument $3 says $2: change it in docker/Dockerfile, or build with docker/build.sh"
}

set=$1
groups=/opt/groups
lib=/opt/libtorch/lib
export THAW_CACHE=/cache

pinned torch "$LIBTORCH" LIBTORCH
if [[ $set == cuda ]]; then
	pinned nvidia-cuda-runtime "$CUDA" CUDA
	pinned nvidia-cudnn-cu13 "$CUDNN" CUDNN
	pinned nvidia-nccl-cu13 "$NCCL" NCCL
	for name in ${WITH:-}; do
		[[ $name =~ ^(linalg|curand|cufile|nvshmem)$ ]] ||
			die "the argument WITH names \"$name\"; there are linalg, curand, cufile, nvshmem"
	done
fi

# What is handed in is what an earlier fetch.sh unpacked, and checked then.
mkdir -p "$THAW_CACHE/wheels"
for folder in /wheels/*/; do
	[[ -d $folder ]] || continue
	name=$(basename "$folder")
	[[ ! -e $THAW_CACHE/wheels/$name ]] || continue
	cp -a "$folder" "$THAW_CACHE/wheels/.$name.$$"
	mv -T "$THAW_CACHE/wheels/.$name.$$" "$THAW_CACHE/wheels/$name"
done
third_party/fetch.sh --set "$set"

mkdir -p /opt/libtorch "$groups"
# A copy, as the cache is no part of the image; links in it would point to nothing.
if [[ $set == cpu ]]; then
	libraries=(libtorch_cpu.so libc10.so libgomp.so.1 libcudart.so.13 libcupti.so.13 libturbojpeg.so.0)
	mkdir -p "$lib"
	cp -aL third_party/libtorch/{include,licenses} /opt/libtorch
	cp -aL "${libraries[@]/#/third_party/libtorch/lib/}" "$lib"
else
	cp -aL third_party/libtorch/. /opt/libtorch
fi
rm third_party/libtorch
mkdir third_party/libtorch # where the build stage mounts it
mkdir -p /opt/libtorch/licenses/libjpeg_turbo
cp /usr/share/doc/libjpeg62-turbo/copyright /opt/libtorch/licenses/libjpeg_turbo
chown -R 0:0 /opt/libtorch
chmod -R u=rwX,go=rX /opt/libtorch

if [[ $set == cpu ]]; then
	mkdir "$groups/libtorch"
	ln "$lib"/* "$groups/libtorch"
	exit
fi

with() { [[ " ${WITH:-} " == *" $1 "* ]]; }

# empty NAME PREFIX: puts a library without symbols in the place of one that libtorch names and takes no symbol from. A
# libtorch that does take one fails the build here.
empty() {
	local used
	used=$(for file in "$lib"/*.so*; do
		[[ $file == "$lib/$1" ]] || nm -D --undefined-only "$file"
	done | awk -v prefix="$2" 'index($2, prefix) == 1 { print $2; exit }')
	[[ -z $used ]] || die "$used is used now, so that $1 cannot be left out: see the function empty in docker/stages/native.sh"
	rm "$lib/$1"
	g++ -shared -nostdlib -s "-Wl,-soname,$1,--build-id=none" -o "$lib/$1" -x c /dev/null
}

cd "$lib"
with curand || empty libcurand.so.10 curand
with cufile || { empty libcufile.so.0 cuFile && rm -f libcufile_rdma.so*; }
with nvshmem || rm -f nvshmem_bootstrap_* nvshmem_transport_*
with linalg || rm -f libtorch_cuda_linalg.so libcusolver.so*

mkdir "$groups"/{cublas,cuda,cudnn,libtorch}
for file in *; do
	case $file in
	libtorch* | libc10* | libcaffe2* | libgomp* | libturbojpeg*) group=libtorch ;;
	libcublas*) group=cublas ;;
	libcudnn* | libnccl*) group=cudnn ;;
	*) group=cuda ;;
	esac
	ln "$file" "$groups/$group/"
done
