// Package train is the loop that package finetune trains with: one step of forward, loss, backward, clipping and
// optimizer, run operator by operator or as a CUDA graph; the loop over batches; evaluation; devices; and the events
// that a run reports.
//
// A program that fine-tunes calls finetune.Fit. It meets this package in two places: the events that OnEvent
// receives, such as [StepDone] and [TaskDone], and [Objective], which an own loss and metric implement.
package train
