package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/album"
)

const (
	loaderPictures = 400
	loaderBatch    = 40
)

// runLoader times the making of training batches of JPEGs, from files to normalised float32 pixels, beside PyTorch's
// DataLoader with torchvision and Pillow: both on the same core, in turn. Then Thaw alone with one worker on a core and
// with two on two.
func runLoader(o options) error {
	if err := need(); err != nil {
		return err
	}
	if runtime.NumCPU() < 2 {
		return errors.New("two cores are needed")
	}
	torch.SetNumThreads(1)
	folder, err := loaderFolder()
	if err != nil {
		return err
	}
	p, err := startPeer("loader.py", folder, strconv.Itoa(loaderPictures), strconv.Itoa(loaderBatch), "0")
	if err != nil {
		return err
	}
	defer p.close()
	load, err := newLoader(folder)
	if err != nil {
		return err
	}
	r, err := newReport("loader", 1)
	if err != nil {
		return err
	}
	alone := trial{
		name: "one worker, one core", peerName: "DataLoader(num_workers=0), the same core", unit: "us a picture",
		thaw: func() (float64, error) { return load.epoch(1) },
		peer: func() (float64, error) {
			a, err := p.ask("epoch")
			return a.Nanoseconds / 1e3 / loaderPictures, err
		},
	}
	if r.Comparisons, err = compare(cmp.Or(o.rounds, 7), 1, []trial{alone}); err != nil {
		return err
	}
	scaling, err := compare(cmp.Or(o.rounds, 7), 1, []trial{{
		name: "two workers, two cores", peerName: "Thaw, one worker, one core", unit: "us a picture",
		thaw: func() (float64, error) { return load.epoch(2) },
		peer: func() (float64, error) { return load.epoch(1) },
	}})
	if err != nil {
		return err
	}
	rate := func(s series) float64 { return 1e6 / s.Median }
	one, two := r.Comparisons[0], scaling[0]
	fmt.Printf("pictures a second: Thaw %.0f, PyTorch %.0f: %.2f times; with two workers %.0f after %.0f with one: %.2f times\n",
		rate(one.Thaw), rate(one.Peer), 1/one.Ratio, rate(two.Thaw), rate(two.Peer), 1/two.Ratio)
	r.Details = map[string]any{
		"pictures": loaderPictures, "bytes": load.bytes, "size": "500x375, JPEG of quality 92, 4:2:0", "batch": loaderBatch,
		"steps": "random resized crop to 224, flip, normalise to float32 [N, 3, 224, 224]", "scaling": two,
	}
	return r.finish(o.results)
}

// loaderFolder is where the pictures are; the peer makes them once.
func loaderFolder() (string, error) {
	cache := os.Getenv("THAW_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no cache folder: %w", err)
		}
		cache = filepath.Join(user, "thaw")
	}
	return filepath.Join(cache, "bench", "loader"), nil
}

// loader makes the batches of an epoch as a training run does.
type loader struct {
	album   *album.Album
	bytes   int64 // of all files
	epochs  int   // made so far
	cropped finetune.Pictures
}

func newLoader(folder string) (*loader, error) {
	a, err := album.Open(folder, album.Options{})
	if err != nil {
		return nil, err
	}
	if a.Len() != loaderPictures {
		return nil, fmt.Errorf("%s has %d pictures, not %d: remove it", folder, a.Len(), loaderPictures)
	}
	l := &loader{album: a, cropped: finetune.Pictures{Augment: "crop", Scale: [2]float64{0.08, 1}, Unreadable: "fail"}}
	for i := range a.Len() {
		b, err := a.Bytes(i) // and so all is in the page cache
		if err != nil {
			return nil, err
		}
		l.bytes += int64(len(b))
	}
	return l, nil
}

// epoch makes every batch once, with so many workers on as many cores, and gives the microseconds that a picture took.
func (l *loader) epoch(workers int) (float64, error) {
	if err := pin(workers); err != nil {
		return 0, err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers))
	l.epochs++
	l.cropped.Workers = workers
	input := vision.Input{Resize: 256, Crop: 224, Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225}}
	set, err := vision.NewDataset(l.album, input, vision.Options{Pictures: l.cropped, Seed: 1})
	if err != nil {
		return 0, err
	}
	start := time.Now()
	var next atomic.Int32
	var busy sync.WaitGroup
	failures := make([]error, workers)
	for w := range workers {
		busy.Go(func() {
			for failures[w] == nil {
				first := int(next.Add(1)-1) * loaderBatch
				if first >= loaderPictures {
					return
				}
				failures[w] = l.batch(set, first)
			}
		})
	}
	busy.Wait()
	return float64(time.Since(start).Nanoseconds()) / 1e3 / loaderPictures, errors.Join(failures...)
}

// batch makes a batch's pixels ready for a network. The order does not matter: the pictures are of all classes.
func (l *loader) batch(set *vision.Dataset, first int) error {
	r := finetune.Request{Epoch: l.epochs}
	for i := range loaderBatch { // one out of each stretch of the album, as a shuffled batch has
		r.Indices = append(r.Indices, (first/loaderBatch+i*(loaderPictures/loaderBatch))%loaderPictures)
	}
	b, err := set.Batch(r)
	if err != nil {
		return err
	}
	failure := torch.Try(func() {
		torch.SingleThreaded(func() {
			torch.Scoped(func() {
				x := (&vision.Classifier{}).Forward(b, torch.Tensor{}, 0, 0) // no stage: the images
				if s := x.Shape(); s[0] != loaderBatch || s[1] != 3 || s[2] != 224 || s[3] != 224 {
					err = fmt.Errorf("a batch of %v", s)
				}
			})
		})
	})
	return errors.Join(err, failure)
}

// pin keeps the process to its first cores.
func pin(cores int) error {
	mask := [16]uint64{1<<cores - 1}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		_, _, code := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(id), unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
		if code != 0 && code != syscall.ESRCH { // the thread may be gone
			return fmt.Errorf("keeping to %d cores: %w", cores, code)
		}
	}
	return nil
}
