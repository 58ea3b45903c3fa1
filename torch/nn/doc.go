// Package nn holds modules: plain structs whose fields are parameters, buffers and other modules.
//
// # Modules
//
// A module is a struct with tags and a Forward method of whatever form suits it:
//
//	type Net struct {
//		Hidden  *nn.Linear  `torch:"hidden"`
//		Dropout *nn.Dropout `torch:""`
//		Out     *nn.Linear  `torch:"out"`
//	}
//
//	func (n *Net) Forward(x torch.Tensor) torch.Tensor {
//		return n.Out.Forward(n.Dropout.Forward(n.Hidden.Forward(x).ReLU()))
//	}
//
// A field's tag gives its key in a checkpoint: `torch:"weight"` for a parameter, `torch:"running_mean,buffer"` for a buffer,
// `torch:"layer"` for a module or a slice of modules (keys layer.0, layer.1, ...). A tag "" puts a module's keys into its
// parent's. Undefined tensors and nil modules are passed over. An interface is as what it holds.
//
// An exported field that holds parameters, buffers or modules must have a tag, torch:"-" where it is not part of the module:
// a missing or wrong one panics with a *torch.Error that names the type and the field ([Load] returns it as an error).
// Unexported fields are passed over.
//
// # What is done with all of a module
//
// [Params], [Buffers], [State] and [Modules] list what is in a module, by key in field order. [RequireGrad] says what is
// trained, [SetTraining] switches dropout and batch norm, [MoveTo] takes a module to a device, and [Close] frees it:
// parameters live outside every scope.
//
// # Checkpoints
//
// [Load] copies a checkpoint, safetensors or .pth, into a module and reports keys that are missing, unexpected or of another
// shape; unless [LoadOptions] allow it, any of these is an error and nothing is copied. torch.SaveCheckpoint(path,
// nn.State(m), nil) writes one.
//
// # Layers
//
// A layer comes in two forms: New... draws its parameters as PyTorch does, number for number from a seed, and Empty... leaves
// them to be loaded. [Linear] and [Conv2d] take an [Adapter], which changes what they put out and trains while they are frozen.
package nn
