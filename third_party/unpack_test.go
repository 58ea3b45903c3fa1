package third_party

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUnpackSdist(t *testing.T) {
	t.Parallel()
	inner := tarOf(t, map[string]string{
		"hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt":     "1\t2.3\tfine\xff\r\n",
		"hutto_ICWSM_2014/movieReviewSnippets_anonDataRatings.txt": "1\t2.3",
		"hutto_ICWSM_2014/tweets_GroundTruth.txt":                  "1\t-1\tbad\r\n",
	})
	dir := t.TempDir()
	archive := filepath.Join(dir, "vaderSentiment-3.3.2.tar.gz")
	require.NoError(t, os.WriteFile(archive, []byte(tarOf(t, map[string]string{
		"vaderSentiment-3.3.2/LICENSE.txt":                                  "MIT",
		"vaderSentiment-3.3.2/setup.py":                                     "pass",
		"vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz": inner,
	})), 0o644))
	out, err := exec.Command(realPython(t), "unpack.py", archive, filepath.Join(dir, "out")).CombinedOutput()
	require.NoError(t, err, string(out))
	m := &machine{t: t}
	m.has(filepath.Join(dir, "out"),
		"movieReviewSnippets_GroundTruth.txt", "tweets_GroundTruth.txt", "licenses/vaderSentiment/LICENSE.txt")
	text, err := os.ReadFile(filepath.Join(dir, "out", "movieReviewSnippets_GroundTruth.txt"))
	require.NoError(t, err)
	assert.Equal(t, "1\t2.3\tfine\xff\r\n", string(text))
}

func tarOf(t *testing.T, files map[string]string) string {
	t.Helper()
	var data bytes.Buffer
	gz := gzip.NewWriter(&data)
	w := tar.NewWriter(gz)
	for path, text := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: path, Size: int64(len(text)), Mode: 0o644}))
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, gz.Close())
	return data.String()
}
