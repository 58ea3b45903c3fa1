package rowcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/internal/parallel"
	"github.com/thaw-ml/thaw/torch/safetensors"
)

// Rows are the rows of an open file, in mapped memory.
type Rows struct {
	Path  string
	About About
	Made  time.Time
	Bytes int64
	Named bool // other processes can open the file
	data  []byte
	file  *os.File // locked
	infos []safetensors.Info
	sums  []byte
}

// Open opens the file of a key, whose blocks have so many rows, and checks all of it. ErrAbsent says that there is none;
// a *DamagedError that it is not what was written: it is removed then, unless a living process reads it.
func (f Folder) Open(key string, blocks []int, progress func(blocks int)) (*Rows, error) {
	path := f.path(key)
	for {
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrAbsent
		}
		if err != nil {
			return nil, err
		}
		if !lockToRead(file) {
			file.Close()
			return nil, ErrAbsent // it is being removed
		}
		if !same(file, path) { // it was removed, or replaced
			file.Close()
			continue
		}
		r, err := open(file, path)
		if err == nil {
			if err = r.check(key, blocks, progress); err != nil {
				r.Close()
			}
		} else {
			file.Close()
		}
		if err != nil {
			_ = removeUnlocked(path) // of which nobody can make use
			return nil, &DamagedError{path, err}
		}
		r.Named = true
		now := time.Now()
		_ = os.Chtimes(path, now, now) // where that is not allowed, the file is among the first to go
		return r, nil
	}
}

// lockToRead takes a reader's lock. Another process has its own for a moment, to see whether there is one.
func lockToRead(file *os.File) bool {
	for range 50 {
		if err := lock(file, syscall.LOCK_SH); !errors.Is(err, ErrInUse) {
			return true // also where the file system has no locks
		}
		time.Sleep(2 * time.Millisecond)
	}
	return false
}

// open maps a file and reads its header.
func open(file *os.File, path string) (*Rows, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return nil, errors.New("it is empty")
	}
	data, err := syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s (%d bytes): %w", path, info.Size(), err)
	}
	r := &Rows{Path: path, Bytes: info.Size(), data: data, file: file}
	return r, nil
}

// parse reads the header.
func (r *Rows) parse() (metadata map[string]string, err error) {
	parsed, err := safetensors.Parse(r.Path, r.data)
	if err != nil {
		return nil, err
	}
	for i := range len(parsed.Names()) - 1 {
		info, ok := parsed.Tensor(valueName(i))
		if !ok {
			return nil, fmt.Errorf("it has no %s", valueName(i))
		}
		r.infos = append(r.infos, info)
	}
	sums, ok := parsed.Tensor(sumsName)
	if !ok || len(r.infos) == 0 {
		return nil, errors.New("it is no file of kept rows")
	}
	r.infos, r.sums = append(r.infos, sums), sums.Data
	return parsed.Metadata(), nil
}

// check makes sure that the file is the one of a key, as it was written.
func (r *Rows) check(key string, blocks []int, progress func(blocks int)) (err error) {
	defer faults(&err)()
	metadata, err := r.parse()
	if err != nil {
		if f, ok := errors.AsType[*safetensors.Error](err); ok {
			return errors.New(f.Msg)
		}
		return err
	}
	r.About, r.Made = aboutOf(metadata)
	switch {
	case metadata[formatKey] != format:
		return fmt.Errorf("its format is %q, not %q", metadata[formatKey], format)
	case metadata[keyKey] != key:
		return errors.New("it is of another key")
	case metadata[sumKey] != sumOf(metadata, r.infos, r.sums):
		return errors.New("its checksums were changed")
	}
	rows := 1
	for _, n := range blocks {
		rows += n
	}
	values := r.infos[:len(r.infos)-1]
	for _, v := range values {
		if len(v.Shape) == 0 || v.Shape[0] != rows || len(r.sums) != 4*len(values)*len(blocks) {
			return fmt.Errorf("it has other rows: %v, not %d", v.Shape, rows)
		}
	}
	return r.checkBlocks(blocks, values, progress)
}

// chunk is about how many bytes are checked at a time.
const chunk = 8 << 20

// checkBlocks compares each block with its checksum, on all cores.
func (r *Rows) checkBlocks(blocks []int, values []safetensors.Info, progress func(blocks int)) error {
	type part struct {
		value, first, end int // blocks
		row               int // of the first
	}
	var parts []part
	for i, v := range values {
		size := len(v.Data) / v.Shape[0]
		if slices.ContainsFunc(v.Data[:size], func(b byte) bool { return b != 0 }) {
			return errors.New("the row of padding is not 0")
		}
		p := part{i, 0, 0, 1}
		for b, row := 0, 1; b < len(blocks); b++ {
			row += blocks[b]
			if (row-p.row)*size >= chunk || b == len(blocks)-1 {
				p.end = b + 1
				parts = append(parts, p)
				p = part{i, b + 1, 0, row}
			}
		}
	}
	bad := atomic.Int64{}
	bad.Store(-1)
	done := make(chan int, len(parts)) // blocks of the first value
	go func() {
		defer close(done)
		parallel.Each(len(parts), func(k int) {
			p := parts[k]
			at := p.first
			var err error
			func() {
				defer faults(&err)()
				v := values[p.value]
				size, row := len(v.Data)/v.Shape[0], p.row
				r.advise(v.Data[row*size : min(len(v.Data), row*size+chunk)])
				for ; at < p.end; at++ {
					data := v.Data[row*size : (row+blocks[at])*size]
					row += blocks[at]
					if crc32.Checksum(data, castagnoli) != binary.LittleEndian.Uint32(r.sums[4*(p.value*len(blocks)+at):]) {
						err = errors.New("changed")
						return
					}
				}
			}()
			if err != nil {
				bad.Store(int64(at))
			}
			if p.value == 0 {
				done <- p.end - p.first
			}
		})
	}()
	for n := range done {
		if progress != nil {
			progress(n)
		}
	}
	if at := bad.Load(); at >= 0 {
		return fmt.Errorf("the rows of sample %d were changed or are torn", int(at)%len(blocks))
	}
	return nil
}

// faults turns a fault of mapped memory, as of a file that was cut off or a disk that does not answer, into an error:
// defer faults(&err)().
func faults(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			if _, ok := p.(interface{ Addr() uintptr }); !ok {
				panic(p)
			}
			*err = errors.New("it cannot be read, or was cut off")
		}
	}
}

// Values are the tensors' shapes, dtypes and rows, which must not be written and are gone after Close.
func (r *Rows) Values() ([]safetensors.Info, error) {
	if r.infos == nil {
		if _, err := r.parse(); err != nil {
			return nil, err
		}
	}
	return r.infos[:len(r.infos)-1], nil
}

// Prefetch has the system read the rows from (included) to to (not included) of a value soon.
func (r *Rows) Prefetch(value, from, to int) {
	v := r.infos[value]
	size := len(v.Data) / v.Shape[0]
	r.advise(v.Data[from*size : to*size])
}

// advise has the system read a part of the file soon.
func (r *Rows) advise(part []byte) {
	if len(part) == 0 {
		return
	}
	start := int(uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(r.data))))
	end := start + len(part)
	start -= start % os.Getpagesize()
	_ = syscall.Madvise(r.data[start:end], syscall.MADV_WILLNEED) // it is advice
}

// Close unmaps the rows.
func (r *Rows) Close() error {
	if r == nil || r.data == nil {
		return nil
	}
	err := syscall.Munmap(r.data)
	r.data, r.infos, r.sums = nil, nil, nil
	if closed := r.file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("unmap %s: %w", r.Path, fserror.WithoutPath(err))
	}
	return nil
}

// aboutOf reads what a file says for people.
func aboutOf(metadata map[string]string) (About, time.Time) {
	made, _ := time.Parse(time.RFC3339, metadata[madeKey]) // the zero time where it says nothing
	return About{metadata[modelKey], metadata[dataKey], metadata[stagesKey], metadata[rowsKey]}, made
}
