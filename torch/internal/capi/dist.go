package capi

/*
#include <stdlib.h>
#include "capi.h"
*/
import "C"

import (
	"time"
	"unsafe"
)

// What c10d is made of, see capi.h. The zero value of each is none.
type (
	Store   uintptr
	Group   uintptr
	Work    uintptr
	Reducer uintptr
)

// The ways to reduce.
const (
	ReduceSum = C.THAW_REDUCE_SUM
	ReduceMax = C.THAW_REDUCE_MAX
	ReduceMin = C.THAW_REDUCE_MIN
)

func milliseconds(d time.Duration) C.int64_t { return C.int64_t(max(1, d.Milliseconds())) }

// NewStore connects to a store, or serves one; port is the one that it listens on.
func NewStore(host string, port int, serves bool, timeout time.Duration) (s Store, bound int, err *Error) {
	name := C.CString(host)
	defer C.free(unsafe.Pointer(name))
	var out C.thaw_store
	var at C.int32_t
	err = failure(C.thaw_store_new(name, C.int32_t(port), flag(serves), milliseconds(timeout), &out, &at))
	return Store(out), int(at), err
}

// Prefixed is the same store with a prefix before every key.
func (s Store) Prefixed(prefix string) (Store, *Error) {
	p := C.CString(prefix)
	defer C.free(unsafe.Pointer(p))
	var out C.thaw_store
	err := failure(C.thaw_store_prefixed(C.thaw_store(s), p, &out))
	return Store(out), err
}

// Free lets go of the store.
func (s Store) Free() { C.thaw_store_free(C.thaw_store(s)) }

// Set gives a key a value.
func (s Store) Set(key, value string) *Error {
	k, v := C.CString(key), C.CString(value)
	defer C.free(unsafe.Pointer(k))
	defer C.free(unsafe.Pointer(v))
	return failure(C.thaw_store_set(C.thaw_store(s), k, unsafe.Pointer(v), C.int64_t(len(value))))
}

// Get waits for a key's value.
func (s Store) Get(key string, timeout time.Duration) (string, *Error) {
	k := C.CString(key)
	defer C.free(unsafe.Pointer(k))
	var value *C.char
	var n C.int64_t
	if err := failure(C.thaw_store_get(C.thaw_store(s), k, milliseconds(timeout), &value, &n)); err != nil {
		return "", err
	}
	defer C.free(unsafe.Pointer(value))
	return C.GoStringN(value, C.int(n)), nil
}

// Add adds to a key's number and gives the sum.
func (s Store) Add(key string, delta int64) (int64, *Error) {
	k := C.CString(key)
	defer C.free(unsafe.Pointer(k))
	var sum C.int64_t
	err := failure(C.thaw_store_add(C.thaw_store(s), k, C.int64_t(delta), &sum))
	return int64(sum), err
}

// NewGroup joins a group of Gloo; address is the host by which the others reach this process.
func NewGroup(s Store, rank, size int, address string, timeout time.Duration) (Group, *Error) {
	a := C.CString(address)
	defer C.free(unsafe.Pointer(a))
	var out C.thaw_group
	err := failure(C.thaw_group_new(C.thaw_store(s), C.int32_t(rank), C.int32_t(size), a, milliseconds(timeout), &out))
	return Group(out), err
}

// Free leaves the group.
func (g Group) Free() { C.thaw_group_free(C.thaw_group(g)) }

// AllReduce begins to put the sum (or what op says) of all ranks' t into t.
func (g Group) AllReduce(t Handle, op int, timeout time.Duration) (w Work, err *Error) {
	var out C.thaw_work
	err = failure(C.thaw_group_allreduce(C.thaw_group(g), C.thaw_tensor(t), C.int32_t(op), milliseconds(timeout), &out))
	return Work(out), err
}

// Broadcast begins to put root's t into all ranks' t.
func (g Group) Broadcast(t Handle, root int, timeout time.Duration) (w Work, err *Error) {
	var out C.thaw_work
	err = failure(C.thaw_group_broadcast(C.thaw_group(g), C.thaw_tensor(t), C.int32_t(root), milliseconds(timeout), &out))
	return Work(out), err
}

// AllGather begins to put all ranks' t into outs, which are like t.
func (g Group) AllGather(t Handle, outs []Handle, timeout time.Duration) (w Work, err *Error) {
	var out C.thaw_work
	err = failure(C.thaw_group_allgather(C.thaw_group(g), C.thaw_tensor(t), handles(outs), C.int64_t(len(outs)),
		milliseconds(timeout), &out))
	return Work(out), err
}

// Gather begins to put all ranks' t into root's outs; the others have none.
func (g Group) Gather(t Handle, outs []Handle, root int, timeout time.Duration) (w Work, err *Error) {
	var out C.thaw_work
	err = failure(C.thaw_group_gather(C.thaw_group(g), C.thaw_tensor(t), handles(outs), C.int64_t(len(outs)), C.int32_t(root),
		milliseconds(timeout), &out))
	return Work(out), err
}

// Barrier waits for all ranks.
func (g Group) Barrier(timeout time.Duration) *Error {
	return failure(C.thaw_group_barrier(C.thaw_group(g), milliseconds(timeout)))
}

// MonitoredBarrier waits for all ranks and names those that did not come.
func (g Group) MonitoredBarrier(timeout time.Duration) *Error {
	return failure(C.thaw_group_monitored_barrier(C.thaw_group(g), milliseconds(timeout)))
}

// Sum is x summed over the group, recorded by autograd.
func (g Group) Sum(x Handle) (Handle, int32, *Error) {
	var out C.thaw_tensor
	var scope C.int32_t
	err := failure(C.thaw_group_sum(C.thaw_group(g), C.thaw_tensor(x), &out, &scope))
	return Handle(out), int32(scope), err
}

// Wait waits for the work and frees it.
func (w Work) Wait() *Error { return failure(C.thaw_work_wait(C.thaw_work(w))) }

// NewReducer makes a reducer of the gradients of params, in buckets of so many bytes.
func NewReducer(g Group, params []Handle, firstBucket, bucket int64) (Reducer, *Error) {
	var out C.thaw_reducer
	err := failure(C.thaw_reducer_new(C.thaw_group(g), handles(params), C.int64_t(len(params)), C.int64_t(firstBucket),
		C.int64_t(bucket), &out))
	return Reducer(out), err
}

// Arm makes the next backward reduce buckets as their gradients come.
func (r Reducer) Arm() *Error { return failure(C.thaw_reducer_arm(C.thaw_reducer(r))) }

// Sync reduces the gradients that are there.
func (r Reducer) Sync() *Error { return failure(C.thaw_reducer_sync(C.thaw_reducer(r))) }

// Buckets gives the sizes of the buckets in bytes.
func (r Reducer) Buckets() ([]int64, *Error) {
	bytes := make([]int64, 1024)
	var n C.int64_t
	err := failure(C.thaw_reducer_buckets(C.thaw_reducer(r), (*C.int64_t)(&bytes[0]), C.int64_t(len(bytes)), &n))
	return bytes[:n], err
}

// Free frees the reducer and its buckets, in which gradients lie.
func (r Reducer) Free() *Error { return failure(C.thaw_reducer_free(C.thaw_reducer(r))) }
