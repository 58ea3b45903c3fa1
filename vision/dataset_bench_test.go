package vision_test

import (
	"fmt"
	"image/jpeg"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision"
)

// processorTime is what the process's threads have used, which other programs disturb less than time on the clock.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDataset makes training batches of 32 crops of 224 x 224 pixels of JPEGs, with two workers; ns/op are of a
// batch.
func BenchmarkDataset(b *testing.B) {
	input := vision.Input{Resize: 256, Crop: 224, Mean: tiny.Mean, Std: tiny.Std}
	for _, size := range [][2]int{{500, 375}, {2000, 1500}} {
		b.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(b *testing.B) {
			folder := b.TempDir()
			for class := range 2 {
				require.NoError(b, os.Mkdir(filepath.Join(folder, fmt.Sprint(class)), 0o755))
				for i := range 16 {
					f, err := os.Create(filepath.Join(folder, fmt.Sprint(class), fmt.Sprintf("%d.jpg", i)))
					require.NoError(b, err)
					require.NoError(b, jpeg.Encode(f, drawing(class, i, size[0], size[1]), &jpeg.Options{Quality: 90}))
					require.NoError(b, f.Close())
				}
			}
			d, err := vision.NewDataset(openAlbum(b, folder), input, vision.DatasetOptions{Workers: 2, Seed: 1})
			require.NoError(b, err)
			var all []int
			for i := range d.Len() {
				all = append(all, i)
			}
			before := processorTime(b)
			for epoch := 1; b.Loop(); epoch++ {
				batch, err := d.Batch(data.Request{Indices: all, Epoch: epoch})
				require.NoError(b, err)
				batch.Close()
			}
			b.ReportMetric((processorTime(b)-before).Seconds()*1e3/float64(b.N*d.Len()), "cpu-ms/picture")
		})
	}
}
