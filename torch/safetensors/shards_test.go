package safetensors

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkpoint writes two shards, a and b in the first and c in the second, and an index.
func checkpoint(t *testing.T, index string) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, Write(filepath.Join(dir, "1.safetensors"),
		[]Info{pattern("a", F32, 2), pattern("b", U8, 3)}, map[string]string{"format": "pt"}))
	require.NoError(t, Write(filepath.Join(dir, "2.safetensors"), []Info{pattern("c", I64)}, nil))
	path = filepath.Join(dir, "model.safetensors.index.json")
	require.NoError(t, os.WriteFile(path, []byte(index), 0o600))
	return dir, path
}

func TestOpenSharded(t *testing.T) {
	_, path := checkpoint(t, `{"metadata":{"total_size":19},"weight_map":{"c":"2.safetensors","b":"1.safetensors","a":"1.safetensors"}}`)
	f, err := OpenSharded(path)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, []string{"a", "b", "c"}, f.Names())
	require.Equal(t, map[string]string{"format": "pt"}, f.Metadata())
	for _, want := range []Info{pattern("a", F32, 2), pattern("b", U8, 3), pattern("c", I64)} {
		got, ok := f.Tensor(want.Name)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
}

func TestOpenShardedRefuses(t *testing.T) {
	for _, c := range []struct{ name, index, want string }{
		{"empty", ``, "DIR/model.safetensors.index.json: byte 0: the JSON ends too early"},
		{"no map", `{"metadata":{}}`, "DIR/model.safetensors.index.json: weight_map is missing or empty"},
		{"empty map", `{"weight_map":{}}`, "DIR/model.safetensors.index.json: weight_map is missing or empty"},
		{"no object", `{"weight_map":["a"]}`, "DIR/model.safetensors.index.json: byte 14: the value of weight_map must be an object, found an array"},
		{"no string", `{"weight_map":{"a":1}}`, `DIR/model.safetensors.index.json: byte 19: "a" in the value of weight_map must be a string, found 1`},
		{"duplicate", `{"weight_map":{"a":"1.safetensors","a":"2.safetensors"}}`, `DIR/model.safetensors.index.json: byte 35: the key "a" is there twice in the value of weight_map`},
		{"two maps", `{"weight_map":{},"weight_map":{}}`, `DIR/model.safetensors.index.json: byte 17: the key "weight_map" is there twice`},
		{"up and out", `{"weight_map":{"a":"../1.safetensors"}}`, `DIR/model.safetensors.index.json: tensor "a": shard "../1.safetensors" is not a plain file name`},
		{"absolute", `{"weight_map":{"a":"/etc/passwd"}}`, `DIR/model.safetensors.index.json: tensor "a": shard "/etc/passwd" is not a plain file name`},
		{"backslash", `{"weight_map":{"a":"..\\1.safetensors"}}`, `DIR/model.safetensors.index.json: tensor "a": shard "..\\1.safetensors" is not a plain file name`},
		{"folder", `{"weight_map":{"a":".."}}`, `DIR/model.safetensors.index.json: tensor "a": shard ".." is not a plain file name`},
		{"no name", `{"weight_map":{"a":""}}`, `DIR/model.safetensors.index.json: tensor "a": shard "" is not a plain file name`},
		{"missing shard", `{"weight_map":{"a":"1.safetensors","b":"1.safetensors","c":"3.safetensors"}}`, `DIR/model.safetensors.index.json: shard 2 of 2: stat DIR/3.safetensors: no such file or directory`},
		{"shard is the index", `{"weight_map":{"a":"model.safetensors.index.json"}}`, `DIR/model.safetensors.index.json: byte 0: the header's length is 8388068008349082235, the limit is 100000000: is this a safetensors file?`},
		{"not in its shard", `{"weight_map":{"a":"1.safetensors","b":"1.safetensors","c":"2.safetensors","d":"2.safetensors"}}`, `DIR/2.safetensors: tensor "d": is not in this shard, where DIR/model.safetensors.index.json says it is`},
		{"in another shard", `{"weight_map":{"a":"1.safetensors","b":"2.safetensors","c":"2.safetensors"}}`, `DIR/1.safetensors: tensor "b": is in this shard, but DIR/model.safetensors.index.json says "2.safetensors"`},
		{"not listed", `{"weight_map":{"a":"1.safetensors","c":"2.safetensors"}}`, `DIR/1.safetensors: tensor "b": is not listed in DIR/model.safetensors.index.json`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, path := checkpoint(t, c.index)
			_, err := OpenSharded(path)
			require.EqualError(t, err, replaceDir(c.want, dir))
		})
	}
}
