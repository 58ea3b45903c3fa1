package rowcache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/thaw-ml/thaw/internal/diskspace"
	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch/safetensors"
)

// Value is one of the tensors that rows are kept of: [rows, Row...].
type Value struct {
	DType safetensors.DType
	Row   []int
}

// rowBytes is the size of one row.
func (v Value) rowBytes() int64 {
	n, _ := v.DType.ByteSize(v.Row) // which NewLayout has checked
	return int64(n)
}

// format is that of the file; a program reads its own alone.
const format = "thaw frozen rows 1"

// The keys of the metadata.
const (
	formatKey = "format"
	keyKey    = "key"
	modelKey  = "model"
	dataKey   = "data"
	stagesKey = "stages"
	rowsKey   = "rows"
	madeKey   = "made"
	sumKey    = "sum" // of all that says what the rows are
)

// sumsName is the tensor of the blocks' checksums, [values, blocks].
const sumsName = "sums"

func valueName(i int) string { return fmt.Sprintf("rows.%d", i) }

// castagnoli is the polynomial that processors have an instruction for.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Writer writes a file block by block, in any order. It is for one goroutine.
type Writer struct {
	folder   Folder
	key      string
	blocks   []int // rows of each
	starts   []int // of each block's rows; row 0 is zeros
	values   []Value
	layout   safetensors.Layout
	infos    []safetensors.Info
	metadata map[string]string
	file     *os.File // the temporary one, locked
	sums     []byte   // the tensor
	written  []bool   // blocks, of each value
	left     int      // that are not written
}

// BeforeWrite is for tests: an error of it is that of a write.
var BeforeWrite = func() error { return nil }

func (w *Writer) writeAt(data []byte, offset int64) (int, error) {
	if err := BeforeWrite(); err != nil {
		return 0, err
	}
	return w.file.WriteAt(data, offset)
}

// Create begins the file of a key, of blocks of so many rows, and takes the space for it; row 0, before the first
// block's, is zeros. The file of the key "" is this process's alone. A *RoomError says how much is missing. With sparse
// the space is not taken: for files of which little is written.
func (f Folder) Create(key string, about About, blocks []int, values []Value, sparse bool) (_ *Writer, err error) {
	w := &Writer{folder: f, key: key, blocks: blocks, values: values}
	rows := 1
	for _, n := range blocks {
		w.starts = append(w.starts, rows)
		rows += n
	}
	for i, v := range values {
		info := safetensors.Info{Name: valueName(i), DType: v.DType, Shape: append([]int{rows}, v.Row...)}
		w.infos = append(w.infos, info)
	}
	w.infos = append(w.infos, safetensors.Info{Name: sumsName, DType: safetensors.U32, Shape: []int{len(values), len(blocks)}})
	w.left = len(values) * len(blocks)
	w.written, w.sums = make([]bool, w.left), make([]byte, 4*w.left)
	w.metadata = map[string]string{
		formatKey: format, keyKey: key, modelKey: about.Model, dataKey: about.Data, stagesKey: about.Stages, rowsKey: about.Rows,
		madeKey: time.Now().UTC().Format(time.RFC3339), sumKey: strings.Repeat("0", 2*sha256.Size),
	}
	for k, v := range w.metadata {
		w.metadata[k] = strings.ToValidUTF8(v, "?")
	}
	if w.layout, err = safetensors.NewLayout(w.infos, w.metadata); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(f.Path, 0o755); err != nil {
		return nil, err
	}
	f.Sweep()
	if !sparse {
		if err := f.Room(w.layout.Size); err != nil {
			return nil, err
		}
	}
	if w.file, err = create(f.Path); err != nil {
		return nil, err
	}
	if err := w.allocate(sparse); err != nil {
		w.Abandon()
		return nil, err
	}
	return w, nil
}

// create makes a new temporary file and locks it.
func create(folder string) (*os.File, error) {
	for {
		path := filepath.Join(folder, tempPrefix+rand.Text()+tempSuffix)
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return nil, err
		}
		if err := lock(file, syscall.LOCK_EX); err == nil && same(file, path) {
			return file, nil
		} else if err != nil && !errors.Is(err, ErrInUse) { // a file system without locks: nobody can sweep there
			return file, nil
		}
		file.Close() // another process took it for one that was left
		_ = os.Remove(path)
	}
}

// same reports whether a path still names an open file.
func same(file *os.File, path string) bool {
	a, err := file.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

// allocate takes the file's space.
func (w *Writer) allocate(sparse bool) error {
	if sparse {
		return w.file.Truncate(w.layout.Size)
	}
	err := syscall.Fallocate(int(w.file.Fd()), 0, 0, w.layout.Size)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return w.file.Truncate(w.layout.Size)
	}
	if errors.Is(err, syscall.ENOSPC) {
		free, failed := diskspace.Free(w.folder.Path)
		if failed != nil || free >= w.layout.Size { // a quota
			return fmt.Errorf("%s are needed: %w", quantity.Bytes(w.layout.Size), err)
		}
		return &RoomError{Folder: w.folder.Path, Needed: w.layout.Size, Free: free}
	}
	return err
}

// Write writes a block's rows of one value.
func (w *Writer) Write(value, block int, rows []byte) error {
	size := w.values[value].rowBytes()
	if int64(len(rows)) != int64(w.blocks[block])*size {
		return fmt.Errorf("block %d has %d rows of %d bytes, got %d bytes", block, w.blocks[block], size, len(rows))
	}
	if _, err := w.writeAt(rows, w.layout.Offsets[valueName(value)]+int64(w.starts[block])*size); err != nil {
		return w.told(err)
	}
	at := value*len(w.blocks) + block
	binary.LittleEndian.PutUint32(w.sums[4*at:], crc32.Checksum(rows, castagnoli))
	if !w.written[at] {
		w.written[at] = true
		w.left--
	}
	return nil
}

func (w *Writer) told(err error) error {
	return fmt.Errorf("writing %s: %w", w.folder.path(w.key), fserror.WithoutPath(err))
}

// Commit gives the file its name and opens it. Where another process was faster, its file stays and this one's has no
// name; nor has one whose blocks were not all written. Such a file goes when it is closed.
func (w *Writer) Commit() (*Rows, error) {
	named, err := w.left == 0 && w.key != "", error(nil)
	if named {
		err = w.finish()
	} else {
		_, err = w.writeAt(w.layout.Header, 0)
	}
	if err != nil {
		w.Abandon()
		return nil, w.told(err)
	}
	if named {
		named = w.rename()
	}
	if !named {
		_ = os.Remove(w.file.Name())
	}
	r, err := open(w.file, w.folder.path(w.key))
	if err != nil {
		w.Abandon()
		return nil, err
	}
	w.file = nil // which the rows have
	r.Named = named
	return r, nil
}

// finish writes what the file begins with, and has all on the disk.
func (w *Writer) finish() error {
	w.metadata[sumKey] = sumOf(w.metadata, w.infos, w.sums)
	final, err := safetensors.NewLayout(w.infos, w.metadata)
	if err != nil {
		return err
	}
	if _, err := w.writeAt(w.sums, w.layout.Offsets[sumsName]); err != nil {
		return err
	}
	if _, err := w.writeAt(final.Header, 0); err != nil {
		return err
	}
	return w.file.Sync()
}

// rename gives the file its name, unless there is one of that name or something is in the way.
func (w *Writer) rename() (named bool) {
	path := w.folder.path(w.key)
	if _, err := os.Stat(path); err == nil {
		return false
	}
	_ = lock(w.file, syscall.LOCK_SH) // from the writer's lock to a reader's; nobody else has one
	if err := os.Rename(w.file.Name(), path); err != nil {
		return false
	}
	if d, err := os.Open(w.folder.Path); err == nil {
		_ = d.Sync() // some file systems cannot; where the name is lost, the rows are computed again
		d.Close()
	}
	return true
}

// Abandon removes what was written. After Commit it does nothing.
func (w *Writer) Abandon() {
	if w == nil || w.file == nil {
		return
	}
	_ = os.Remove(w.file.Name())
	w.file.Close()
	w.file = nil
}

// sumOf is a hash of all that says what a file's rows are.
func sumOf(metadata map[string]string, infos []safetensors.Info, sums []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q\n", metadata[formatKey], metadata[keyKey])
	for _, info := range infos {
		fmt.Fprintln(h, info.Name, info.DType, info.Shape)
	}
	h.Write(sums)
	return hex.EncodeToString(h.Sum(nil))
}
