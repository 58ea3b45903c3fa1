package finetune

import (
	"runtime"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/internal/version"
	"github.com/thaw-ml/thaw/torch"
)

// Result is what a run came to.
type Result struct {
	Folder    string       `json:"folder,omitempty"`
	TrainData string       `json:"train_data"`          // how many samples, and a hash that tells them from others
	TestData  string       `json:"test_data,omitempty"` // of the test samples; empty without them
	Before    metric.Score `json:"before,omitzero"`     // with the new head, untrained; without test samples it is empty
	Best      metric.Score `json:"best,omitzero"`
	BestEpoch int          `json:"best_epoch"` // counted from 1 over all phases
	Last      metric.Score `json:"last,omitzero"`
	Epochs    []Epoch      `json:"epochs"`
	Stopped   bool         `json:"stopped,omitempty"` // by OnEvent, before all epochs were done
	// StoppedEarly are the phases that EarlyStopping ended, counted from 1.
	StoppedEarly []int   `json:"stopped_early,omitempty"`
	Seconds      Seconds `json:"seconds"`
	Throughput   float64 `json:"samples_per_second"` // of the training steps
	PeakBytes    int64   `json:"peak_memory_bytes"`  // resident, of the whole process
	// PeakDeviceBytes is what the run took of the GPU at most; 0 for runs on the CPU.
	PeakDeviceBytes int64     `json:"peak_device_memory_bytes,omitempty"`
	Precision       string    `json:"precision"` // of the matrix products
	Seed            uint64    `json:"seed"`
	Versions        *Versions `json:"versions"`
}

// Epoch is a pass over the training samples.
type Epoch struct {
	Phase     int          `json:"phase"` // counted from 1
	Number    int          `json:"epoch"` // counted from 1 over all phases
	TrainLoss float64      `json:"train_loss"`
	Seconds   float64      `json:"seconds"`
	Test      metric.Score `json:"test,omitzero"` // without the sums of each class
}

// Seconds is where a run's time went.
type Seconds struct {
	Prefix   float64 `json:"prefix"` // running the frozen stages once
	Train    float64 `json:"train"`
	Evaluate float64 `json:"evaluate"`
	Total    float64 `json:"total"` // with reading and writing the weights
}

// Versions says what a run ran on.
type Versions struct {
	Thaw          string `json:"thaw"`
	Libtorch      string `json:"libtorch"`
	Go            string `json:"go"`
	CPUCapability string `json:"cpu_capability"`
	Threads       int    `json:"threads"`
}

func currentVersions() *Versions {
	return &Versions{version.WithRevision(), torch.Version(), runtime.Version(), torch.CPUCapability(), torch.NumThreads()}
}

// sumUp fills in what is known at the end of a run.
func (r *run[B]) sumUp() {
	res := &r.result
	if res.TrainData = fingerprint(r.train); r.testLen() > 0 {
		res.TestData = fingerprint(r.test)
	}
	res.Precision = r.forward.Precision.String()
	res.Seed, res.Versions, res.PeakBytes = r.options.Seed, currentVersions(), train.PeakResident()
	if r.options.Threads > 0 {
		res.Versions.Threads = r.options.Threads
	}
	if res.Seconds.Train > 0 {
		res.Throughput = float64(r.train.Len()*len(res.Epochs)) / res.Seconds.Train
	}
}
