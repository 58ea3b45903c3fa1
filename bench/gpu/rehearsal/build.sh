#!/usr/bin/env bash
# build.sh FOLDER LIBTORCH [LIBRARY...]: the pretend GPU (device.h), for programs that run with the libtorch in LIBTORCH/lib.
# FOLDER gets a library in place of each of CUDA's that libtorch_cuda asks for, and LIBRARY: PyTorch's Python needs its
# libtorch_python.so there.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$1 libtorch=$2
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What libtorch takes from elsewhere.
nm -D --undefined-only "$libtorch"/lib/lib{torch_cuda,torch_cuda_linalg,c10_cuda,caffe2_nvrtc,torch_nvshmem}.so "${@:3}" |
	sed -nE 's/^ +[UwW] ([A-Za-z_0-9]+)(@.*)?$/\1/p' | sort -u >"$work/asked"

cxx=("${CXX:-g++}" -std=c++20 -O1 -fPIC -Wall -shared -fvisibility=hidden -I"$here" -I"$libtorch/include/cuda")

declare -A version=([libnvshmem_host.so.3]=NVSHMEM) # where it is not the name

# library NAME PATTERN SOURCES...: what is asked of it and not in the sources ends the process when it is called.
library() {
	local name=$1 pattern=$2
	shift 2
	"${cxx[@]}" -o "$work/played.so" -Wl,--unresolved-symbols=ignore-all "$@" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
	nm -D --defined-only "$work/played.so" | awk '{ print $3 }' | sort -u >"$work/played"
	{
		printf 'namespace rehearsal { [[noreturn]] __attribute__((visibility("default"))) void missing(const char *call); }\n'
		{ grep -E "^($pattern)" "$work/asked" || true; } | comm -23 - "$work/played" |
			sed 's/.*/extern "C" __attribute__((visibility("default"))) void &(void) { rehearsal::missing("&"); }/'
	} >"$work/missing.cpp"
	printf '%s { global: *; };\n' "${version[$name]:-$name}" >"$work/versions"
	"${cxx[@]}" -o "$out/$name" -Wl,-soname,"$name" -Wl,--version-script="$work/versions" "$work/missing.cpp" "$@"
}

library libcudart.so.13 'cuda[A-Z]|__cuda' "$here"/{record,memory,stream,capture,kernel,device}.cpp
core=$out/libcudart.so.13
library libcublas.so.13 'cublas[A-KM-Z]' "$here/cublas.cpp" "$core"
library libcublasLt.so.13 'cublasLt' "$here/cublas_lt.cpp" "$core"
library libcudnn.so.9 'cudnn' "$here/cudnn.cpp" "$core"
library libnccl.so.2 'nccl' "$here/nccl.cpp" "$core"
library libcuda.so.1 'cu[A-EG-Z]' "$here/driver.cpp" "$core"
for other in libcusparse.so.12=cusparse[A-KM-Z] libcusparseLt.so.0=cusparseLt libcufft.so.12=cufft libcufile.so.0=cuFile \
	libcurand.so.10=curand libcusolver.so.12=cusolver libnvrtc.so.13=nvrtc libnvshmem_host.so.3=nvshmem; do
	library "${other%%=*}" "${other#*=}" "$core"
done

# What computes: REHEARSAL_COMPUTE names it.
"${cxx[@]}" -I"$libtorch/include" -I"$libtorch/include/torch/csrc/api/include" -o "$out/compute.so" "$here/compute.cpp" "$core" \
	-L"$libtorch/lib" -ltorch_cpu -lc10 -lc10_cuda
