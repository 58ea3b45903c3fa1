package torch

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// DeviceType is a kind of device.
type DeviceType int8

// The device types, as c10::DeviceType numbers them.
const (
	CPUType  DeviceType = 0
	CUDAType DeviceType = 1
)

// Device is where tensors lie. The zero Device is the CPU.
type Device struct {
	Type  DeviceType
	Index int // of a CUDA device; -1 for the current one
}

// CPU is the CPU.
var CPU = Device{}

// CUDA is a CUDA device; -1 is the calling thread's current one.
func CUDA(index int) Device { return Device{CUDAType, index} }

func deviceOf(kind, index int64) Device {
	if DeviceType(kind) == CPUType {
		return CPU
	}
	return Device{DeviceType(kind), int(index)}
}

// String is PyTorch's form: "cpu", "cuda:0".
func (d Device) String() string {
	switch {
	case d.Type == CPUType:
		return "cpu"
	case d.Type == CUDAType && d.Index >= 0:
		return "cuda:" + strconv.Itoa(d.Index)
	case d.Type == CUDAType:
		return "cuda"
	}
	return fmt.Sprintf("device(%d:%d)", d.Type, d.Index)
}

// ParseDevice reads "cpu", "cuda" or "cuda:N".
func ParseDevice(s string) (Device, error) {
	switch kind, index, found := strings.Cut(s, ":"); {
	case s == "cpu":
		return CPU, nil
	case s == "cuda":
		return CUDA(0), nil
	case kind == "cuda" && found:
		if n, err := strconv.Atoi(index); err == nil && n >= 0 && n < 128 {
			return CUDA(n), nil
		}
	}
	return Device{}, fmt.Errorf("no device is named %q: write cpu, cuda or cuda:N", s)
}

// CUDAAvailable reports whether CUDA kernels are linked and a device answers.
func CUDAAvailable() bool { return capi.HasCUDA() }

// Check says why tensors cannot lie on d, with the fix: that the program has no CUDA, that no driver answers, that
// there is no device of this number, or that libtorch has no kernels for it. It gives nil where they can.
func (d Device) Check() error {
	if d.Type == CPUType {
		return nil
	}
	err := d.check()
	if err == nil {
		return nil
	}
	return failed(d.String(), err)
}

func (d Device) check() *capi.Error {
	if d.Type != CUDAType {
		return &capi.Error{Kind: capi.KindUnimplemented, Msg: "Thaw runs on cpu and cuda only"}
	}
	if err := capi.StartCUDA(); err != nil {
		return err
	}
	p, err := capi.CUDADeviceProperties(d.Index)
	if err != nil {
		return err
	}
	if 10*p.Major+p.Minor < oldestGPU {
		return &capi.Error{Kind: capi.KindUnimplemented, Msg: sprintf(
			"%s has compute capability %d.%d: libtorch %s for CUDA 13 has kernels for %d.%d and later (GeForce RTX 20, T4)",
			p.Name, p.Major, p.Minor, Version(), oldestGPU/10, oldestGPU%10)}
	}
	return nil
}

// oldestGPU is the least compute capability, times ten, that libtorch's wheel for CUDA 13 has kernels for: the first of
// NVCC_FLAGS_EXTRA in its ATen/cuda/CUDAConfig.h.
const oldestGPU = 75

// MultipliesBFloat16 reports whether the device multiplies bfloat16 itself: GPUs from compute capability 8.0 on do, in their
// tensor cores, and CPUs with AMX or AVX512-BF16. Others convert to float32 and back, which takes longer than float32.
func (d Device) MultipliesBFloat16() bool {
	if d.Type != CUDAType {
		return capi.CPUMultipliesBFloat16()
	}
	p, err := capi.CUDADeviceProperties(d.Index)
	return err == nil && p.Major >= 8
}

// Generator is the generator that operators on d draw from when they are given none: the CPU's is [DefaultGenerator];
// a CUDA device's is Philox, with PyTorch's numbers for PyTorch's seeds.
func (d Device) Generator() (*Generator, error) {
	if d.Type == CPUType {
		return DefaultGenerator(), nil
	}
	if err := d.Check(); err != nil {
		return nil, err
	}
	g, err := capi.CUDAGenerator(d.Index)
	if err != nil {
		return nil, failed(d.String()+" generator", err)
	}
	return ownGenerator(g), nil
}

// MemoryFormat is the order in which elements lie, as c10::MemoryFormat numbers it.
type MemoryFormat int8

// The memory formats.
const (
	Contiguous     MemoryFormat = 0
	Preserve       MemoryFormat = 1
	ChannelsLast   MemoryFormat = 2
	ChannelsLast3d MemoryFormat = 3
)

// Reduction says what a loss does with the losses of the samples, as at::Reduction numbers it.
type Reduction int8

// The reductions.
const (
	ReduceNone Reduction = 0
	ReduceMean Reduction = 1
	ReduceSum  Reduction = 2
)
