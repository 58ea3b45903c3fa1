// Package onnx writes models in the ONNX format (Open Neural Network Exchange), which onnxruntime and other runtimes
// run.
//
// A [Graph] is built node by node, or a layer of torch/nn at a time, and saved with the weights in one file. What is
// written is opset [Opset], whose operators every runtime of the last years knows.
package onnx

// Opset is the version of ONNX's operators: 17 is the first with LayerNormalization (ONNX 1.12, June 2022).
const Opset = 17

// irVersion is the version of the file format that came with opset 17.
const irVersion = 8
