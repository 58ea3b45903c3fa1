package report

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
)

// comparable is a finished run with a spec.
func comparable(t *testing.T, name string, accuracy, logLoss float64, spec, test string) *Run {
	keys, err := keysOf(spec)
	require.NoError(t, err)
	best := metric.Score{Loss: logLoss, Rows: 100, Values: []metric.Value{{Name: "accuracy", Value: accuracy}, {Name: "log_loss", Value: logLoss}}}
	return &Run{
		Folder: name, Status: Finished, Keys: keys, Metrics: []string{"accuracy", "log_loss"}, Machine: &Machine{Test: DataSet{100, test}},
		Result: &finetune.Result{Best: best, BestEpoch: 2, Seconds: finetune.Seconds{Total: 61}, Throughput: 150, PeakBytes: 2e9},
	}
}

func TestCompare(t *testing.T) {
	a := comparable(t, "a", 0.8, 0.4, "phases: [{train: head, lr: 0.001}]\nseed: 1\nout: /x\n", "h1")
	b := comparable(t, "runs/b", 0.9, 0.5, "phases: [{train: [top 2, head], lr: 0.001}, {train: all}]\nseed: 1\nout: /y\n", "h1")
	assert.Equal(t, `run              a          runs/b
accuracy         0.8000     0.9000 *
log_loss         0.4000 *   0.5000
loss             0.4000 *   0.5000
best epoch       2          2
time             1 min 1 s  1 min 1 s
samples/s        150        150
memory           2.00 GB    2.00 GB

phases[0].train  head       top 2, head
phases[1].train  –          all
`, Compare([]*Run{a, b}).String())

	c := Compare([]*Run{a, a})
	assert.Empty(t, c.Keys)
	assert.Empty(t, c.Warnings)
	assert.NotContains(t, c.String(), "*", "none is better")
}

func TestCompareWarns(t *testing.T) {
	a, other := comparable(t, "a", 0.8, 0.4, "seed: 1\n", "h1"), comparable(t, "b", 0.8, 0.4, "seed: 2\n", "h2")
	unknown, stopped := comparable(t, "c", 0.8, 0.4, "seed: 3\n", ""), comparable(t, "d", math.NaN(), 0.4, "seed: 4\n", "h1")
	stopped.Status = Interrupted
	c := Compare([]*Run{a, other, unknown, stopped})
	require.Len(t, c.Warnings, 2)
	assert.Equal(t, "d is interrupted", c.Warnings[0])
	assert.Equal(t, "the test data of b is not that of a: their metrics are not of the same samples", c.Warnings[1])
	assert.Contains(t, c.String(), "\nwarning   the test data of b")
	assert.Contains(t, Compare([]*Run{a, unknown}).Warnings[0], "is not known")

	text, err := json.Marshal(c)
	require.NoError(t, err)
	var read struct {
		Runs []struct{ Metrics map[string]*float64 }
		Spec []Difference
	}
	require.NoError(t, json.Unmarshal(text, &read))
	assert.Nil(t, read.Runs[3].Metrics["accuracy"], "NaN is null")
	assert.Equal(t, []Difference{{"seed", []string{"1", "2", "3", "4"}}}, read.Spec)
}

// Many runs have a line each.
func TestCompareManyRuns(t *testing.T) {
	var runs []*Run
	for _, name := range strings.Split("abcdefgh", "") {
		runs = append(runs, comparable(t, name, 0.5, 0.5, "seed: "+name+"\n", "h"))
	}
	lines := strings.Split(strings.TrimSpace(Compare(runs).String()), "\n")
	require.Len(t, lines, 9)
	assert.Equal(t, []string{"run", "accuracy", "log_loss", "loss", "best", "epoch", "time", "samples/s", "memory", "seed"}, strings.Fields(lines[0]))
}
