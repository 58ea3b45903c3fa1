// Package rowcache keeps rows of numbers in files, one file for each key, for programs that would compute them again: a
// folder that any number of processes share, limited in size, from which what was used least recently goes first.
//
// A file is a safetensors file. It is written under a temporary name, flushed to the disk and then renamed, so that it
// is there whole or not at all. Each block of rows has a checksum, and all are checked when a file is opened: what was
// torn or changed is a *DamagedError, never rows. Locks (flock) tell files that a living process writes or reads from
// those that a process left that was killed.
package rowcache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/internal/diskspace"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch/safetensors"
)

// Folder is where files are kept.
type Folder struct {
	Path string
	// Limit is the most bytes that all files together may take; 0 stands for half of what would be free on the disk
	// without them.
	Limit int64
}

// suffix ends the name of a file that is whole; before it stands the key.
const suffix = ".safetensors"

// Temporary files begin and end so.
const (
	tempPrefix = ".writing-"
	tempSuffix = ".tmp"
)

// About says what a file holds, for people.
type About struct {
	Model  string // "bert-base-uncased", say
	Data   string
	Stages string // "embeddings ... layer.9", say
	Rows   string // how many of what
}

// Entry is a file of a folder.
type Entry struct {
	Key      string
	About    About
	Bytes    int64
	Made     time.Time
	LastUsed time.Time
	InUse    bool // by a living process
}

// ErrInUse says that a living process reads a file.
var ErrInUse = errors.New("a run uses it")

// ErrAbsent says that there is no file of a key.
var ErrAbsent = errors.New("nothing is kept under this key")

// DamagedError is a file that is not as it was written.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap gives Err.
func (e *DamagedError) Unwrap() error { return e.Err }

// RoomError is a file for which there is no room.
type RoomError struct {
	Folder  string
	Needed  int64
	Free    int64 // on the disk, or of what the folder may take
	Limited bool  // Free is of what the folder may take
}

func (e *RoomError) Error() string {
	where := "are free on the disk of " + e.Folder
	if e.Limited {
		where = "is what " + e.Folder + " may take"
	}
	return fmt.Sprintf("%s are needed and %s %s: %s are missing", quantity.Bytes(e.Needed), quantity.Bytes(e.Free), where, quantity.Bytes(e.Needed-e.Free))
}

// Unwrap gives ENOSPC.
func (e *RoomError) Unwrap() error { return syscall.ENOSPC }

// ParseSize reads a number of bytes such as 500MB, 20GB or 20GiB.
func ParseSize(s string) (int64, error) {
	units := []struct {
		name  string
		bytes float64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"B", 1}}
	number, unit := strings.TrimSpace(s), 1.0
	for _, u := range units {
		if n, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(n), u.bytes
			break
		}
	}
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || !(x >= 0) || x*unit > 1<<62 {
		return 0, fmt.Errorf("expected a size such as 500MB or 20GB, found %q", s)
	}
	return int64(x * unit), nil
}

func (f Folder) path(key string) string { return filepath.Join(f.Path, key+suffix) }

// Has reports whether there is a file of a key, whole or damaged.
func (f Folder) Has(key string) bool {
	_, err := os.Stat(f.path(key))
	return err == nil
}

// Empty reports whether there is no file at all.
func (f Folder) Empty() bool {
	files, err := f.files()
	return err != nil || len(files) == 0
}

// files lists the files that are whole, the least recently used first.
func (f Folder) files() (files []fs.FileInfo, err error) {
	entries, err := os.ReadDir(f.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && strings.HasSuffix(e.Name(), suffix) {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	return files, nil
}

// List describes all files, the one that was used last first.
func (f Folder) List() ([]Entry, error) {
	files, err := f.files()
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, info := range slices.Backward(files) {
		key := strings.TrimSuffix(info.Name(), suffix)
		e := Entry{Key: key, Bytes: info.Size(), LastUsed: info.ModTime(), InUse: f.inUse(f.path(key))}
		if file, err := safetensors.Open(f.path(key)); err == nil {
			e.About, e.Made = aboutOf(file.Metadata())
			file.Close()
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Remove removes the file of a key; of one that a living process reads the error is ErrInUse.
func (f Folder) Remove(key string) error {
	if key != filepath.Base(key) {
		return ErrAbsent
	}
	return removeFile(f.path(key))
}

// removeUnlocked removes a file, if it is there and no process has it locked.
func removeUnlocked(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrAbsent
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if err := lock(file, syscall.LOCK_EX); err != nil {
		return err
	}
	return os.Remove(path)
}

// lock takes a lock without waiting: ErrInUse where another has it.
func lock(file *os.File, how int) error {
	err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}

func (f Folder) inUse(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	return errors.Is(lock(file, syscall.LOCK_EX), ErrInUse)
}

// Sweep removes what processes left that were killed while they wrote.
func (f Folder) Sweep() {
	left, _ := filepath.Glob(filepath.Join(f.Path, tempPrefix+"*"+tempSuffix)) // a pattern that is one
	for _, path := range left {
		_ = removeUnlocked(path) // one that is locked is being written; another process may be removing it too
	}
	left, _ = filepath.Glob(filepath.Join(f.Path, atomicfile.TempPrefix+"*"+atomicfile.TempSuffix))
	for _, path := range left { // notes, which are written in no time
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = os.Remove(path)
		}
	}
}

// Room makes room for a file of so many bytes by removing those that were used least recently and that nobody reads. An
// error, a *RoomError mostly, says that there is none; nothing was removed then.
func (f Folder) Room(bytes int64) error { return f.room(bytes, true) }

// HasRoom is Room without removing anything.
func (f Folder) HasRoom(bytes int64) error { return f.room(bytes, false) }

func (f Folder) room(bytes int64, remove bool) error {
	files, err := f.files()
	if err != nil {
		return err
	}
	free, err := diskspace.Free(f.Path)
	if err != nil {
		return err
	}
	held, fixed := int64(0), int64(0)
	var old []fs.FileInfo // those that may go
	for _, info := range files {
		held += info.Size()
		if f.inUse(filepath.Join(f.Path, info.Name())) {
			fixed += info.Size()
		} else {
			old = append(old, info)
		}
	}
	limit := f.Limit
	if limit == 0 {
		limit = (free + held) / 2
	}
	if within := limit - fixed; bytes > within {
		return &RoomError{Folder: f.Path, Needed: bytes, Free: max(0, within), Limited: true}
	}
	if all := free + held - fixed; bytes > all {
		return &RoomError{Folder: f.Path, Needed: bytes, Free: all}
	}
	for _, info := range old {
		if held+bytes <= limit && bytes <= free {
			break
		}
		held, free = held-info.Size(), free+info.Size()
		if remove {
			_ = removeFile(filepath.Join(f.Path, info.Name())) // one that is being opened stays
		}
	}
	return nil
}
