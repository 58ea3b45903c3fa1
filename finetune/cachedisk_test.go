package finetune

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/internal/rowcache"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// keyed is a data set whose inputs can be told from others'. Augmented, it differs from epoch to epoch.
type keyed struct {
	*samples
	key    string
	mixed  bool // no views can be kept
	cycles int  // where not 0, epoch e is as epoch (e-1) modulo cycles + 1
}

func (k keyed) InputKey(augmented bool) string {
	if k.key == "" {
		return ""
	}
	return fmt.Sprint(k.key, augmented)
}

func (k keyed) Fingerprint() string { return fmt.Sprint(k.key, k.labels, k.mixed, k.cycles) }

func (k keyed) Views() bool { return !k.mixed }

func (k keyed) Batch(r data.Request) (*rows, error) {
	b, err := k.samples.Batch(r)
	if err == nil && k.varies && r.Epoch > 0 && r.FirstStage == 0 {
		epoch := r.Epoch
		if k.cycles > 0 {
			epoch = (epoch-1)%k.cycles + 1
		}
		for i := range b.vectors {
			b.vectors[i] += 0.01 * float32(epoch)
		}
	}
	return b, err
}

// kept is what a run with a cache came to.
type kept struct {
	weights     []byte
	stage0      int // how often the first stage ran: once for each batch
	found, made []string
	warnings    []string
	plan        *Plan
	before      metric.Score
	evaluated   bool // the score before training was computed
}

// keepRun trains a new net.
func keepRun(t *testing.T, o Options, trainSet, testSet keyed, change func(*net)) (k kept) {
	t.Helper()
	return keepRunOn(t, train.CPU{}, o, trainSet, testSet, change)
}

func keepRunOn(t *testing.T, backend train.Backend, o Options, trainSet, testSet keyed, change func(*net)) (k kept) {
	t.Helper()
	model := newNet(t)
	if change != nil {
		change(model)
	}
	model.before = func(stage int) {
		if stage == 0 {
			k.stage0++
		}
	}
	var seen events
	o.OnEvent, o.Folder = seen.add, NewFolder(filepath.Join(t.TempDir(), "run"))
	o, err := o.resolved()
	require.NoError(t, err)
	before := torch.Stats()
	result, err := fitOn[*rows](t.Context(), backend, torch.Float32, model, trainSet, testSet, o)
	require.NoError(t, err)
	requireAtRest(t, model, before)
	k.weights, err = os.ReadFile(filepath.Join(o.Folder.Weights(), "last.safetensors"))
	require.NoError(t, err)
	for _, e := range eventsOf[CacheFound](&seen) {
		k.found = append(k.found, e.Path)
	}
	for _, e := range eventsOf[CacheKept](&seen) {
		k.made = append(k.made, e.Path)
	}
	for _, e := range eventsOf[train.Warning](&seen) {
		k.warnings = append(k.warnings, e.Text)
	}
	k.plan, k.before = eventsOf[Planned](&seen)[0].Plan, result.Before
	for _, e := range eventsOf[train.Progress](&seen) {
		k.evaluated = k.evaluated || e.Task.Kind == train.Baseline
	}
	return k
}

// keeping is options of a phase that trains two layers and the head, with a cache.
func keeping(t *testing.T, place, folder string) Options {
	o := quick(t, Phase{Train: Top(2), Epochs: 2, LR: 1e-2})
	o.Cache = Caching{Place: place, Folder: folder, Model: "a net", Data: "numbers"}
	return o
}

func filesOf(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".note" { // of a few bytes
			names = append(names, e.Name())
		}
	}
	return names
}

// A run with its frozen output in memory, in a file that it makes, and in one that is there, is the same bit for bit.
func TestCacheFileIsBitIdentical(t *testing.T) {
	for name, lengths := range map[string]func(int) int{"padded": mixed, "not padded": nil} {
		t.Run(name, func(t *testing.T) {
			trainSet, testSet := keyed{samples: newSamples(1, 40, lengths), key: "train"}, keyed{samples: newSamples(2, 12, lengths), key: "test"}
			folder := filepath.Join(t.TempDir(), "frozen")
			memory := keepRun(t, keeping(t, CacheMemory, folder), trainSet, testSet, nil)
			assert.Empty(t, filesOf(t, folder))
			auto := keepRun(t, keeping(t, CacheAuto, folder), trainSet, testSet, nil)
			assert.Empty(t, filesOf(t, folder), "memory suffices")
			assert.Equal(t, memory.weights, auto.weights)

			first := keepRun(t, keeping(t, CacheDisk, folder), trainSet, testSet, nil)
			assert.Equal(t, memory.weights, first.weights)
			assert.Equal(t, memory.stage0, first.stage0)
			assert.Empty(t, first.warnings)
			assert.Empty(t, first.found)
			require.Len(t, first.made, 2)
			assert.Len(t, filesOf(t, folder), 2)
			assert.Contains(t, first.plan.String(), "run once, kept: 1 MB on disk")

			for _, place := range []string{CacheDisk, CacheAuto} {
				second := keepRun(t, keeping(t, place, folder), trainSet, testSet, nil)
				assert.Equal(t, first.weights, second.weights, place)
				assert.Equal(t, first.made, second.found, place)
				assert.Empty(t, second.made)
				assert.Empty(t, second.warnings)
				assert.Equal(t, 1, second.stage0, "to find out what a row is")
			}
			assert.Empty(t, keepRun(t, keeping(t, CacheMemory, folder), trainSet, testSet, nil).found)

			entries, err := rowcache.Folder{Path: folder}.List()
			require.NoError(t, err)
			require.Len(t, entries, 2)
			assert.Equal(t, rowcache.About{Model: "a net", Data: "numbers", Stages: "stage.0 ... stage.1", Rows: "12 samples"}, entries[0].About)
			assert.False(t, entries[0].InUse)
		})
	}
}

// A file that was cut off or changed is computed again, with a warning.
func TestCacheFileDamaged(t *testing.T) {
	trainSet, testSet := keyed{samples: newSamples(1, 40, mixed), key: "train"}, keyed{samples: newSamples(2, 12, mixed), key: "test"}
	folder := t.TempDir()
	first := keepRun(t, keeping(t, CacheDisk, folder), trainSet, testSet, nil)
	for name, damage := range map[string]func([]byte) []byte{
		"cut off":  func(b []byte) []byte { return b[:len(b)-100] },
		"one bit":  func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"empty":    func([]byte) []byte { return nil },
		"no file":  func([]byte) []byte { return []byte("hello") },
		"all zero": func(b []byte) []byte { clear(b); return b },
	} {
		path := first.made[0]
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, damage(content), 0o644))
		got := keepRun(t, keeping(t, CacheAuto, folder), trainSet, testSet, nil)
		assert.Equal(t, first.weights, got.weights, name)
		require.Len(t, got.warnings, 1, name)
		assert.Contains(t, got.warnings[0], "is not as it was written, and is computed again: "+path, name)
		assert.Len(t, got.found, 1, name)
		assert.NoFileExists(t, path)
		got = keepRun(t, keeping(t, CacheDisk, folder), trainSet, testSet, nil)
		assert.Empty(t, got.warnings)
		assert.Equal(t, []string{path}, got.made)
		assert.Equal(t, first.weights, got.weights, name)
	}
}

// scarce is a CPU with little memory.
type scarce struct{ train.CPU }

func (scarce) FreeMemory() int64 { return 20_000 }

// withLittleMemory has caches of more than 10,000 bytes not fit in memory.
func withLittleMemory(t *testing.T) {
	memory, limit := availableMemory, memoryLimit
	availableMemory, memoryLimit = scarce{}.FreeMemory, func() int64 { return 0 }
	t.Cleanup(func() { availableMemory, memoryLimit = memory, limit })
}

// What memory does not hold lies in a file: one with a name where the data tells when it changes.
func TestCacheBeyondMemory(t *testing.T) {
	withLittleMemory(t)
	folder := filepath.Join(t.TempDir(), "frozen")
	set := func(key string) (trainSet, testSet keyed) {
		return keyed{samples: newSamples(1, 120, mixed), key: key}, keyed{samples: newSamples(2, 12, mixed), key: key}
	}
	trainSet, testSet := set("data")
	memory := keepRun(t, keeping(t, CacheMemory, folder), trainSet, testSet, nil)
	none := keepRunOn(t, scarce{}, keeping(t, CacheMemory, folder), trainSet, testSet, nil)
	require.Len(t, none.warnings, 1)
	assert.Contains(t, none.warnings[0], "it is not kept, the stages run at every step")
	assert.Greater(t, none.stage0, memory.stage0)

	trainSet, testSet = set("")
	unnamed := keepRunOn(t, scarce{}, keeping(t, CacheAuto, folder), trainSet, testSet, nil)
	assert.Equal(t, memory.weights, unnamed.weights)
	assert.Equal(t, memory.stage0, unnamed.stage0)
	assert.Empty(t, unnamed.warnings)
	assert.True(t, unnamed.plan.CacheOnDisk)
	assert.Empty(t, filesOf(t, folder))

	trainSet, testSet = set("data")
	named := keepRunOn(t, scarce{}, keeping(t, CacheAuto, folder), trainSet, testSet, nil)
	assert.Equal(t, memory.weights, named.weights)
	assert.Len(t, named.made, 2)
	again := keepRunOn(t, scarce{}, keeping(t, CacheAuto, folder), trainSet, testSet, nil)
	assert.Equal(t, memory.weights, again.weights)
	assert.Equal(t, named.made, again.found)

	// The limit leaves no room for a new file; what is there is taken.
	o := keeping(t, CacheAuto, folder)
	o.Cache.Limit = 1000
	again = keepRunOn(t, scarce{}, o, trainSet, testSet, nil)
	assert.Equal(t, named.made, again.found)
	trainSet.key = "other"
	none = keepRunOn(t, scarce{}, o, trainSet, testSet, nil)
	require.Len(t, none.warnings, 1)
	assert.Regexp(t, `is 1 MB and 1 MB of memory are free, and on disk 1 MB are needed and 1 MB is what .* may take: 1 MB are missing: it is not kept`, none.warnings[0])
}

// A disk that turns out to be full costs the file, not the run.
func TestCacheOnAFullDisk(t *testing.T) {
	trainSet, testSet := keyed{samples: newSamples(1, 120, mixed), key: "train"}, keyed{samples: newSamples(2, 12, mixed), key: "test"}
	folder := filepath.Join(t.TempDir(), "frozen")
	memory := keepRun(t, keeping(t, CacheMemory, folder), trainSet, testSet, nil)
	fail := func(last int) {
		calls := 0
		rowcache.BeforeWrite = func() error {
			if calls++; calls > last {
				return syscall.ENOSPC
			}
			return nil
		}
	}
	defer func() { rowcache.BeforeWrite = func() error { return nil } }()
	for _, last := range []int{0, 1, 60, 119, 120, 121} { // 120 samples, checksums, header
		fail(last)
		got := keepRun(t, keeping(t, CacheDisk, folder), trainSet, testSet, nil)
		assert.Equal(t, memory.weights, got.weights)
		require.Len(t, got.warnings, 2, "training and test samples")
		assert.Regexp(t, `cannot be kept on disk, it is kept in memory: writing .*: no space left on device`, got.warnings[0])
		assert.Empty(t, filesOf(t, folder))
	}
	withLittleMemory(t)
	fail(0)
	got := keepRunOn(t, scarce{}, keeping(t, CacheAuto, folder), trainSet, testSet, nil)
	assert.Greater(t, got.stage0, memory.stage0)
	require.Len(t, got.warnings, 2)
	assert.Contains(t, got.warnings[0], "it is not kept, the stages run at every step")
	assert.Empty(t, filesOf(t, folder))
}

// Epochs see the views in turn: bit for bit as if the samples were those of the first epochs again and again.
func TestCacheViews(t *testing.T) {
	trainSet, testSet := keyed{samples: newSamples(1, 24, distinct), key: "train"}, keyed{samples: newSamples(2, 12, distinct), key: "test"}
	trainSet.varies = true
	for _, place := range []string{CacheMemory, CacheDisk} {
		folder := t.TempDir()
		options := func() Options {
			o := keeping(t, place, folder)
			o.Phases[0].Epochs, o.Batch = 5, Batching{Size: 6, EvalSize: 6} // the cache is filled in the batches of training
			return o
		}
		never := keepRun(t, options(), trainSet, testSet, nil)
		assert.False(t, never.plan.Cached)

		o := options()
		o.Cache.Views = 2
		views := keepRun(t, o, trainSet, testSet, nil)
		assert.True(t, views.plan.Cached)
		assert.Equal(t, 1+2*4+2, views.stage0, "each view once, and the test samples")
		assert.Contains(t, views.plan.String(), "run once for each of 2 views, kept")

		cycling := trainSet
		cycling.cycles = 2
		o = options()
		o.NoCache = true
		fresh := keepRun(t, o, cycling, testSet, nil)
		assert.Equal(t, fresh.weights, views.weights)
		assert.NotEqual(t, never.weights, views.weights)
		if place == CacheDisk {
			o := options()
			o.Cache.Views = 2
			assert.Equal(t, views.made, keepRun(t, o, trainSet, testSet, nil).found)
			o = options()
			o.Cache.Views = 3
			assert.Equal(t, views.made[1:], keepRun(t, o, trainSet, testSet, nil).found, "the test samples")
		}
	}
	trainSet.mixed = true
	o := keeping(t, CacheAuto, "")
	o.Cache.Views = 2
	_, err := Fit[*rows](t.Context(), newNet(t), trainSet, testSet, o)
	assert.ErrorContains(t, err, "Options.Cache.Views: what is random about the training samples is more than a sample's own")
}

// Rows of bfloat16 take half of the place and are close.
func TestCachePrecision(t *testing.T) {
	trainSet, testSet := keyed{samples: newSamples(1, 40, mixed), key: "train"}, keyed{samples: newSamples(2, 12, mixed), key: "test"}
	for _, place := range []string{CacheMemory, CacheDisk} {
		o := keeping(t, place, t.TempDir())
		plain := keepRun(t, o, trainSet, testSet, nil)
		o = keeping(t, place, o.Cache.Folder)
		o.Cache.Precision = "bfloat16"
		half := keepRun(t, o, trainSet, testSet, nil)
		assert.Equal(t, plain.plan.CacheBytes, 2*half.plan.CacheBytes)
		assert.NotEqual(t, plain.weights, half.weights)
		assert.Equal(t, plain.stage0, half.stage0)
		o = keeping(t, place, o.Cache.Folder)
		o.Cache.Precision = "float32"
		assert.Equal(t, plain.weights, keepRun(t, o, trainSet, testSet, nil).weights)
	}
}

// Samples that could not be read have no rows: neither a file nor Shared hands those on.
func TestCacheWithMissingSamples(t *testing.T) {
	trainSet, testSet := keyed{samples: newSamples(1, 40, mixed), key: "train"}, keyed{samples: newSamples(2, 12, mixed), key: "test"}
	folder := t.TempDir()
	o := keeping(t, CacheDisk, folder)
	r := newRun[*rows](train.CPU{}, torch.Float32, newNet(t), missing{trainSet}, testSet, o)
	r.options.Cache.Place = CacheDisk
	plan, err := newPlan(Phase{Train: Top(2), LR: 1, HeadLR: 1, LayerDecay: 1}, r.forward.Stages)
	require.NoError(t, err)
	kept, err := r.chooseCache(plan)
	require.NoError(t, err)
	require.True(t, kept)
	c, err := r.filledCache(t.Context(), plan, r.training(), func(int) error { return nil })
	require.NoError(t, err)
	require.NotNil(t, c.file)
	assert.False(t, c.file.Named)
	assert.Less(t, c.stored, 40)
	c.Close()
	assert.Empty(t, filesOf(t, folder))
}

// missing leaves out sample 3.
type missing struct{ keyed }

func (m missing) Batch(r data.Request) (*rows, error) {
	var some []int
	for _, i := range r.Indices {
		if i != 3 {
			some = append(some, i)
		}
	}
	r.Indices = some
	return m.keyed.Batch(r)
}

// Runs of one process that share memory share files too, and a forecast makes none and sees what is there.
func TestCacheFileBesideShared(t *testing.T) {
	trainSet, testSet := fingerprinted{keyed{samples: newSamples(1, 40, mixed), key: "train"}}, fingerprinted{keyed{samples: newSamples(2, 12, mixed), key: "test"}}
	folder := t.TempDir()
	run := func(o Options) (*events, error) {
		var seen events
		o.OnEvent, o.Folder = seen.add, nil
		_, err := Fit[*rows](t.Context(), newNet(t), trainSet, testSet, o)
		return &seen, err
	}
	var shared Shared
	o := keeping(t, CacheDisk, folder)
	o.Shared = &shared
	for i := range 2 {
		seen, err := run(o)
		require.NoError(t, err)
		assert.Len(t, eventsOf[CacheKept](seen), 2-2*i)
		assert.Empty(t, eventsOf[CacheFound](seen))
		assert.Equal(t, 2*i, shared.Hits)
		assert.Zero(t, shared.held(torch.CPU), "mapped memory is not held")
	}
	entries, err := rowcache.Folder{Path: folder}.List()
	require.NoError(t, err)
	assert.True(t, entries[0].InUse)
	shared.Close()

	before := filesOf(t, folder)
	f, err := EstimateCost[*rows](t.Context(), newNet(t), trainSet, testSet, keeping(t, CacheAuto, folder))
	require.NoError(t, err)
	assert.Zero(t, f.Prefix, "it is there")
	trainSet.key = "other"
	f, err = EstimateCost[*rows](t.Context(), newNet(t), trainSet, testSet, keeping(t, CacheAuto, folder))
	require.NoError(t, err)
	assert.Positive(t, f.Prefix)
	assert.Equal(t, before, filesOf(t, folder))
}

// A forecast writes no more than a few batches of what memory does not hold, and leaves nothing.
func TestForecastOfACacheBeyondMemory(t *testing.T) {
	withLittleMemory(t)
	folder := t.TempDir()
	o, err := keeping(t, CacheAuto, folder).resolved()
	require.NoError(t, err)
	model := newNet(t)
	before := torch.Stats()
	r := newRun[*rows](scarce{}, torch.Float32, model, keyed{samples: newSamples(1, 120, mixed), key: "a"}, keyed{samples: newSamples(2, 12, mixed), key: "b"}, o)
	plan, err := r.plan(o.Phases[0])
	require.NoError(t, err)
	require.True(t, plan.CacheOnDisk)
	f, unwritten, err := r.predict(t.Context(), plan, 0)
	require.NoError(t, err)
	assert.Positive(t, f.Prefix)
	assert.Positive(t, f.Train)
	assert.Zero(t, unwritten)
	assert.Empty(t, filesOf(t, folder))
	requireAtRest(t, model, before)
}

// fingerprinted is keyed with a fingerprint.
type fingerprinted struct{ keyed }

func (n fingerprinted) Fingerprint() string { return n.key }

func TestCachingIsChecked(t *testing.T) {
	for text, c := range map[string]Caching{
		`Cache.Place must be auto, memory or disk, found "here"`:             {Place: "here"},
		"Cache.Place disk needs a Folder":                                    {Place: CacheDisk},
		"Cache.Limit must be 0":                                              {Limit: -1},
		`Cache.Precision must be auto, float32 or bfloat16, found "float16"`: {Precision: "float16"},
		"Cache.Views must be 0 (none) or above, found -1":                    {Views: -1},
	} {
		_, err := Options{Cache: c}.resolved()
		assert.ErrorContains(t, err, text)
	}
}
