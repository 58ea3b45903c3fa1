package vision

import (
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"fmt"
	"runtime"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

func cpu() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
}

func TestZZ(t *testing.T) {
	runtime.GOMAXPROCS(1)
	torch.SetNumThreads(1)
	a, err := album.Open(os.Getenv("HOME")+"/.cache/thaw/bench/loader", album.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := 200
	measure := func(name string, f func(i int)) {
		for i := range 20 { f(i) }
		c := cpu()
		for i := range n { f(i) }
		fmt.Printf("%-10s %.0f us\n", name, (cpu()-c)/float64(n))
	}
	var im picture.Image
	measure("bytes", func(i int) { a.Bytes(i) })
	measure("picture", func(i int) { a.Picture(i, picture.Options{Into: &im}) })
	a.Picture(0, picture.Options{Into: &im})
	tr, _ := transform.DefaultTraining(224).Pipeline()
	var out picture.Image
	rng := rand.New(rand.NewPCG(1, 2))
	measure("rrc", func(i int) { tr.Apply(&out, &im, rng) })
	measure("eval", func(i int) { transform.Evaluation(256,224).Apply(&out, &im, rng) })
	set, _ := NewDataset(a, imageNet(), Options{Pictures: finetune.Pictures{Augment: "crop", Scale: [2]float64{0.08, 1}, Workers: 1}})
	n = 5
	idx := make([]int, 40)
	for i := range idx { idx[i] = i * 10 }
	var b *Batch
	measure("batch40", func(i int) { b, err = set.Batch(finetune.Request{Epoch: i + 1, Indices: idx}); if err != nil { t.Fatal(err) } })
	measure("images40", func(i int) { torch.Scoped(func() { b.images() }) })
}
