package main

import "regexp"

// The groups of a profile, from Go down to libtorch.
const (
	loopGroup     = "the benchmark's loop"
	torchGroup    = "Go: package torch"
	capiGroup     = "Go: package capi"
	runtimeGroup  = "Go: runtime (memory, finalizers, locks)"
	crossingGroup = "cgo crossing"
	boxingGroup   = "thaw_call, boxing"
	dispatchGroup = "libtorch: dispatch"
	autogradGroup = "libtorch: autograd"
	tensorGroup   = "libtorch: tensors made and freed"
	kernelGroup   = "libtorch: kernel, TensorIterator"
	libtorchGroup = "libtorch: other"
	mallocGroup   = "malloc, free"
	libraryGroup  = "C and C++ library, other"
)

var groups = []string{loopGroup, torchGroup, capiGroup, runtimeGroup, crossingGroup, boxingGroup, dispatchGroup,
	autogradGroup, tensorGroup, kernelGroup, libtorchGroup, mallocGroup, libraryGroup}

// groupRule puts functions into a group, by the file they are in and their name.
type groupRule struct {
	group      string
	file, name *regexp.Regexp
}

func rule(group, file, name string) groupRule {
	return groupRule{group, regexp.MustCompile(file), regexp.MustCompile(name)}
}

const (
	own      = `^bench$` // Go's functions, and the C++ of torch/internal/capi with what is inlined there
	libtorch = `^lib(torch|c10)`
)

// groupRules are asked in order; the first that fits takes the function.
var groupRules = []groupRule{
	rule(mallocGroup, `.`, `^(__libc_)?(malloc|free|cfree|calloc|realloc|posix_memalign|aligned_alloc|memalign)\b`+
		`|^_int_|^_mid_memalign|^malloc_|^sysmalloc|^unlink_chunk|^tcache|^operator (new|delete)|alloc_cpu|free_cpu`+
		`|CountingAllocator|free_block|SmallBlocks`),
	rule(loopGroup, own, `^main\.`),
	rule(crossingGroup, own, `^runtime\.(cgocall|asmcgocall|entersyscall|exitsyscall|reentersyscall|casgstatus|save\b|cgo|`+
		`gosave_systemstack_switch|wirep|mcall)|_cgo_|_Cfunc_|^x?crosscall`),
	rule(capiGroup, own, `^github\.com/thaw-ml/thaw/torch/internal/capi\.`),
	rule(torchGroup, own, `^github\.com/thaw-ml/thaw/torch\.`),
	rule(runtimeGroup, own, `^(runtime|sync|internal)[./]|^(gcWriteBarrier|memeqbody|aeshashbody|gogo)`),
	rule(boxingGroup, own, `.`),
	rule(autogradGroup, libtorch, `torch::autograd|VariableType|Autograd`),
	rule(kernelGroup, libtorch, `DispatchStub|^at::native|TensorIterator`),
	rule(tensorGroup, libtorch, `TensorImpl|StorageImpl|intrusive_ptr|release_resources|empty|TensorBase|SizesAndStrides|DataPtr`),
	rule(dispatchGroup, libtorch, `Dispatch|KernelFunction|BoxedKernel|kernel_functor|make_boxed|at::_ops::|IValue|torch::jit|c10::impl::|c10::Scalar`),
	rule(kernelGroup, libtorch, `mkl|gemm|dnnl|at::`),
	rule(libtorchGroup, libtorch, `.`),
	rule(libraryGroup, `.`, `.`),
}

func groupOf(s symbol) string {
	for _, r := range groupRules {
		if r.file.MatchString(s.file) && r.name.MatchString(s.name) {
			return r.group
		}
	}
	return libraryGroup
}
