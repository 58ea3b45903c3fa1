//go:build cuda

// What needs CUDA, see capi.cpp.
#include "cuda_device.hh"
#include "cuda_graph.hh"
#include "cuda_memory.hh"
#include "cuda_nccl.hh"
#include "cuda_stream.hh"
