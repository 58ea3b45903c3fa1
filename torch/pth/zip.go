package pth

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"slices"
	"unicode/utf8"
)

// The limits of the archive. An entry of the directory takes 46 bytes of the file or more, and less than 100 of memory.
const (
	maxEntries  = 1 << 18
	maxInflated = 16 << 20 // bytes of a compressed data.pkl; torch.save compresses nothing
	maxVersion  = 10       // of the format (torch 2.11, caffe2/serialize/versions.h, kMaxSupportedFileFormatVersion)
)

// archive is the directory of a zip file. Checksums are not compared, as torch.load does not either:
// torch.save can be told not to compute them.
type archive struct {
	path    string
	data    []byte
	entries []entry // by name
	prefix  string  // of every record: the archive's own name and a slash
}

type entry struct {
	name       []byte // in the file
	header     int    // where the local header is
	begin, end int    // of the bytes in the file
	size       int    // of the content
	deflated   bool
}

func (a *archive) fail(name []byte, format string, args ...any) error {
	return &Error{File: a.path, Record: string(name[:min(len(name), 300)]), Offset: -1, Msg: sprintf(format, args...)}
}

// openArchive reads the directory and checks that every entry lies in the file, and no two over one another.
func openArchive(path string, data []byte) (*archive, error) {
	a := &archive{path: path, data: data}
	count, begin, end, err := a.directory()
	if err != nil {
		return nil, err
	}
	a.entries = make([]entry, 0, count)
	at := begin
	for range count {
		var e entry
		if e, at, err = a.entry(at, end); err != nil {
			return nil, err
		}
		a.entries = append(a.entries, e)
	}
	if at != end {
		return nil, a.fail(nil, "the zip directory's size is %d, and its entries take %d", end-begin, at-begin)
	}
	if slash := bytes.IndexByte(a.entries[0].name, '/'); slash >= 0 {
		a.prefix = string(a.entries[0].name[:slash+1])
	}
	slices.SortFunc(a.entries, func(x, y entry) int { return x.header - y.header })
	for i, e := range a.entries {
		next := begin
		if i+1 < len(a.entries) {
			next = a.entries[i+1].header
		}
		if e.end > next {
			return nil, a.fail(e.name, "bytes %d to %d overlap what starts at %d", e.header, e.end, next)
		}
	}
	slices.SortFunc(a.entries, func(x, y entry) int { return bytes.Compare(x.name, y.name) })
	for i := 1; i < len(a.entries); i++ {
		if bytes.Equal(a.entries[i-1].name, a.entries[i].name) {
			return nil, a.fail(a.entries[i].name, "is in the zip directory twice")
		}
	}
	return a, nil
}

// directory finds the directory by the record at the file's end (APPNOTE.TXT 6.3.10, 4.3.14 to 4.3.16).
func (a *archive) directory() (count, begin, end int, err error) {
	const endSize, locatorSize, end64Size = 22, 20, 56
	fail := func(format string, args ...any) (int, int, int, error) {
		return 0, 0, 0, a.fail(nil, format, args...)
	}
	at := len(a.data) - endSize
	for ; ; at-- {
		if at < 0 || at < len(a.data)-endSize-0xffff {
			return fail("the zip archive's directory is not at the end of the file: truncated?")
		}
		if bytes.HasPrefix(a.data[at:], []byte("PK\x05\x06")) && at+endSize+int(u16(a.data[at+20:])) == len(a.data) {
			break
		}
	}
	r := a.data[at:]
	disks := uint64(u16(r[4:])) | uint64(u16(r[6:]))
	n, size, offset := uint64(u16(r[10:])), uint64(u32(r[12:])), uint64(u32(r[16:]))
	if locator := at - locatorSize; locator >= 0 && bytes.HasPrefix(a.data[locator:], []byte("PK\x06\x07")) {
		at64 := u64(a.data[locator+8:])
		if at64 > uint64(locator) || uint64(locator)-at64 < end64Size || !bytes.HasPrefix(a.data[at64:], []byte("PK\x06\x06")) {
			return fail("the zip64 end record is not at byte %d", at64)
		}
		r = a.data[at64:]
		disks = uint64(u32(r[16:])) | uint64(u32(r[20:]))
		n64, size64, offset64 := u64(r[32:]), u64(r[40:]), u64(r[48:])
		if n != 0xffff && n != n64 || size != 0xffffffff && size != size64 || offset != 0xffffffff && offset != offset64 {
			return fail("the zip directory and the zip64 directory differ")
		}
		n, size, offset, at = n64, size64, offset64, int(at64)
	}
	switch {
	case disks != 0:
		return fail("the zip archive is split over several files")
	case offset > uint64(at) || size > uint64(at)-offset:
		return fail("the zip directory, %d bytes from byte %d, reaches past byte %d, where it must have ended", size, offset, at)
	case n == 0:
		return fail("the zip archive is empty")
	case n > maxEntries:
		return fail("the zip archive has %d entries, the limit is %d", n, maxEntries)
	case n*46 > size:
		return fail("the zip directory has %d bytes, too few for %d entries", size, n)
	}
	return int(n), int(offset), int(offset + size), nil
}

// entry reads one entry of the directory, at at, and its local header.
func (a *archive) entry(at, end int) (entry, int, error) {
	const centralSize, localSize = 46, 30
	r := a.data[at:end]
	if len(r) < centralSize || !bytes.HasPrefix(r, []byte("PK\x01\x02")) {
		return entry{}, 0, a.fail(nil, "byte %d is no entry of the zip directory", at)
	}
	flags, method := u16(r[8:]), u16(r[10:])
	stored, size, header := uint64(u32(r[20:])), uint64(u32(r[24:])), uint64(u32(r[42:]))
	nameLen, extraLen, commentLen := int(u16(r[28:])), int(u16(r[30:])), int(u16(r[32:]))
	length := centralSize + nameLen + extraLen + commentLen
	if len(r) < length {
		return entry{}, 0, a.fail(nil, "the zip directory's entry at byte %d reaches past its end", at)
	}
	e := entry{name: r[centralSize : centralSize+nameLen]}
	fail := func(format string, args ...any) (entry, int, error) {
		return entry{}, 0, a.fail(e.name, format, args...)
	}
	if !fits64(r[centralSize+nameLen:centralSize+nameLen+extraLen], &size, &stored, &header) {
		return fail("its zip64 sizes are missing")
	}
	if !safeName(e.name) {
		return fail("leads out of the archive, or is no name of a file")
	}
	if flags&(1|1<<13) != 0 {
		return fail("is encrypted")
	}
	if method != 0 && method != 8 {
		return fail("is compressed by method %d; only stored entries are read, and a deflated data.pkl", method)
	}
	if header > uint64(len(a.data)-localSize) || !bytes.HasPrefix(a.data[header:], []byte("PK\x03\x04")) {
		return fail("its header is not at byte %d", header)
	}
	local := a.data[header:]
	skip := localSize + int(u16(local[26:])) + int(u16(local[28:]))
	if skip > len(local) || !bytes.Equal(local[localSize:localSize+min(int(u16(local[26:])), skip-localSize)], e.name) {
		return fail("its header at byte %d has another name", header)
	}
	if stored > uint64(len(local)-skip) {
		return fail("its %d bytes reach past the end of the file, %d are left: truncated?", stored, len(local)-skip)
	}
	if e.deflated = method == 8; !e.deflated && size != stored {
		return fail("is stored, but its sizes differ: %d and %d", stored, size)
	}
	if size > 1<<62 {
		return fail("its size is %d", size)
	}
	e.header, e.begin, e.size = int(header), int(header)+skip, int(size)
	e.end = e.begin + int(stored)
	return e, at + length, nil
}

// fits64 replaces the sizes that do not fit 32 bits by those of the zip64 extra field (4.5.3).
func fits64(extra []byte, fields ...*uint64) bool {
	var wide []byte
	for len(extra) >= 4 {
		n := int(u16(extra[2:]))
		if n > len(extra)-4 {
			break
		}
		if u16(extra) == 1 {
			wide = extra[4 : 4+n]
			break
		}
		extra = extra[4+n:]
	}
	for _, f := range fields {
		if *f != 0xffffffff {
			continue
		}
		if len(wide) < 8 {
			return false
		}
		*f, wide = u64(wide), wide[8:]
	}
	return true
}

// safeName reports whether a name stays in the archive. Nothing is unpacked; a file with such a name is an attack on
// somebody else.
func safeName(name []byte) bool {
	if len(name) == 0 || name[0] == '/' || !utf8.Valid(name) || bytes.ContainsAny(name, "\\\x00") {
		return false
	}
	for part := range bytes.SplitSeq(name, []byte("/")) {
		if string(part) == ".." {
			return false
		}
	}
	return true
}

// find looks for a record by its name without the archive's.
func (a *archive) find(name string) (entry, bool) {
	full := []byte(a.prefix + name)
	i, ok := slices.BinarySearchFunc(a.entries, full, func(e entry, name []byte) int { return bytes.Compare(e.name, name) })
	if !ok {
		return entry{}, false
	}
	return a.entries[i], true
}

// bytes is the content of a stored record.
func (a *archive) bytes(e entry) ([]byte, error) {
	if e.deflated {
		return nil, a.fail(e.name, "is compressed; only data.pkl may be: save it again in Python with torch.save")
	}
	return a.data[e.begin:e.end:e.end], nil
}

// inflate is the content of a record that may be compressed.
func (a *archive) inflate(e entry) ([]byte, error) {
	if !e.deflated {
		return a.bytes(e)
	}
	// Deflate's best is 1032 to 1 (RFC 1951: 258 bytes for two bits), so that the file vouches for what is allocated.
	if most := min(maxInflated, 1032*(e.end-e.begin)); e.size > most {
		return nil, a.fail(e.name, "its %d compressed bytes shall hold %d, the limit is %d", e.end-e.begin, e.size, most)
	}
	out := make([]byte, e.size)
	r := flate.NewReader(bytes.NewReader(a.data[e.begin:e.end]))
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, a.fail(e.name, "cannot be decompressed to %d bytes: %v", e.size, err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return nil, a.fail(e.name, "is more than the %d bytes that the zip directory says", e.size)
	}
	return out, nil
}

func u16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
func u64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
