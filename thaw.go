// Package thaw is the root of the module: its version, and the settings of a process that trains.
//
// Package finetune fine-tunes from Go, with the models of packages text and vision; package recipe does so from a YAML
// file, as the program cmd/thaw does.
package thaw

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/thaw-ml/thaw/internal/cgroup"
	"github.com/thaw-ml/thaw/internal/version"
	"github.com/thaw-ml/thaw/torch"
)

// Version is Thaw's version.
const Version = version.Version

// Tune sets up the process for training on the CPU as the program thaw does, which is up to twice as fast there
// (docs/decisions/006). It is to be the first call of main:
//
//	func main() {
//		thaw.Tune()
//		...
//	}
//
// It sets three things, for the whole process and for good:
//
//   - The C library's malloc keeps the memory that tensors free, see [torch.KeepFreedMemory], unless the environment sets
//     malloc otherwise (GLIBC_TUNABLES, MALLOC_ARENA_MAX and the like). Where a container, or another control group, lets
//     the process use less than 4 GB, it gives back what is freed instead, and below 2 GB oneDNN keeps few of the kernels
//     that it compiles, unless ONEDNN_PRIMITIVE_CACHE_CAPACITY says otherwise: slower, and in a fraction of the memory.
//   - The calling goroutine keeps to its thread ([runtime.LockOSThread]) where that is the process's main thread, as it is at
//     the start of main: that thread's heap is the one that keeps what is freed, and cuDNN keeps its choices of kernels by
//     thread. So train on the goroutine that called Tune. A program whose main is to be on the main thread for certain calls
//     runtime.LockOSThread in an init function too.
//   - GOMAXPROCS, unless the environment sets it, is one more than it was: a thread that is in C for long, as one that decodes
//     an image, hands its place to another, at a cost, unless a place is free.
//
// A second call changes nothing. A server that predicts needs none of this.
func Tune() {
	if tuned {
		return
	}
	tuned = true
	if unix.Gettid() == unix.Getpid() {
		runtime.LockOSThread()
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
	keepMemory(cgroup.Read().Memory)
}

// keepMemory chooses what becomes of freed memory under a limit in bytes; 0 is none.
func keepMemory(limit int64) {
	if limit == 0 || limit >= 4<<30 {
		torch.KeepFreedMemory()
		return
	}
	torch.GiveBackFreedMemory()
	// oneDNN keeps 1024 kernels, up to 600 MB of them where the lengths of texts vary. It reads this when it first
	// computes.
	const kernels = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
	if limit < 2<<30 && os.Getenv(kernels) == "" {
		_ = os.Setenv(kernels, "16") // fails for names that are none only
	}
}

var tuned bool
