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

	"github.com/thaw-ml/thaw/internal/cachedir"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
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
	const python, unit = "DataLoader(num_workers=0), the same core", "us a picture"
	var here, there spent
	alone := []trial{
		{
			name: "one worker, one core", peerName: python, unit: unit,
			thaw: func() (float64, error) { here, err = load.epochs(1, 1); return here.wall, err },
			peer: func() (float64, error) {
				a, err := p.ask("epoch")
				there = spent{a.Nanoseconds / 1e3 / loaderPictures, a.CPU / 1e3 / loaderPictures}
				return there.wall, err
			},
		},
		{ // of the same epochs
			name: "the same, CPU time", peerName: python, unit: unit,
			thaw: func() (float64, error) { return here.cpu, nil },
			peer: func() (float64, error) { return there.cpu, nil },
		},
	}
	if r.Comparisons, err = compare(cmp.Or(o.rounds, 7), 1, alone); err != nil {
		return err
	}
	scaling, err := compare(cmp.Or(o.rounds, 7), 1, []trial{
		{
			name: "two workers, two cores", peerName: "Thaw, one worker, one core", unit: unit,
			thaw: func() (float64, error) { here, err = load.epochs(2, 3); return here.wall, err },
			peer: func() (float64, error) { there, err = load.epochs(1, 3); return there.wall, err },
		},
		{
			name: "the same, CPU time", peerName: "Thaw, one worker, one core", unit: unit,
			thaw: func() (float64, error) { return here.cpu, nil },
			peer: func() (float64, error) { return there.cpu, nil },
		},
	})
	if err != nil {
		return err
	}
	rate := func(s series) float64 { return 1e6 / s.Median }
	one, two := r.Comparisons[0], scaling[0]
	fmt.Printf("pictures a second: Thaw %.0f, PyTorch %.0f: %.2f times; with two workers %.0f after %.0f with one: %.2f times\n",
		rate(one.Thaw), rate(one.Peer), 1/one.Ratio, rate(two.Thaw), rate(two.Peer), 1/two.Ratio)
	r.Details = map[string]any{
		"pictures": loaderPictures, "bytes": load.bytes, "size": "500x375, JPEG of quality 92, 4:2:0", "batch": loaderBatch,
		"steps": "random resized crop to 224, flip, normalise to float32 [N, 3, 224, 224]", "scaling": scaling,
	}
	return r.finish(o.results)
}

// loaderFolder is where the pictures are; the peer makes them once.
func loaderFolder() (string, error) {
	cache, err := cachedir.Root()
	if err != nil {
		return "", err
	}
	return filepath.Join(cache, "bench", "loader"), nil
}

// loader makes the batches of an epoch as a training run does.
type loader struct {
	album   *album.Album
	bytes   int64 // of all files
	epoch   int   // the last one begun
	cropped vision.DatasetOptions
}

func newLoader(folder string) (*loader, error) {
	a, err := album.Open(folder, album.Options{})
	if err != nil {
		return nil, err
	}
	if a.Len() != loaderPictures {
		return nil, fmt.Errorf("%s has %d pictures, not %d: remove it", folder, a.Len(), loaderPictures)
	}
	l := &loader{album: a, cropped: vision.DatasetOptions{Augment: "crop", Seed: 1}}
	for i := range a.Len() {
		b, err := a.Bytes(i) // and so all is in the page cache
		if err != nil {
			return nil, err
		}
		l.bytes += int64(len(b))
	}
	return l, nil
}

// spent is the microseconds that a picture took.
type spent struct{ wall, cpu float64 }

// epochs makes every batch so many times, with so many workers on as many cores.
func (l *loader) epochs(workers, passes int) (spent, error) {
	runtime.LockOSThread() // as a run does
	defer runtime.UnlockOSThread()
	if err := pin(workers); err != nil {
		return spent{}, err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers + 1)) // one more than cores, as the program has
	l.epoch++
	l.cropped.Workers = workers
	input := vision.Input{Resize: 256, Crop: 224, Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225}}
	set, err := vision.NewDataset(l.album, input, l.cropped)
	if err != nil {
		return spent{}, err
	}
	start, before := time.Now(), cpuTime()
	made := make(chan *vision.Batch, 2) // as many batches ahead
	failures := make([]error, workers+1)
	var next atomic.Int32
	var busy sync.WaitGroup
	for w := range workers {
		busy.Go(func() {
			for failures[w] == nil {
				first := int(next.Add(1)-1) * loaderBatch
				if first >= passes*loaderPictures {
					return
				}
				var b *vision.Batch
				if b, failures[w] = set.Batch(l.request(first)); failures[w] == nil {
					made <- b
				}
			}
		})
	}
	go func() {
		busy.Wait()
		close(made)
	}()
	for b := range made {
		failures[workers] = errors.Join(failures[workers], normalise(b))
	}
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(passes*loaderPictures) }
	return spent{each(time.Since(start)), each(cpuTime() - before)}, errors.Join(failures...)
}

// cpuTime is what the threads of this process have used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it takes nothing that could be wrong
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// request asks for a batch. The order does not matter: the pictures are of all classes.
func (l *loader) request(first int) data.Request {
	r := data.Request{Epoch: l.epoch + first/loaderPictures}
	for i := range loaderBatch { // one out of each stretch of the album, as a shuffled batch has
		r.Indices = append(r.Indices, (first/loaderBatch+i*(loaderPictures/loaderBatch))%loaderPictures)
	}
	return r
}

// normalise makes a batch's pixels ready for a network, as the training thread does.
func normalise(b *vision.Batch) (err error) {
	defer b.Close()
	failure := torch.Try(func() {
		torch.SingleThreaded(func() {
			torch.Scoped(func() {
				x := b.Images()
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
