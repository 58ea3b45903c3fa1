//go:build cuda

package capi

/*
#include "capi_cuda.h"
*/
import "C"

// NewCUDAGraph makes a graph with memory of its own, or, unless poolOf is 0, with that of another.
func NewCUDAGraph(device int, poolOf CUDAGraph) (CUDAGraph, *Error) {
	var g C.thaw_cuda_graph
	err := failure(C.thaw_cuda_graph_new(C.int32_t(device), C.thaw_cuda_graph(poolOf), &g))
	return CUDAGraph(g), err
}

// Begin starts to capture what the calling thread's current stream is given.
func (g CUDAGraph) Begin() *Error { return failure(C.thaw_cuda_graph_begin(C.thaw_cuda_graph(g))) }

// End ends the capture, on the same thread and stream. Where it fails, nothing is left half-captured.
func (g CUDAGraph) End() *Error { return failure(C.thaw_cuda_graph_end(C.thaw_cuda_graph(g))) }

// Abandon ends a capture whose outcome is of no use, on the same thread.
func (g CUDAGraph) Abandon() { C.thaw_cuda_graph_abandon(C.thaw_cuda_graph(g)) }

// Replay launches the graph on the calling thread's current stream.
func (g CUDAGraph) Replay() *Error { return failure(C.thaw_cuda_graph_replay(C.thaw_cuda_graph(g))) }

// Enter makes what the calling thread's current stream is given lie in the graph's memory, until Leave.
func (g CUDAGraph) Enter() *Error { return failure(C.thaw_cuda_graph_enter(C.thaw_cuda_graph(g))) }

// Leave ends Enter.
func (g CUDAGraph) Leave() *Error { return failure(C.thaw_cuda_graph_leave(C.thaw_cuda_graph(g))) }

// Free gives the graph and its memory up.
func (g CUDAGraph) Free() { C.thaw_cuda_graph_free(C.thaw_cuda_graph(g)) }
