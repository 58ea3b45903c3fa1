package safetensors

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/thaw-ml/thaw/internal/atomicfile"
)

// Write saves tensors and metadata to path. The file appears whole or not at all, and when writing
// fails what was there before stays; see atomicfile.Write. The tensors' bytes are not copied.
//
// The bytes are those that the reference serialiser writes for the same tensors, whatever their
// order here: by descending element type, then by name, the header padded to 8 bytes. So every
// tensor is aligned to its element. Metadata is written by ascending key, where the reference's
// order changes from run to run; nil metadata is left out.
func Write(path string, tensors []Info, metadata map[string]string) error {
	return WriteFunc(path, tensors, metadata, func(t Info) ([]byte, error) { return t.Data, nil })
}

// WriteFunc is Write for tensors whose bytes are not at hand, on a GPU for instance: data is called
// once for each tensor, in the order of the file, and what it returned may be reused at the next
// call. Info.Data is not looked at.
func WriteFunc(path string, tensors []Info, metadata map[string]string, data func(Info) ([]byte, error)) error {
	header, tensors, sizes, err := prepare(tensors, metadata)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		if _, err := w.Write(header); err != nil {
			return err
		}
		for i, t := range tensors {
			b, err := data(t)
			if err != nil {
				return fmt.Errorf("tensor %s: %w", quote(t.Name), err)
			}
			if len(b) != sizes[i] {
				return fmt.Errorf("tensor %s: %s of shape %v takes %d bytes, got %d",
					quote(t.Name), t.DType, t.Shape, sizes[i], len(b))
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// prepare returns the length prefix with the header, and the tensors in the order of the file with
// their sizes in bytes.
func prepare(tensors []Info, metadata map[string]string) (header []byte, sorted []Info, sizes []int, err error) {
	if len(tensors) > maxTensors {
		return nil, nil, nil, fmt.Errorf("%d tensors, the limit is %d", len(tensors), maxTensors)
	}
	sorted = slices.Clone(tensors)
	slices.SortFunc(sorted, func(a, b Info) int {
		if d := rank[b.DType] - rank[a.DType]; d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})

	header = append(make([]byte, prefixSize), '{')
	if metadata != nil {
		header = appendString(header, metadataKey)
		header = append(header, ":{"...)
		for i, key := range slices.Sorted(maps.Keys(metadata)) {
			if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
				return nil, nil, nil, fmt.Errorf("metadata %s: not valid UTF-8", quote(key))
			}
			if i > 0 {
				header = append(header, ',')
			}
			header = appendString(header, key)
			header = append(header, ':')
			header = appendString(header, metadata[key])
		}
		header = append(header, '}')
	}
	end := 0
	seen := make(map[string]bool, len(sorted))
	for _, t := range sorted {
		size, err := check(t)
		if err == nil && seen[t.Name] {
			err = fmt.Errorf("is there twice")
		}
		seen[t.Name] = true
		if err == nil && end+size < end {
			err = fmt.Errorf("the file's size overflows")
		}
		if err != nil {
			return nil, nil, nil, fmt.Errorf("tensor %s: %w", quote(t.Name), err)
		}
		if len(header) > prefixSize+1 {
			header = append(header, ',')
		}
		header = appendTensor(header, t, end, end+size)
		sizes = append(sizes, size)
		end += size
	}
	header = append(header, '}')
	for len(header)%8 != 0 { // the prefix is 8 bytes, so the data is aligned with it or without
		header = append(header, ' ')
	}
	if n := len(header) - prefixSize; n > maxHeader {
		return nil, nil, nil, fmt.Errorf("the header takes %d bytes, the limit is %d", n, maxHeader)
	}
	binary.LittleEndian.PutUint64(header, uint64(len(header)-prefixSize))
	return header, sorted, sizes, nil
}

// check returns a tensor's size in bytes, or why Open would not read it back.
func check(t Info) (int, error) {
	switch {
	case t.Name == metadataKey:
		return 0, fmt.Errorf("the name is reserved")
	case !utf8.ValidString(t.Name):
		return 0, fmt.Errorf("the name is not valid UTF-8")
	case len(t.Shape) > maxRank:
		return 0, fmt.Errorf("%d dimensions, the limit is %d", len(t.Shape), maxRank)
	}
	return t.DType.ByteSize(t.Shape)
}

func appendTensor(b []byte, t Info, begin, end int) []byte {
	b = appendString(b, t.Name)
	b = append(b, `:{"dtype":"`...)
	b = append(b, t.DType...)
	b = append(b, `","shape":[`...)
	for i, n := range t.Shape {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	b = append(b, `],"data_offsets":[`...)
	b = strconv.AppendInt(b, int64(begin), 10)
	b = append(b, ',')
	b = strconv.AppendInt(b, int64(end), 10)
	return append(b, "]}"...)
}

// appendString writes a JSON string with the escapes that serde_json chooses and no others;
// encoding/json would escape U+2028 too, and write U+0008 in another way.
func appendString(b []byte, s string) []byte {
	const short = "\b\t\n\f\r\"\\"
	const letter = `btnfr"\`
	b = append(b, '"')
	for i := range len(s) {
		c := s[i]
		if k := strings.IndexByte(short, c); k >= 0 {
			b = append(b, '\\', letter[k])
		} else if c < ' ' {
			b = fmt.Appendf(b, `\u%04x`, c)
		} else {
			b = append(b, c)
		}
	}
	return append(b, '"')
}
