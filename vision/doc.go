// Package vision classifies pictures with ResNets: it loads those of torchvision, timm and transformers, gives them a
// new head, makes batches of pictures, and predicts.
//
// A [Classifier] is a [ResNet] with what is needed to show it pictures: its [Input] (size, cut, mean and standard
// deviation) and the names of its classes. There are three ways to one:
//
//   - [LoadClassifier] takes the weights of a checkpoint and a new head for the classes that are given, for fine-tuning.
//     What lies beside the weights, such as timm's config.json, says what pictures are to look like.
//   - [OpenPretrained] keeps the head that the weights have.
//   - [OpenClassifier] opens the folder that a run of Thaw has left.
//
// [Classifier.NewDataset] makes batches of items, [Image]s in files or in memory with what they should give, and
// [NewDataset] of an album of pictures (see the package album): decoded by the package picture, cut and augmented by
// the package transform, in goroutines, and in an order and with random numbers that follow from the seed. A [Batch]
// holds bytes, [N, Side, Side, 3]; the network's first stage makes [N, 3, Side, Side] float32 of them.
//
// [Classifier.Predict] takes images in files and in memory:
//
//	images := []vision.Image{vision.File(path), vision.Encoded("upload", body), vision.Pixels("frame", img)}
//	predictions, err := model.Predict(ctx, images, finetune.PredictOptions{})
//
// It may be called from many goroutines, which take turns. All else of a Classifier belongs to one goroutine at a time.
// Parameters are native memory: Close a Classifier, or a ResNet by itself, when it is no longer wanted.
package vision
