// Package dist joins processes that train together: libtorch's own c10d, with Gloo between CPUs. A [Group] adds up, broadcasts
// and gathers tensors and bytes; a [Reducer] adds up gradients in buckets while the backward pass goes on. Package launch tells
// a process which of them it is.
//
// Every call of a group is to be made by all ranks, in the same order. Every wait has an end: an error says which rank it is
// on, what was being done, and which rank did not answer. After an error a group is of no use: a process that goes on
// alone would train something else, so it is to end.
//
// A nil *Group is a process alone: it has rank 0 of 1, and nothing waits.
package dist
