package finetune

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/internal/rowcache"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/safetensors"
)

// Where Caching keeps rows.
const (
	CacheAuto   = "auto"
	CacheMemory = "memory"
	CacheDisk   = "disk"
)

// Caching says how the frozen stages' output is kept, where Options.NoCache does not say that it is not. The zero value
// keeps it in memory where it takes no more than half of what is free, as the stages give it.
type Caching struct {
	// Place is "auto", the default: in memory where that suffices, and else in a file; "memory"; or "disk": in a file that
	// later runs read, which freeze the same weights and read the same data. Files that earlier runs left are read with
	// "auto" too. Memory that a file is mapped to is the system's to take back.
	Place string
	// Folder has the files; "", the default, keeps none and reads none. Any number of processes may share it.
	Folder string
	// Limit is the most bytes that the files of Folder may take; those that were used least recently are removed for new
	// ones. 0 stands for half of what would be free on the disk without them.
	Limit int64
	// Precision of what is kept: "float32", "bfloat16", which takes half of the place and rounds, or "auto", the default:
	// as the stages give it.
	Precision string
	// Views keeps, of training samples that are augmented, so many views of each: epoch e sees view e modulo Views, which
	// is what the samples are in that one of the first epochs. 0, the default, keeps nothing of augmented samples.
	Views int
	// Model and Data say for people, in a list of Folder, what files are of.
	Model, Data string
}

// dtype of what is kept; 0 as it comes.
func (c Caching) dtype() torch.DType {
	switch c.Precision {
	case "bfloat16":
		return torch.BFloat16
	case "float32":
		return torch.Float32
	}
	return 0
}

// resolve fills in the defaults and checks the values.
func (c *Caching) resolve() error {
	orDefault(&c.Place, CacheAuto)
	orDefault(&c.Precision, "auto")
	switch {
	case !slices.Contains([]string{CacheAuto, CacheMemory, CacheDisk}, c.Place):
		return fault("Place", "must be auto, memory or disk, found %q", c.Place)
	case c.Place == CacheDisk && c.Folder == "":
		return fault("Place", "disk needs a Folder")
	case c.Limit < 0:
		return fault("Limit", "must be 0 (half of the disk's free space) or above, found %d", c.Limit)
	case !slices.Contains([]string{"auto", "float32", "bfloat16"}, c.Precision):
		return fault("Precision", "must be auto, float32 or bfloat16, found %q", c.Precision)
	case c.Views < 0:
		return fault("Views", "must be 0 (none) or above, found %d", c.Views)
	}
	return nil
}

func (c Caching) folder() rowcache.Folder { return rowcache.Folder{Path: c.Folder, Limit: c.Limit} }

// chooseDisk decides whether a plan's cache lies in files.
func (r *run[B]) chooseDisk(plan *Plan) {
	plan.CacheOnDisk, plan.noRoom = false, nil
	c := r.options.Cache
	if c.Folder == "" || c.Place == CacheMemory || c.Place == CacheAuto && plan.inMemory || r.options.Group != nil {
		return
	}
	if plan.noRoom = c.folder().HasRoom(plan.CacheBytes); plan.noRoom != nil && r.hasKept(plan) {
		plan.noRoom = nil
	}
	plan.CacheOnDisk = plan.noRoom == nil
}

// hasKept reports whether earlier runs have left all that a plan keeps.
func (r *run[B]) hasKept(plan *Plan) bool {
	has := func(of split[B]) bool {
		key, _ := r.fileKey(plan, of)
		return key != "" && r.options.Cache.folder().Has(key)
	}
	return has(r.training()) && (r.testLen() == 0 || has(r.testing()))
}

// keptError is a file of rows that cannot be written.
type keptError struct{ err error }

func (e *keptError) Error() string { return e.err.Error() }
func (e *keptError) Unwrap() error { return e.err }

// openKept opens what an earlier run left; nil where there is nothing. Processes that train together do where all of
// them have it.
func (r *run[B]) openKept(plan *Plan, of split[B], done func(samples int) error) (*cache[B], error) {
	if r.options.Cache.Place == CacheMemory {
		return nil, nil
	}
	c, err := r.openFile(plan, of, done)
	g := r.options.Group
	if g == nil {
		return c, err
	}
	if err = g.Agree("opening kept output", err); err == nil {
		var missing bool
		if missing, err = g.Any("looking for kept output", c == nil); err == nil && !missing {
			return c, nil
		}
	}
	c.Close()
	return nil, err
}

// openFile is openKept for one process.
func (r *run[B]) openFile(plan *Plan, of split[B], done func(samples int) error) (*cache[B], error) {
	folder := r.options.Cache.folder()
	if folder.Path == "" || folder.Empty() {
		return nil, nil
	}
	key, _ := r.fileKey(plan, of)
	if key == "" || !folder.Has(key) {
		return nil, nil
	}
	c, _ := r.newCache(plan, of)
	var stopped error
	rows, err := folder.Open(key, c.blocks(plan, of.set), func(n int) {
		if done != nil && stopped == nil {
			stopped = done(n)
		}
	})
	if stopped != nil {
		rows.Close()
		return nil, stopped
	}
	if errors.Is(err, rowcache.ErrAbsent) {
		return nil, nil
	}
	if err == nil {
		err = c.use(rows)
	}
	if damaged, ok := errors.AsType[*rowcache.DamagedError](err); ok {
		return nil, r.warn(train.NotCached,
			"kept output of the frozen stages is not as it was written, and is computed again: %v", damaged)
	}
	if err != nil {
		return nil, r.warn(train.NotCached, "kept output of the frozen stages cannot be read, and is computed again: %v", err)
	}
	return c, r.emit(CacheFound{rows.Path, rows.Bytes, rows.Made})
}

// filledCache computes what is kept of a data set; nil where there is no place for it after all.
func (r *run[B]) filledCache(
	ctx context.Context, plan *Plan, of split[B], done func(samples int) error,
) (*cache[B], error) {
	if plan.CacheOnDisk {
		c, err := r.fillFile(ctx, plan, of, done)
		failed, ok := errors.AsType[*keptError](err)
		if c != nil || !ok && err != nil {
			return c, err
		}
		instead := "it is kept in memory"
		if !plan.inMemory {
			instead = "it is not kept, the stages run at every step"
		}
		if ok {
			err = r.warn(train.NotCached, "the frozen stages' output cannot be kept on disk, %s: %v", instead, failed)
		}
		if err != nil || !plan.inMemory {
			return nil, err
		}
	}
	c, total := r.newCache(plan, of)
	full := false
	defer func() {
		if !full { // an error, or a panic of the model's
			c.Close()
		}
	}()
	if err := r.fillCache(ctx, plan, of, c, total, done); err != nil {
		return nil, err
	}
	full = true
	return c, nil
}

// fillFile is filledCache with the rows in a file. Its error is a *keptError where the file cannot be written. Nothing
// is done, and the cache is nil, where memory does as well as a file that no other run could read.
func (r *run[B]) fillFile(
	ctx context.Context, plan *Plan, of split[B], done func(samples int) error,
) (_ *cache[B], err error) {
	key, why := r.fileKey(plan, of)
	if r.verify {
		key, why = "", "nothing is written"
	}
	if key == "" && plan.inMemory {
		if r.verify {
			return nil, nil
		}
		return nil, r.warn(train.NotCached, "the frozen stages' output is kept in memory, not on disk: %s", why)
	}
	c, total := r.newCache(plan, of)
	full := false
	defer func() {
		if !full {
			c.Close()
		}
	}()
	if err := r.newFile(plan, of, c, key, false); err != nil {
		return nil, err
	}
	if err := r.fillCache(ctx, plan, of, c, total, done); err != nil {
		return nil, err
	}
	if err := c.mapFile(); err != nil {
		return nil, err
	}
	full = true
	if c.file == nil || !c.file.Named {
		return c, nil
	}
	if err := r.emit(CacheKept{c.file.Path, c.file.Bytes}); err != nil {
		full = false
		return nil, err
	}
	return c, nil
}

// newFile gives a cache a file to write to.
func (r *run[B]) newFile(plan *Plan, of split[B], c *cache[B], key string, sparse bool) (err error) {
	o := r.options.Cache
	var values []rowcache.Value
	for _, v := range c.values {
		values = append(values, rowcache.Value{DType: stored[v.kept], Row: v.row})
	}
	about := rowcache.About{Model: o.Model, Data: o.Data, Stages: plan.frozenStages()}
	about.Rows = fmt.Sprintf("%d samples", of.set.Len())
	if c.views > 1 {
		about.Rows = fmt.Sprintf("%d views of %s", c.views, about.Rows)
	}
	if c.writer, err = o.folder().Create(key, about, c.blocks(plan, of.set), values, sparse); err != nil {
		return &keptError{err}
	}
	return nil
}

// frozenStages names the stages whose output is kept.
func (p *Plan) frozenStages() string {
	first, last := p.Stages[0].Name, p.Stages[p.NumFrozen-1].Name
	if p.NumFrozen == 1 {
		return first
	}
	return first + " ... " + last
}

// stored are the dtypes by their names in files.
var stored = map[torch.DType]safetensors.DType{
	torch.Bool: safetensors.Bool, torch.Uint8: safetensors.U8, torch.Int8: safetensors.I8, torch.Int16: safetensors.I16,
	torch.Int32: safetensors.I32, torch.Int64: safetensors.I64, torch.Float16: safetensors.F16,
	torch.BFloat16: safetensors.BF16, torch.Float32: safetensors.F32, torch.Float64: safetensors.F64,
}

// blocks are the rows of each sample of each view.
func (c *cache[B]) blocks(plan *Plan, set data.Dataset[B]) []int {
	blocks := make([]int, len(c.starts))
	for i := range blocks {
		blocks[i] = plan.keptRows(set.Length(i % c.samples))
	}
	return blocks
}

// write writes the rows of a batch's samples to the file.
func (c *cache[B]) write(value int, b B, rows torch.Tensor) error {
	data, lengths := rows.Contiguous().SharedBytes(), c.lengths(b)
	row := int(c.values[value].bytes())
	for k, sample := range b.Indices() {
		n := row
		if lengths != nil {
			n = row * lengths[k]
		}
		if err := c.writer.Write(value, c.view*c.samples+sample, data[:n]); err != nil {
			return &keptError{err}
		}
		data = data[n:]
	}
	return nil
}

// mapFile ends the writing of a cache's file and reads it from then on. Without a file it does nothing.
func (c *cache[B]) mapFile() error {
	if c.writer == nil {
		return nil
	}
	rows, err := c.writer.Commit()
	if err == nil {
		c.writer = nil
		err = c.use(rows)
	}
	if err != nil {
		return &keptError{err}
	}
	return nil
}

// use takes the rows of a file: as they are mapped, or on a device where they are to lie.
func (c *cache[B]) use(file *rowcache.Rows) error {
	c.file = file
	infos, err := file.Values()
	if err == nil && len(infos) != len(c.values) {
		err = fmt.Errorf("%s has %d values, not %d", file.Path, len(infos), len(c.values))
	}
	for i := 0; i < len(infos) && err == nil; i++ {
		info, v := infos[i], c.values[i]
		if info.DType != stored[v.kept] || !slices.Equal(info.Shape[1:], v.row) {
			err = fmt.Errorf("%s has rows %s %v, not %v %v", file.Path, info.DType, info.Shape[1:], v.kept, v.row)
			break
		}
		// Outside inference mode, so that autograd may save them.
		c.rows = append(c.rows, torch.NewParam(func() torch.Tensor {
			return torch.FromMapped(info.Data, v.kept, info.Shape...)
		}))
	}
	if err != nil {
		c.Close()
		return err
	}
	if c.device.Type == torch.CPUType {
		return nil
	}
	for i, mapped := range c.rows {
		c.rows[i] = torch.NewParam(func() torch.Tensor { return mapped.ToDevice(c.device) })
		mapped.Close()
	}
	return nil
}
