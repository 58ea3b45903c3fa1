package tensorboard

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

// record is an Event that was read back.
type record struct {
	time    float64
	step    int64
	version string
	start   bool
	scalars map[string]float32
}

// read takes a file apart, checksums too.
func read(t *testing.T, path string) (records []record) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	for len(b) > 0 {
		n := binary.LittleEndian.Uint64(b)
		require.Equal(t, checksum(b[:8]), binary.LittleEndian.Uint32(b[8:]), "of the length")
		data := b[12 : 12+n]
		require.Equal(t, checksum(data), binary.LittleEndian.Uint32(b[12+n:]), "of the data")
		records = append(records, parse(t, data))
		b = b[16+n:]
	}
	return records
}

// fields calls each with the fields of a message.
func fields(t *testing.T, b []byte, each func(n protowire.Number, number uint64, content []byte)) {
	t.Helper()
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		require.Positive(t, size)
		b = b[size:]
		var number uint64
		var content []byte
		switch kind {
		case protowire.VarintType:
			number, size = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			number, size = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var v uint32
			v, size = protowire.ConsumeFixed32(b)
			number = uint64(v)
		default:
			content, size = protowire.ConsumeBytes(b)
		}
		require.Positive(t, size)
		b = b[size:]
		each(n, number, content)
	}
}

func parse(t *testing.T, data []byte) (r record) {
	fields(t, data, func(n protowire.Number, number uint64, content []byte) {
		switch n {
		case eventWallTime:
			r.time = math.Float64frombits(number)
		case eventStep:
			r.step = int64(number)
		case eventVersion:
			r.version = string(content)
		case eventSessionLog:
			fields(t, content, func(_ protowire.Number, status uint64, _ []byte) { r.start = status == sessionStart })
		case eventSummary:
			r.scalars = map[string]float32{}
			fields(t, content, func(_ protowire.Number, _ uint64, value []byte) {
				tag := ""
				fields(t, value, func(n protowire.Number, number uint64, content []byte) {
					if n == valueTag {
						tag = string(content)
					} else {
						r.scalars[tag] = math.Float32frombits(uint32(number))
					}
				})
			})
		}
	})
	return r
}

// The masked checksums are those of tensorflow/core/lib/hash/crc32c_test.cc's values.
func TestChecksum(t *testing.T) {
	for text, crc := range map[string]uint32{"123456789": 0xe3069283, string(make([]byte, 32)): 0x8a9136aa} {
		assert.Equal(t, (crc>>15|crc<<17)+0xa282ead8, checksum([]byte(text)))
	}
}

func TestWriter(t *testing.T) {
	folder := t.TempDir()
	at := time.Unix(1_700_000_000, 250_000_000)
	w, err := Create(folder, 0, at)
	require.NoError(t, err)
	require.NoError(t, w.Scalars(3, at.Add(time.Second), Scalar{"loss/train", 0.5}, Scalar{"rate", 1e-3}))
	// What was written is there before Close: the process may be killed.
	records := read(t, w.Path())
	require.NoError(t, w.Scalars(4, at, Scalar{"loss/train", math.NaN()}))
	require.NoError(t, w.Close())
	assert.Equal(t, []record{
		{time: 1_700_000_000.25, version: "brain.Event:2"},
		{time: 1_700_000_000.25, start: true},
		{time: 1_700_000_001.25, step: 3, scalars: map[string]float32{"loss/train": 0.5, "rate": 1e-3}},
	}, records)
	last := read(t, w.Path())[3]
	assert.True(t, math.IsNaN(float64(last.scalars["loss/train"])))
	assert.Equal(t, "events.out.tfevents.1700000000.thaw", filepath.Base(w.Path()))
}

// TensorBoard reads the files in the order of their names: a later one is behind, even where the clock was set back.
func TestLaterFilesComeBehind(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a [folder]*?")
	require.NoError(t, os.Mkdir(folder, 0o755))
	var paths []string
	for _, seconds := range []int64{1_700_000_000, 1_700_000_000, 1_600_000_000, 1_800_000_000} {
		w, err := Create(folder, 7, time.Unix(seconds, 0))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		paths = append(paths, w.Path())
		assert.Equal(t, int64(7), read(t, w.Path())[1].step)
	}
	files, err := Files(folder)
	require.NoError(t, err)
	assert.Equal(t, paths, files)
	_, err = Create(filepath.Join(folder, "not there"), 0, time.Unix(0, 0))
	assert.ErrorContains(t, err, "making an event file")
}
