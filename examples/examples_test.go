// Package examples_test builds and runs the programs of this folder on small data.
package examples_test

import (
	"compress/gzip"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision"
)

func TestMain(m *testing.M) { torchtest.Main(m) }

// run builds an example and runs it in a folder. It gives the standard output.
func run(t *testing.T, name, folder string, args ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	built, err := exec.Command("go", "build", "-o", program, "./"+name).CombinedOutput()
	require.NoError(t, err, "%s", built)
	c := exec.Command(program, args...)
	c.Dir = folder
	log := &logged{t}
	c.Stderr = log
	out, err := c.Output()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
	return string(out)
}

// logged shows what a program writes to its standard error.
type logged struct{ t *testing.T }

func (l *logged) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

// number is the first group of a pattern in a program's output.
func number(t *testing.T, out, pattern string) float64 {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(out)
	require.NotNil(t, found, "no %s in:\n%s", pattern, out)
	x, err := strconv.ParseFloat(found[1], 64)
	require.NoError(t, err)
	return x
}

// root is the repository's, where the programs look for the model and the data that make reviews brings.
func root(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"reviews/data/model", "reviews/reviews.tsv"} {
		if _, err := os.Stat(path); err != nil {
			t.Skip("make reviews brings the model and the data")
		}
	}
	folder, err := filepath.Abs("..")
	require.NoError(t, err)
	return folder
}

func TestTextClassify(t *testing.T) {
	out := run(t, "textclassify", root(t), "-n", "60")
	assert.Regexp(t, `(?m)^before  accuracy [01]\.\d{4}  macro_f1`, out)
	assert.GreaterOrEqual(t, number(t, out, `best    accuracy ([\d.]+)`), 0.5)
	assert.Regexp(t, `(?m)^(negative|positive) [01]\.\d{3}  A quiet, generous film\.$`, out)
	assert.Regexp(t, `(?m)^(negative|positive) [01]\.\d{3}  Two hours I will not get back\.$`, out)
}

func TestCustomHead(t *testing.T) {
	out := run(t, "customhead", root(t))
	assert.Equal(t, 1.0, number(t, out, `after   accuracy ([\d.]+)`), "four texts are learned by heart")
}

func TestImageClassify(t *testing.T) {
	checkpoint, folder := filepath.Join(t.TempDir(), "resnet18.safetensors"), t.TempDir()
	random, err := vision.NewClassifier("resnet18", 1000, 1)
	require.NoError(t, err)
	defer random.Close()
	require.NoError(t, torch.SaveCheckpoint(checkpoint, nn.State(random), nil))

	out := run(t, "imageclassify", folder, checkpoint)
	assert.GreaterOrEqual(t, number(t, out, `best    accuracy ([\d.]+)`), 0.7, "from random weights")
	assert.Regexp(t, `(?m)^(circle|square) [01]\.\d{3}  radius \d+ at`, out)
	files, err := os.ReadDir(folder)
	require.NoError(t, err)
	assert.Empty(t, files, "the program writes no file")
}

func TestMNIST(t *testing.T) {
	folder := t.TempDir()
	for part, n := range map[string]int{"train": 600, "t10k": 100} {
		images, labels := bars(n)
		writeIdx(t, filepath.Join(folder, part+"-images-idx3-ubyte.gz"), images, n, 28, 28)
		writeIdx(t, filepath.Join(folder, part+"-labels-idx1-ubyte.gz"), labels, n)
	}
	assert.GreaterOrEqual(t, number(t, run(t, "mnist", folder, "-data", folder), `accuracy ([\d.]+)`), 0.8)
}

// bars are images with a bar at a height that is their class.
func bars(n int) (images, labels []byte) {
	images, labels = make([]byte, n*28*28), make([]byte, n)
	for i := range n {
		labels[i] = byte(i % 10)
		bar := images[i*28*28+(2+2*(i%10))*28:][:2*28]
		for j := range bar {
			bar[j] = byte(120 + (i*7)%100)
		}
	}
	return images, labels
}

// writeIdx writes bytes in MNIST's format.
func writeIdx(t *testing.T, path string, values []byte, sizes ...int) {
	t.Helper()
	file, err := os.Create(path)
	require.NoError(t, err)
	z := gzip.NewWriter(file)
	header := []byte{0, 0, 8, byte(len(sizes))}
	for _, n := range sizes {
		header = binary.BigEndian.AppendUint32(header, uint32(n))
	}
	_, err = z.Write(append(header, values...))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.NoError(t, file.Close())
}

func TestRegression(t *testing.T) {
	out := run(t, "regression", t.TempDir())
	assert.Less(t, number(t, out, `pre-training +before: mse [\d.]+  best: mse ([\d.]+)`), 0.05)
	before := number(t, out, `fine-tuning +before: mse ([\d.]+)`)
	assert.Less(t, number(t, out, `fine-tuning +before: mse [\d.]+  best: mse ([\d.]+)`), before/5)
	assert.Greater(t, number(t, out, `fine-tuning .*pearson ([\d.]+)`), 0.97)
}
