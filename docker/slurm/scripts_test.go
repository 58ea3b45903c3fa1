//go:build cluster

package slurm_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// script is one of the scripts, and the way in which it sees a workplace.
type script struct {
	path string   // of the script
	env  []string // for sbatch
	spec string   // the spec's path for thaw
	work string   // the folder that the job is started in, which gets the run folders
}

// scripts are the three of them, each in a workplace. For pyxis and apptainer, which Debian has not, stand-ins on
// Charliecloud come first in PATH.
func scripts(t *testing.T) map[string]script {
	t.Helper()
	out := map[string]script{}
	for name, file := range map[string]string{
		"bare": "thaw.sbatch", "pyxis": "thaw-pyxis.sbatch", "apptainer": "thaw-apptainer.sbatch",
	} {
		path, err := filepath.Abs(file)
		require.NoError(t, err)
		s := script{path: path, spec: "spec.yaml", work: t.TempDir()}
		if name == "bare" {
			workplace(t, s.work)
		} else {
			workplace(t, filepath.Join(s.work, "data"))
			s.spec = "/data/spec.yaml"
			s.env = []string{"IMAGE=" + image(t), "STANDIN=" + standin(t, name)}
		}
		out[name] = s
	}
	return out
}

// image is a tree that has what Thaw's image has: thaw in PATH, folders for data and runs. The rest is this machine's.
func image(t *testing.T) string {
	t.Helper()
	tree := t.TempDir()
	libraries, err := filepath.Abs("../../third_party/libtorch/lib")
	require.NoError(t, err)
	binds := []string{"/usr:/usr", binaries + ":/opt/thaw/bin", libraries + ":/opt/thaw/lib"}
	for _, name := range []string{
		"dev", "proc", "sys", "tmp", "etc", "home", "usr", "job", "data", "runs", "opt/thaw/bin", "opt/thaw/lib",
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(tree, name), 0o755))
	}
	for _, name := range []string{"bin", "lib", "lib64"} {
		require.NoError(t, os.Symlink("usr/"+name, filepath.Join(tree, name)))
	}
	for _, name := range []string{"hosts", "resolv.conf", "passwd", "group"} {
		write(t, filepath.Join(tree, "etc", name), "")
	}
	write(t, filepath.Join(tree, "binds"), strings.Join(binds, "\n")+"\n")
	return tree
}

// standin is a folder for PATH with the stand-in of testdata in it, and with the real srun under another name.
func standin(t *testing.T, name string) string {
	t.Helper()
	folder := t.TempDir()
	command := map[string]string{"pyxis": "srun", "apptainer": "apptainer"}[name]
	source, err := filepath.Abs("testdata/" + command)
	require.NoError(t, err)
	require.NoError(t, os.Symlink(source, filepath.Join(folder, command)))
	real, err := exec.LookPath("srun")
	require.NoError(t, err)
	require.NoError(t, os.Symlink(real, filepath.Join(folder, "real-srun")))
	return folder
}

// submit submits the script as it stands.
func (s script) submit(t *testing.T, args ...string) *job {
	t.Helper()
	for _, variable := range s.env {
		key, value, _ := strings.Cut(variable, "=")
		if key == "STANDIN" {
			key, value = "PATH", value+":"+os.Getenv("PATH")
		}
		t.Setenv(key, value)
	}
	return submit(t, s.work, append([]string{s.path}, args...)...)
}

func TestScripts(t *testing.T) {
	for name, s := range scripts(t) {
		t.Run(name, func(t *testing.T) {
			j := s.submit(t, s.spec)
			state, code := j.ended()
			assert.Equal(t, "COMPLETED 0:0", state+" "+code)
			assert.Contains(t, j.output(), "\nepoch 2 ")
			require.Equal(t, []string{"thaw-" + j.id}, runs(t, s.work))
			assert.Regexp(t, `^good `, predicted(t, filepath.Join(s.work, "runs/thaw-"+j.id)))
		})
		t.Run(name+", a spec that is not there", func(t *testing.T) {
			j := s.submit(t, s.spec+"x")
			state, code := j.ended()
			assert.Equal(t, "FAILED 2:0", state+" "+code, "thaw's own code")
			assert.Contains(t, j.output(), "there is no file "+s.spec+"x")
			assert.Equal(t, "0", j.field("Restarts"))
		})
	}
}

// resumed is the output of a training that was stopped and has gone on.
var resumed = regexp.MustCompile(`(?s)thaw: stopped\n.*\nepoch \d+ `)

// A training that gets SIGTERM ends in order and is put into the queue again; a job that its user cancels is not.
func TestRequeue(t *testing.T) {
	for name, s := range scripts(t) {
		t.Run(name, func(t *testing.T) {
			j := s.submit(t, s.spec, endless)
			j.training()
			slurm.ask(t, s.work, "scancel", "--signal=TERM", j.id)
			started := time.Now()
			require.Eventually(t, func() bool { return j.field("Restarts") == "1" },
				30*time.Second, 100*time.Millisecond, "not requeued")
			t.Logf("requeued after %v", time.Since(started).Round(100*time.Millisecond))
			assert.Contains(t, j.output(), "stopped")
			run := filepath.Join(s.work, "runs/thaw-"+j.id)
			assert.NotEmpty(t, predicted(t, run), "the weights of the best epoch so far")

			require.Eventually(t, func() bool { return resumed.MatchString(j.output()) },
				90*time.Second, 100*time.Millisecond, "does not go on")
			slurm.ask(t, s.work, "scancel", j.id)
			state, _ := j.ended()
			assert.Equal(t, "CANCELLED", state)
			time.Sleep(3 * time.Second)
			assert.Equal(t, "CANCELLED", j.field("JobState"))
			assert.Equal(t, []string{"thaw-" + j.id}, runs(t, s.work))
			assert.Equal(t, 1, strings.Count(j.output(), "\nepoch 1 "), "no epoch twice")
		})
	}
}

// Which of thaw's exit codes put the job back, and how often: the scripts with an srun that ends with a code, and an
// scontrol that writes down its arguments.
func TestExitCodes(t *testing.T) {
	for name, s := range scripts(t) {
		fake := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(fake, "srun"), []byte("#!/bin/sh\nexit $CODE\n"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(fake, "scontrol"), []byte("#!/bin/sh\necho scontrol $*\n"), 0o755))
		for _, c := range []struct {
			code     int
			restarts string
			requeued bool
		}{
			{0, "", false}, {1, "", false}, {2, "", false}, {137, "", false}, {143, "", false},
			{75, "", true}, {75, "1", true}, {75, "19", true}, {75, "20", false},
		} {
			command := exec.Command("bash", s.path, "spec.yaml")
			command.Dir = s.work
			command.Env = []string{"PATH=" + fake + ":" + os.Getenv("PATH"), fmt.Sprint("CODE=", c.code), "SLURM_JOB_ID=7", "SLURM_JOB_NAME=thaw"}
			if c.restarts != "" {
				command.Env = append(command.Env, "SLURM_RESTART_COUNT="+c.restarts)
			}
			out, err := command.CombinedOutput()
			assert.Equal(t, c.code, command.ProcessState.ExitCode(), "%s: %v %v", name, c, err)
			want := ""
			if c.requeued {
				want = "scontrol requeue 7\n"
			}
			assert.Equal(t, want, string(out), "%s: %v", name, c)
		}
	}
}

// The three scripts ask Slurm for the same, and start it alike.
func TestScriptsAreAlike(t *testing.T) {
	var headers []string
	for _, file := range []string{"thaw.sbatch", "thaw-pyxis.sbatch", "thaw-apptainer.sbatch"} {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		header := ""
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "#SBATCH") {
				header += line
			}
		}
		headers = append(headers, header)
		_, after, found := strings.Cut(string(data), "\n# 75 is")
		require.True(t, found)
		headers = append(headers, after)
	}
	assert.Equal(t, headers[:2], headers[2:4])
	assert.Equal(t, headers[:2], headers[4:])
}
