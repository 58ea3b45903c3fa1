//go:build cluster

package slurm_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const spec = `model: model
head: {classes: [bad, good], pooling: mean}
data:
  train: rows.tsv
  columns: {text: t, label: l}
  test: every 5
  max_length: 16
phases:
  - {train: all, epochs: 2, lr: 5e-3, head_lr: 5e-3}
`

// endless is the override with which a training does not end by itself.
const endless = "phases[0].epochs=1000000"

// workplace is a folder with spec.yaml and what the spec names, on the repository's smallest model.
func workplace(t *testing.T, folder string) string {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "model"), 0o755))
	for to, from := range map[string]string{
		"config.json": "config.json", "vocab.txt": "vocab.txt", "model.safetensors": "bare.safetensors",
	} {
		data, err := os.ReadFile(filepath.Join("../../text/testdata/tiny", from))
		require.NoError(t, err)
		write(t, filepath.Join(folder, "model", to), string(data))
	}
	var rows strings.Builder
	rows.WriteString("t\tl\n")
	for i := range 60 {
		fmt.Fprintf(&rows, "the film %d was %s\t%s\n", i, []string{"dull", "great"}[i%2], []string{"bad", "good"}[i%2])
	}
	write(t, filepath.Join(folder, "rows.tsv"), rows.String())
	write(t, filepath.Join(folder, "spec.yaml"), spec)
	return folder
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

// runs are the names of the run folders in a folder.
func runs(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(folder, "runs"))
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// job is a job in the queue.
type job struct {
	t          *testing.T
	folder, id string
}

// submit gives arguments to sbatch.
func submit(t *testing.T, folder string, args ...string) *job {
	t.Helper()
	id := slurm.ask(t, folder, "sbatch", append([]string{"--parsable"}, args...)...)
	j := &job{t, folder, id}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the job wrote:\n%s\n%s", j.output(), slurm.logs())
		}
		slurm.run(folder, "scancel", "--quiet", id)
	})
	return j
}

// field is one of the words that scontrol shows of a job.
func (j *job) field(name string) string {
	j.t.Helper()
	for _, word := range strings.Fields(slurm.ask(j.t, j.folder, "scontrol", "show", "job", "--oneliner", j.id)) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	j.t.Fatalf("scontrol shows no %s of job %s", name, j.id)
	return ""
}

// output is what the job has written.
func (j *job) output() string {
	data, err := os.ReadFile(filepath.Join(j.folder, j.field("JobName")+"-"+j.id+".out"))
	if err != nil {
		data, _ = os.ReadFile(filepath.Join(j.folder, "slurm-"+j.id+".out"))
	}
	return string(data)
}

// ended waits for the end of the job, and gives its last state.
func (j *job) ended() (state, exitCode string) {
	j.t.Helper()
	require.Eventually(j.t, func() bool {
		state = j.field("JobState")
		return state != "PENDING" && state != "RUNNING" && state != "COMPLETING"
	}, 90*time.Second, 100*time.Millisecond, "the job goes on")
	return state, j.field("ExitCode")
}

// training waits until the training has written a second epoch's line.
func (j *job) training() {
	j.t.Helper()
	require.Eventually(j.t, func() bool { return strings.Contains(j.output(), "\nepoch 2 ") },
		90*time.Second, 100*time.Millisecond, "no epochs")
}

// predicted is what the program makes of a sentence with a run's best weights.
func predicted(t *testing.T, run string) string {
	t.Helper()
	command := exec.Command(filepath.Join(binaries, "thaw"), "predict", run, "the film was great")
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}
