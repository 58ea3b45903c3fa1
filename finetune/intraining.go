package finetune

import (
	"errors"
	"reflect"
	"sync"
	"syscall"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// inTraining are the models that Fits train, by the pointers that they are.
var inTraining sync.Map // any -> *trainee

// trainee is a model that a Fit trains.
type trainee struct {
	thread int    // the Fit's
	settle func() // puts the modules back into the mode that the Fit has them in
}

var errInTraining = errors.New("the model is being trained, on another goroutine: predict and evaluate when Fit has returned, or in its OnEvent")

// beginTraining takes note that a model is trained by the calling thread, until end is called.
func beginTraining(model any, settle func()) (end func()) {
	if reflect.ValueOf(model).Kind() != reflect.Pointer {
		return func() {} // Inference cannot tell it from others
	}
	inTraining.Store(model, &trainee{syscall.Gettid(), settle})
	return func() { inTraining.Delete(model) }
}

// besideTraining lets a model that a Fit trains be used by the goroutine of that Fit alone, in OnEvent, and undoes
// with settle what that changes. For any other model settle does nothing.
func besideTraining(model any) (settle func(), err error) {
	if reflect.ValueOf(model).Kind() != reflect.Pointer {
		return func() {}, nil
	}
	found, ok := inTraining.Load(model)
	if !ok {
		return func() {}, nil
	}
	t := found.(*trainee)
	if t.thread != syscall.Gettid() {
		return nil, errInTraining
	}
	return t.settle, nil
}

// checkOpen is an error where a model's parameters were freed: Close frees all of them.
func checkOpen[B any](stages []nn.Stage[B]) error {
	if state := nn.StageState(stages); len(state) > 0 && torch.Try(func() { state[0].Tensor.Shape() }) != nil {
		return errors.New("the model was closed already")
	}
	return nil
}
