package capi

/*
#include "capi.h"
*/
import "C"

// Generator is a source of random numbers that its holder owns.
type Generator uintptr

// NewGenerator makes a CPU generator.
func NewGenerator(seed uint64) (Generator, *Error) {
	var g C.thaw_generator
	err := failure(C.thaw_generator_new(C.uint64_t(seed), &g))
	return Generator(g), err
}

// DefaultGenerator is the CPU generator that operators use when they are given none.
func DefaultGenerator() (Generator, *Error) {
	var g C.thaw_generator
	err := failure(C.thaw_generator_default(&g))
	return Generator(g), err
}

// Seed starts the generator anew.
func (g Generator) Seed(seed uint64) *Error {
	return failure(C.thaw_generator_seed(C.thaw_generator(g), C.uint64_t(seed)))
}

// State is a tensor of bytes.
func (g Generator) State() (Handle, int32, *Error) {
	var t C.thaw_tensor
	var scope C.int32_t
	err := failure(C.thaw_generator_state(C.thaw_generator(g), &t, &scope))
	return Handle(t), int32(scope), err
}

// SetState goes back to a state that State gave.
func (g Generator) SetState(state Handle) *Error {
	return failure(C.thaw_generator_set_state(C.thaw_generator(g), C.thaw_tensor(state)))
}

// Free gives the generator up.
func (g Generator) Free() { C.thaw_generator_free(C.thaw_generator(g)) }

// Version is libtorch's version.
func Version() string { return C.GoString(C.thaw_version()) }

// Config is libtorch's own account of how it was built.
func Config() (string, *Error) {
	var s *C.char
	err := failure(C.thaw_show_config(&s))
	return takeString(s), err
}

// CPUCapability is the instruction set that libtorch's kernels chose.
func CPUCapability() string { return C.GoString(C.thaw_cpu_capability()) }

// CPUMultipliesBFloat16 reports whether the processor has instructions for that: AMX or AVX512-BF16.
func CPUMultipliesBFloat16() bool { return C.thaw_cpu_bfloat16() != 0 }

// HasCUDA reports whether libtorch's CUDA kernels are loaded and a device answers.
func HasCUDA() bool { return C.thaw_has_cuda() != 0 }

// NumThreads is the number of threads that one operator may use.
func NumThreads() int { return int(C.thaw_num_threads()) }

// SetNumThreads sets it.
func SetNumThreads(n int) *Error { return failure(C.thaw_set_num_threads(C.int32_t(n))) }

// SetSpinning says whether threads that wait for one another within an operator spin.
func SetSpinning(on bool) *Error { return failure(C.thaw_set_spinning(flag(on))) }

// SetDeterministic makes libtorch choose deterministic kernels, and fail where it has none.
func SetDeterministic(on bool) { C.thaw_set_deterministic(flag(on)) }

// Memory counts what libtorch's CPU allocator did.
type Memory struct{ LiveBytes, PeakBytes int64 }

// MemoryStats reads the counters.
func MemoryStats() Memory {
	var m C.thaw_memory
	C.thaw_memory_stats(&m)
	return Memory{int64(m.live_bytes), int64(m.peak_bytes)}
}

// KeepFreedMemory makes malloc keep all that is freed.
func KeepFreedMemory() { C.thaw_memory_keep_freed() }

// GiveBackFreedMemory makes malloc give back what is freed, and what lies free.
func GiveBackFreedMemory() { C.thaw_memory_give_back() }

// ResetPeak starts the peak anew from what is live now.
func ResetPeak() { C.thaw_memory_reset_peak() }
