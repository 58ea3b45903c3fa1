//go:build !cuda

package capi

import "time"

// CUDABuilt reports whether the program was built with -tags cuda.
const CUDABuilt = false

func noCUDA() *Error { return &Error{Kind: KindOther, Msg: NoCUDA} }

// What follows is in cuda_*.go too, where it does what it says.

func StartCUDA() *Error                                                { return noCUDA() }
func NewNCCLGroup(Store, int, int, int, time.Duration) (Group, *Error) { return 0, noCUDA() }
func (Group) AbortNCCL() *Error                                        { return noCUDA() }
func CUDADevices() (int, *Error)                                       { return 0, noCUDA() }
func CUDADeviceProperties(int) (CUDAProperties, *Error)                { return CUDAProperties{}, noCUDA() }
func FindCUDAVersions() (CUDAVersions, *Error)                         { return CUDAVersions{}, noCUDA() }
func SynchronizeCUDA(int) *Error                                       { return noCUDA() }
func SwapCUDADevice(int) (int, *Error)                                 { return 0, noCUDA() }
func CUDAGenerator(int) (Generator, *Error)                            { return 0, noCUDA() }
func GetCUDASwitches() (CUDASwitches, *Error)                          { return CUDASwitches{}, noCUDA() }
func SetCUDASwitches(CUDASwitches) *Error                              { return noCUDA() }
func CUDAMemoryStats(int) (CUDAMemory, *Error)                         { return CUDAMemory{}, noCUDA() }
func ResetCUDAPeak(int) *Error                                         { return noCUDA() }
func EmptyCUDACache() *Error                                           { return noCUDA() }
func DropCUDAWorkspaces() *Error                                       { return noCUDA() }
func SetCUDAMemoryFraction(int, float64) *Error                        { return noCUDA() }
func ConfigureCUDAAllocator(string) *Error                             { return noCUDA() }
func NewCUDAStream(int, bool) (CUDAStream, *Error)                     { return CUDAStream{}, noCUDA() }
func CurrentCUDAStream(int) (CUDAStream, *Error)                       { return CUDAStream{}, noCUDA() }
func (CUDAStream) Enter() (exit func() *Error, err *Error)             { return nil, noCUDA() }
func (CUDAStream) Synchronize() *Error                                 { return noCUDA() }
func (CUDAStream) Query() (bool, *Error)                               { return false, noCUDA() }
func NewCUDAEvent(int, bool) (CUDAEvent, *Error)                       { return 0, noCUDA() }
func (CUDAEvent) Record(CUDAStream) *Error                             { return noCUDA() }
func (CUDAEvent) Block(CUDAStream) *Error                              { return noCUDA() }
func (CUDAEvent) Synchronize() *Error                                  { return noCUDA() }
func (CUDAEvent) Query() (bool, *Error)                                { return false, noCUDA() }
func (CUDAEvent) Elapsed(CUDAEvent) (float32, *Error)                  { return 0, noCUDA() }
func (CUDAEvent) Free()                                                {}
func NewCUDAGraph(int, CUDAGraph) (CUDAGraph, *Error)                  { return 0, noCUDA() }
func (CUDAGraph) Begin() *Error                                        { return noCUDA() }
func (CUDAGraph) End() *Error                                          { return noCUDA() }
func (CUDAGraph) Abandon()                                             {}
func (CUDAGraph) Replay() *Error                                       { return noCUDA() }
func (CUDAGraph) Enter() *Error                                        { return noCUDA() }
func (CUDAGraph) Leave() *Error                                        { return noCUDA() }
func (CUDAGraph) Free()                                                {}
