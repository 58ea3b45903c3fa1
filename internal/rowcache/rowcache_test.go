package rowcache_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/internal/rowcache"
	"github.com/thaw-ml/thaw/torch/safetensors"
)

// blocks are the rows of a few samples, one of them without any.
var blocks = []int{3, 1, 0, 2}

var values = []rowcache.Value{{safetensors.F32, []int{2}}, {safetensors.BF16, []int{3}}, {safetensors.I64, nil}}

// rowBytes of the values.
var rowBytes = []int{8, 6, 8}

// content is what a block's rows of a value are.
func content(value, block int) []byte {
	return bytes.Repeat([]byte{byte(1 + value*16 + block)}, blocks[block]*rowBytes[value])
}

// write writes a file whole, in a mixed order.
func write(t *testing.T, folder rowcache.Folder, key string) *rowcache.Rows {
	t.Helper()
	w, err := folder.Create(key, rowcache.About{Model: "net \u2028", Data: "a\xffb", Stages: "0 ... 2", Rows: "4 samples"}, blocks, values, false)
	require.NoError(t, err)
	for _, b := range []int{2, 0, 3, 1} {
		for v := range values {
			require.NoError(t, w.Write(v, b, content(v, b)))
		}
	}
	rows, err := w.Commit()
	require.NoError(t, err)
	return rows
}

// requireContent checks all rows.
func requireContent(t *testing.T, rows *rowcache.Rows) {
	t.Helper()
	infos, err := rows.Values()
	require.NoError(t, err)
	require.Len(t, infos, len(values))
	for v, info := range infos {
		want := make([]byte, rowBytes[v]) // padding
		for b := range blocks {
			want = append(want, content(v, b)...)
		}
		require.Equal(t, want, info.Data)
		require.Equal(t, append([]int{7}, values[v].Row...), info.Shape)
		require.True(t, info.Aligned())
	}
}

func names(t *testing.T, folder rowcache.Folder) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(folder.Path)
	require.NoError(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestRowsComeBack(t *testing.T) {
	folder := rowcache.Folder{Path: filepath.Join(t.TempDir(), "a", "b")}
	assert.True(t, folder.Empty())
	_, err := folder.Open("key", blocks, nil)
	require.ErrorIs(t, err, rowcache.ErrAbsent)
	began := time.Now()
	rows := write(t, folder, "key")
	assert.True(t, rows.Named)
	requireContent(t, rows)
	require.NoError(t, rows.Close())
	require.NoError(t, rows.Close())
	assert.Equal(t, []string{"key.safetensors"}, names(t, folder))
	assert.True(t, folder.Has("key"))

	checked := 0
	rows, err = folder.Open("key", blocks, func(n int) { checked += n })
	require.NoError(t, err)
	requireContent(t, rows)
	assert.Equal(t, len(blocks), checked)
	assert.Equal(t, "net \u2028", rows.About.Model)
	assert.WithinDuration(t, began, rows.Made, 2*time.Second)
	rows.Prefetch(1, 2, 7)
	require.NoError(t, rows.Close())

	file, err := safetensors.Open(filepath.Join(folder.Path, "key.safetensors")) // which other programs can read
	require.NoError(t, err)
	assert.Equal(t, "a?b", file.Metadata()["data"])
	require.NoError(t, file.Close())
}

// What was cut off or changed, wherever, is never taken.
func TestDamageIsFound(t *testing.T) {
	folder := rowcache.Folder{Path: t.TempDir()}
	require.NoError(t, write(t, folder, "key").Close())
	path := filepath.Join(folder.Path, "key.safetensors")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	header := 8 + int(binary.LittleEndian.Uint64(whole))
	damaged := func(content []byte, what string) {
		require.NoError(t, os.WriteFile(path, content, 0o644))
		rows, err := folder.Open("key", blocks, nil)
		if err == nil { // in what is for people alone
			requireContent(t, rows)
			require.NoError(t, rows.Close())
			require.NotEqual(t, whole[header:], nil)
			require.Equal(t, whole[header:], content[header:], what)
			return
		}
		_, ok := errors.AsType[*rowcache.DamagedError](err)
		require.True(t, ok, "%s: %v", what, err)
		require.NoFileExists(t, path, what)
	}
	for n := range len(whole) {
		damaged(whole[:n], fmt.Sprint("cut off at ", n))
	}
	for i := range whole {
		for bit := range 8 {
			changed := bytes.Clone(whole)
			changed[i] ^= 1 << bit
			damaged(changed, fmt.Sprint("byte ", i, " bit ", bit))
		}
	}
	require.NoError(t, os.WriteFile(path, whole, 0o644))
	for _, other := range [][]int{{3, 1, 0, 3}, {3, 1, 2}, {1, 3, 0, 2}} {
		_, err := folder.Open("key", other, nil)
		require.Error(t, err)
		require.NoError(t, os.WriteFile(path, whole, 0o644))
	}
	require.NoError(t, os.Rename(path, filepath.Join(folder.Path, "other.safetensors")))
	_, err = folder.Open("other", blocks, nil)
	assert.ErrorContains(t, err, "it is of another key")
}

// A file in which blocks are missing is the process's own.
func TestIncompleteFileHasNoName(t *testing.T) {
	folder := rowcache.Folder{Path: t.TempDir()}
	for _, key := range []string{"key", ""} {
		w, err := folder.Create(key, rowcache.About{}, blocks, values, key == "key")
		require.NoError(t, err)
		for b := range blocks {
			for v := range values {
				if b != 1 || key == "" {
					require.NoError(t, w.Write(v, b, content(v, b)))
				}
			}
		}
		rows, err := w.Commit()
		require.NoError(t, err)
		assert.False(t, rows.Named)
		assert.Empty(t, names(t, folder))
		infos, err := rows.Values()
		require.NoError(t, err)
		assert.Equal(t, content(0, 0), infos[0].Data[8:32])
		require.NoError(t, rows.Close())
	}
}

func TestTwoWriters(t *testing.T) {
	folder := rowcache.Folder{Path: t.TempDir()}
	var all []*rowcache.Rows
	var mutex sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			rows := write(t, folder, "key")
			mutex.Lock()
			defer mutex.Unlock()
			all = append(all, rows)
		})
	}
	wg.Wait()
	named := 0
	for _, rows := range all {
		requireContent(t, rows)
		if rows.Named {
			named++
		}
		require.NoError(t, rows.Close())
	}
	assert.GreaterOrEqual(t, named, 1)
	assert.Equal(t, []string{"key.safetensors"}, names(t, folder))
	rows, err := folder.Open("key", blocks, nil)
	require.NoError(t, err)
	requireContent(t, rows)
	require.NoError(t, rows.Close())
}

// What a process left that was killed goes; what a living one writes or reads stays.
func TestLocks(t *testing.T) {
	folder := rowcache.Folder{Path: t.TempDir()}
	left := filepath.Join(folder.Path, ".writing-LEFT.tmp")
	require.NoError(t, os.WriteFile(left, []byte("half"), 0o644))
	w, err := folder.Create("key", rowcache.About{}, blocks, values, false)
	require.NoError(t, err)
	assert.NoFileExists(t, left)
	folder.Sweep()
	assert.Len(t, names(t, folder), 1)
	w.Abandon()
	w.Abandon()
	assert.Empty(t, names(t, folder))

	rows := write(t, folder, "key")
	assert.ErrorIs(t, folder.Remove("key"), rowcache.ErrInUse)
	again, err := folder.Open("key", blocks, nil)
	require.NoError(t, err)
	require.NoError(t, rows.Close())
	assert.ErrorIs(t, folder.Remove("key"), rowcache.ErrInUse)
	entries, err := folder.List()
	require.NoError(t, err)
	assert.True(t, entries[0].InUse)
	require.NoError(t, again.Close())
	require.NoError(t, folder.Remove("key"))
	assert.ErrorIs(t, folder.Remove("key"), rowcache.ErrAbsent)
	assert.ErrorIs(t, folder.Remove("../key"), rowcache.ErrAbsent)
}

// Files that were used least recently make room, those in use do not.
func TestLimit(t *testing.T) {
	folder := rowcache.Folder{Path: t.TempDir()}
	used := write(t, folder, "used")
	defer used.Close()
	size := used.Bytes
	for i, key := range []string{"old", "new"} {
		require.NoError(t, write(t, folder, key).Close())
		at := time.Now().Add(time.Duration(i-10) * time.Hour)
		require.NoError(t, os.Chtimes(filepath.Join(folder.Path, key+".safetensors"), at, at))
	}
	long := time.Now().Add(-100 * time.Hour)
	require.NoError(t, os.Chtimes(used.Path, long, long))
	folder.Limit = 3*size + size/2
	require.NoError(t, write(t, folder, "more").Close())
	assert.Equal(t, []string{"more.safetensors", "new.safetensors", "used.safetensors"}, names(t, folder))

	rows, err := folder.Open("new", blocks, nil) // which is used last then
	require.NoError(t, err)
	require.NoError(t, rows.Close())
	require.NoError(t, write(t, folder, "most").Close())
	assert.Equal(t, []string{"most.safetensors", "new.safetensors", "used.safetensors"}, names(t, folder))

	folder.Limit = size + size/2
	require.NoError(t, folder.HasRoom(size/2))
	assert.Len(t, names(t, folder), 3)
	_, err = folder.Create("key", rowcache.About{}, blocks, values, false)
	room, ok := errors.AsType[*rowcache.RoomError](err)
	require.True(t, ok, "%v", err)
	assert.ErrorIs(t, err, syscall.ENOSPC)
	assert.True(t, room.Limited)
	assert.Equal(t, size/2, room.Free)
	assert.Len(t, names(t, folder), 3, "nothing is removed where that does not suffice")
}

// failAfter has writes fail after so many.
func failAfter(t *testing.T, last int) {
	calls, before := 0, rowcache.BeforeWrite
	rowcache.BeforeWrite = func() error {
		if calls++; calls > last {
			return syscall.ENOSPC
		}
		return nil
	}
	t.Cleanup(func() { rowcache.BeforeWrite = before })
}

func TestFaultyWrites(t *testing.T) {
	folder := rowcache.Folder{Path: t.TempDir()}
	for last := range len(blocks)*len(values) + 2 {
		failAfter(t, last)
		w, err := folder.Create("key", rowcache.About{}, blocks, values, false)
		require.NoError(t, err)
		for b := range blocks {
			for v := range values {
				if err == nil {
					err = w.Write(v, b, content(v, b))
				}
			}
		}
		if err == nil {
			_, err = w.Commit()
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		w.Abandon()
		assert.Empty(t, names(t, folder))
	}
}

func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mounting a small file system, which root may: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(disk, 0)) })
	folder := rowcache.Folder{Path: filepath.Join(disk, "frozen"), Limit: 1 << 40}
	_, err := folder.Create("key", rowcache.About{}, []int{200_000}, values, false)
	assert.Regexp(t, `^5 MB are needed and 2 MB are free on the disk of .*: 4 MB are missing$`, err.Error())
	folder.Limit = 0
	_, err = folder.Create("key", rowcache.About{}, []int{30_000}, values, false)
	assert.Regexp(t, `^1 MB are needed and 1 MB is what .* may take: 1 MB are missing$`, err.Error())
	assert.Empty(t, names(t, folder))
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "500MB": 500e6, " 1.5 GB ": 15e8, "2GiB": 2 << 30, "0": 0} {
		got, err := rowcache.ParseSize(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "GB", "-1GB", "many", "NaN", "1e300TB"} {
		_, err := rowcache.ParseSize(text)
		assert.Error(t, err, text)
	}
}
