package torch

import (
	"os"
	"strings"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// KeepFreedMemory makes the C library's malloc keep what tensors free for the tensors that come, in place of giving
// large blocks back to the system, which clears them page by page when the next step asks for them. It is for programs
// that train on the CPU, at their start: what was freed is given back at their end only, or by GiveBackFreedMemory, and
// all threads share one heap. Tensors of a megabyte and more are kept apart from that heap, and take no more memory,
// those that were freed included, than live ones once did at the same time. It does nothing where a variable of the
// environment (GLIBC_TUNABLES, MALLOC_ARENA_MAX and the like) sets malloc otherwise.
//
// Threads that were there before may keep heaps of their own, for which it does nothing. Go starts some before main: so
// what trains should run on the main thread, where an init function of package main holds it by runtime.LockOSThread.
func KeepFreedMemory() {
	if !mallocIsSet() {
		capi.KeepFreedMemory()
	}
}

// GiveBackFreedMemory makes the C library's malloc give blocks of a megabyte and more back to the system as soon as they
// are freed, and gives back what lies free: for a process that may use little memory. It takes KeepFreedMemory back, and
// does nothing, as that, where the environment sets malloc.
func GiveBackFreedMemory() {
	if !mallocIsSet() {
		capi.GiveBackFreedMemory()
	}
}

// mallocIsSet reports whether a variable of the environment sets malloc.
func mallocIsSet() bool {
	if strings.Contains(os.Getenv("GLIBC_TUNABLES"), "glibc.malloc.") {
		return true
	}
	for _, name := range []string{
		"MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_",
	} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}
