// Package pixels holds kernels for pictures of 8 bits a sample that use the CPU's vector instructions: the two passes of a
// resize and the normalisation of a batch. Packages vision and vision/transform call them; they say what is computed.
package pixels
