package pth

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Pickles are put together here from their instructions.

func text(s string) string { return "X" + string(le32(len(s))) + s }

func le32(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }
func le64(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

// number is LONG1 of 8 bytes.
func number(n int) string { return "\x8a\x08" + string(le64(n)) }

func numbers(ns ...int) string {
	var b strings.Builder
	for _, n := range ns {
		b.WriteString(number(n))
	}
	return "(" + b.String() + "t"
}

// class is GLOBAL.
func class(module, name string) string { return "c" + module + "\n" + name + "\n" }

// stored is the persistent id of a storage in a zip file, and what loads it.
func stored(class, key string, numel int) string {
	return "(" + text("storage") + class + text(key) + text("cpu") + number(numel) + "tQ"
}

var floats = class("torch", "FloatStorage")

// rebuilt is a call of _rebuild_tensor_v2.
func rebuilt(storage string, offset int, shape, strides string) string {
	return class("torch._utils", "_rebuild_tensor_v2") + "(" + storage + number(offset) + shape + strides + "\x89NtR"
}

// floatTensor is a tensor of six floats in storage 0.
func floatTensor(offset int, shape, strides []int) string {
	return rebuilt(stored(floats, "0", 6), offset, numbers(shape...), numbers(strides...))
}

// stateOf is the pickle of a dict of one value, "w".
func stateOf(value string) string { return "\x80\x02}" + text("w") + value + "s." }

// six is a [2, 3] tensor and all of its storage.
var six = floatTensor(0, []int{2, 3}, []int{3, 1})

var sixFloats = strings.Repeat("\x00\x00\x80\x3f", 6)

type content struct{ name, bytes string }

// archived is a zip file as Go writes it, of a pickle and of storage 0 with six floats.
func archived(pickle string, more ...content) string {
	return zipped(append([]content{{"a/data.pkl", pickle}, {"a/data/0", sixFloats}}, more...)...)
}

func zipped(records ...content) string { return zippedBy(zip.Store, records...) }

// zippedBy compresses data.pkl by that method.
func zippedBy(method uint16, records ...content) string {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, r := range records {
		h := &zip.FileHeader{Name: r.name}
		if strings.HasSuffix(r.name, "data.pkl") {
			h.Method = method
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write([]byte(r.bytes))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

// patched replaces bytes at an offset from the nth place where the signature stands.
func patched(file, signature string, nth, offset int, replacement string) string {
	at := -1
	for range nth {
		next := strings.Index(file[at+1:], signature)
		if next < 0 {
			panic(fmt.Sprintf("%q is not there %d times", signature, nth))
		}
		at += 1 + next
	}
	at += offset
	return file[:at] + replacement + file[at+len(replacement):]
}

const (
	localSignature   = "PK\x03\x04"
	centralSignature = "PK\x01\x02"
	endSignature     = "PK\x05\x06"
)

// legacyFile is a file of the older format of one object, with these keys and storages.
func legacyFile(object, keys, storages string) string {
	return "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + "\x80\x02M\xe9\x03." +
		"\x80\x02}(" + text("protocol_version") + "M\xe9\x03" + text("little_endian") + "\x88" +
		text("type_sizes") + "}" + text("int") + "K\x04su." + object + keys + storages
}

// legacyStored is stored for the older format; view is its last value.
func legacyStored(key string, numel int, view string) string {
	return "(" + text("storage") + floats + text(key) + text("cpu") + number(numel) + view + "tQ"
}

func keyList(keys ...string) string {
	s := "\x80\x02]("
	for _, k := range keys {
		s += text(k)
	}
	return s + "e."
}

var legacySix = stateOf(rebuilt(legacyStored("7", 6, "N"), 0, numbers(2, 3), numbers(3, 1)))

// TestBuilt checks that what the attacks are made from opens.
func TestBuilt(t *testing.T) {
	py2 := "\x80\x02" + class("collections", "OrderedDict") + "](]" + "(U\x01w" + six + "e]" + "(U\x02\xff\xfe" + six + "ee\x85R."
	part := stateOf(rebuilt(legacyStored("7", 8, "("+text("8")+number(2)+number(6)+"t"), 0, numbers(2, 3), numbers(3, 1)))
	counted := string(le64(6)) + sixFloats
	for name, file := range map[string]string{
		"zip":              archived(stateOf(six)),
		"deflated":         zippedBy(zip.Deflate, content{"a/data.pkl", stateOf(six)}, content{"a/data/0", sixFloats}),
		"comment":          patched(archived(stateOf(six))+"hello", endSignature, 1, 20, "\x05"),
		"zip64":            zip64(archived(stateOf(six))),
		"folders":          archived(stateOf(six), content{"a/", ""}, content{"a/data/", ""}),
		"legacy":           legacyFile(legacySix, keyList("7"), counted),
		"legacy part":      legacyFile(part, keyList("7"), string(le64(8))+"12345678"+sixFloats),
		"text":             archived("(" + text("w") + six + "p7\n0g7\nI01\n0L-5L\n0F1.5\n0d."),
		"Python 2":         archived(py2),
		"constructed dict": archived("\x80\x02" + class("collections", "OrderedDict") + "}" + text("w") + six + "s\x85R."),
		"self":             archived("\x80\x02}q\x00" + text("model") + "h\x00s" + text("w") + six + "s."),
		"laughs":           archived("\x80\x02}" + text("x") + laughs + "s" + text("w") + six + "s."),
		"empty elsewhere":  archived(stateOf(floatTensor(1<<40, []int{0, 3}, []int{3, 1}))),
		"attributes": archived(stateOf(class("torch._tensor", "_rebuild_from_type_v2") + "(" + class("torch._utils", "_rebuild_tensor_v2") +
			class("torch", "Tensor") + "(" + stored(floats, "0", 6) + "K\x00" + numbers(2, 3) + numbers(3, 1) + "\x89Nt}tR")),
	} {
		f, err := Parse(name, []byte(file))
		require.NoError(t, err, name)
		w, ok := f.Tensor("w")
		require.True(t, ok, name)
		require.Equal(t, Float32, w.DType, name)
		if name != "empty elsewhere" {
			require.Equal(t, []int{2, 3}, w.Shape, name)
			require.Equal(t, sixFloats, string(w.Bytes()), name)
		}
	}
}

// laughs is a list of lists that would have 10^16 items if they were counted out.
var laughs = func() string {
	s := "]" + text("ha") + "aq\x640"
	for i := range 16 {
		s += "](" + strings.Repeat("h"+string(rune(100+i)), 10) + "eq" + string(rune(101+i)) + "0"
	}
	return s + "h\x74"
}()

// zip64 gives an archive the records and sizes of the zip64 format, as for an archive above 4 GB.
func zip64(file string) string {
	end := strings.LastIndex(file, endSignature)
	begin := int(binary.LittleEndian.Uint32([]byte(file[end+16:])))
	count := int(binary.LittleEndian.Uint16([]byte(file[end+10:])))
	var directory []byte
	for at := begin; at < end; {
		r := []byte(file[at:end])
		name, extra := int(binary.LittleEndian.Uint16(r[28:])), int(binary.LittleEndian.Uint16(r[30:]))
		wide := []byte("\x01\x00\x18\x00")
		for _, i := range []int{24, 20, 42} {
			wide = append(wide, le64(int(binary.LittleEndian.Uint32(r[i:])))...)
			copy(r[i:], "\xff\xff\xff\xff")
		}
		binary.LittleEndian.PutUint16(r[30:], uint16(len(wide)+extra))
		directory = append(directory, r[:46+name]...)
		directory = append(directory, wide...)
		directory = append(directory, r[46+name:46+name+extra]...)
		at += 46 + name + extra
	}
	b := append([]byte(file[:begin]), directory...)
	at := len(b)
	b = append(b, "PK\x06\x06"...)
	b = append(b, le64(44)...)
	b = append(b, 45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = append(append(b, le64(count)...), le64(count)...)
	b = append(append(b, le64(len(directory))...), le64(begin)...)
	b = append(append(append(b, "PK\x06\x07\x00\x00\x00\x00"...), le64(at)...), 1, 0, 0, 0)
	return string(b) + endSignature + "\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"
}
