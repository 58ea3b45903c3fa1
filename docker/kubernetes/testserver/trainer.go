package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	trainerapi "github.com/kubeflow/trainer/v2/pkg/apis/trainer/v1alpha1"
	"github.com/kubeflow/trainer/v2/pkg/runtime/core"
	trainertesting "github.com/kubeflow/trainer/v2/pkg/util/testing"
	"github.com/kubeflow/trainer/v2/pkg/webhooks"
	"sigs.k8s.io/yaml"
)

// trainer checks the TrainJob and the TrainingRuntime on the standard input as Trainer's webhooks do, and prints the
// objects that Trainer's controller makes of them.
func trainer() {
	if err := render(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "testserver trainer: %v\n", err)
		os.Exit(1)
	}
}

func render(ctx context.Context, in io.Reader, out io.Writer) error {
	job, runtime, err := read(in)
	if err != nil {
		return err
	}
	if _, err := (&webhooks.TrainingRuntimeValidator{}).ValidateCreate(ctx, runtime); err != nil {
		return err
	}
	builder := trainertesting.NewClientBuilder().WithObjects(runtime) // a client of a cluster that has the runtime
	client := builder.Build()
	controller, err := core.NewTrainingRuntime(ctx, client, trainertesting.AsIndex(builder), nil)
	if err != nil {
		return err
	}
	if _, faults := controller.ValidateObjects(ctx, nil, job); len(faults) > 0 {
		return faults.ToAggregate()
	}
	configurations, err := controller.NewObjects(ctx, job)
	if err != nil {
		return err
	}
	objects, err := trainertesting.ToObject(client.Scheme(), configurations...)
	if err != nil {
		return err
	}
	for _, object := range objects {
		document, err := yaml.Marshal(object)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(out, "---\n%s", document); err != nil {
			return err
		}
	}
	return nil
}

// read finds a TrainJob and a TrainingRuntime among YAML documents.
func read(in io.Reader) (job *trainerapi.TrainJob, runtime *trainerapi.TrainingRuntime, err error) {
	documents, err := io.ReadAll(in)
	if err != nil {
		return nil, nil, err
	}
	for document := range bytes.SplitSeq(documents, []byte("\n---\n")) {
		var meta struct{ Kind string }
		if err := yaml.Unmarshal(document, &meta); err != nil {
			return nil, nil, err
		}
		switch meta.Kind {
		case trainerapi.TrainJobKind:
			job = &trainerapi.TrainJob{}
			err = yaml.UnmarshalStrict(document, job)
			job.Namespace, job.UID = "default", "1"
		case trainerapi.TrainingRuntimeKind:
			runtime = &trainerapi.TrainingRuntime{}
			err = yaml.UnmarshalStrict(document, runtime)
			runtime.Namespace = "default"
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", meta.Kind, err)
		}
	}
	if job == nil || runtime == nil {
		return nil, nil, errors.New("there is no TrainJob or no TrainingRuntime among the documents")
	}
	return job, runtime, nil
}
