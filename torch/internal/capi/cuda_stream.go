//go:build cuda

package capi

/*
#include "capi_cuda.h"
*/
import "C"

func (s CUDAStream) native() C.thaw_cuda_stream {
	return C.thaw_cuda_stream{id: C.int64_t(s.ID), device: C.int64_t(s.Device)}
}

// NewCUDAStream takes a stream from the device's pool.
func NewCUDAStream(device int, highPriority bool) (CUDAStream, *Error) {
	var s C.thaw_cuda_stream
	err := failure(C.thaw_cuda_stream_new(C.int32_t(device), flag(highPriority), &s))
	return CUDAStream{int64(s.id), int64(s.device)}, err
}

// CurrentCUDAStream is the calling thread's current stream on a device.
func CurrentCUDAStream(device int) (CUDAStream, *Error) {
	var s C.thaw_cuda_stream
	err := failure(C.thaw_cuda_stream_current(C.int32_t(device), &s))
	return CUDAStream{int64(s.id), int64(s.device)}, err
}

// Enter makes the stream and its device current on the calling thread until the returned function runs on it.
func (s CUDAStream) Enter() (exit func() *Error, err *Error) {
	var device C.int32_t
	var before C.thaw_cuda_stream
	if err := failure(C.thaw_cuda_stream_enter(s.native(), &device, &before)); err != nil {
		return nil, err
	}
	return func() *Error { return failure(C.thaw_cuda_stream_exit(device, before)) }, nil
}

// Synchronize waits for all that the stream was given.
func (s CUDAStream) Synchronize() *Error { return failure(C.thaw_cuda_stream_synchronize(s.native())) }

// Query reports whether all that the stream was given is done.
func (s CUDAStream) Query() (bool, *Error) {
	var done C.int32_t
	err := failure(C.thaw_cuda_stream_query(s.native(), &done))
	return done != 0, err
}

// NewCUDAEvent makes an event on a device.
func NewCUDAEvent(device int, timing bool) (CUDAEvent, *Error) {
	var e C.thaw_cuda_event
	err := failure(C.thaw_cuda_event_new(C.int32_t(device), flag(timing), &e))
	return CUDAEvent(e), err
}

// Record puts the event behind what the stream was given so far.
func (e CUDAEvent) Record(s CUDAStream) *Error {
	return failure(C.thaw_cuda_event_record(C.thaw_cuda_event(e), s.native()))
}

// Block makes what the stream is given from now on wait for the event.
func (e CUDAEvent) Block(s CUDAStream) *Error {
	return failure(C.thaw_cuda_event_block(C.thaw_cuda_event(e), s.native()))
}

// Synchronize waits for the event.
func (e CUDAEvent) Synchronize() *Error {
	return failure(C.thaw_cuda_event_synchronize(C.thaw_cuda_event(e)))
}

// Query reports whether the event has happened.
func (e CUDAEvent) Query() (bool, *Error) {
	var done C.int32_t
	err := failure(C.thaw_cuda_event_query(C.thaw_cuda_event(e), &done))
	return done != 0, err
}

// Elapsed waits for e and gives the milliseconds since start.
func (e CUDAEvent) Elapsed(start CUDAEvent) (float32, *Error) {
	var ms C.float
	err := failure(C.thaw_cuda_event_elapsed(C.thaw_cuda_event(start), C.thaw_cuda_event(e), &ms))
	return float32(ms), err
}

// Free gives the event up.
func (e CUDAEvent) Free() { C.thaw_cuda_event_free(C.thaw_cuda_event(e)) }
