// Package tensorboard writes scalars as event files, which TensorBoard reads.
//
// An event file is a sequence of records (tensorflow/core/lib/io/record_writer.h): the length of the data as 8 bytes,
// a checksum of these, the data, a checksum of the data. The data is an Event of tensorflow/core/util/event.proto.
package tensorboard

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// filePrefix is what TensorBoard tells event files by; the time in seconds follows, by which it orders them.
const filePrefix = "events.out.tfevents."

// The fields of the messages that are written.
const (
	eventWallTime   protowire.Number = 1 // double, seconds since 1970
	eventStep       protowire.Number = 2 // int64
	eventVersion    protowire.Number = 3 // string
	eventSummary    protowire.Number = 5 // Summary
	eventSessionLog protowire.Number = 7 // SessionLog
	summaryValue    protowire.Number = 1 // repeated Value
	valueTag        protowire.Number = 1 // string
	valueSimple     protowire.Number = 2 // float
	sessionStatus   protowire.Number = 1 // enum

	sessionStart = 1
)

// version is that of event files in which a SessionLog START says from which step on earlier files are outdated.
const version = "brain.Event:2"

// Scalar is a number with a name; a slash in it makes groups, as in "loss/test".
type Scalar struct {
	Tag   string
	Value float64 // kept as a float32
}

// Writer writes an event file. It is used from one goroutine at a time.
type Writer struct{ file *os.File }

// Create makes an event file in a folder, beside those that are there already. What they have of the step from and of
// later ones is outdated: TensorBoard shows what comes now in its place. at is the time, in seconds, in the file's
// name; it is made later where a file has that already.
func Create(folder string, from int, at time.Time) (*Writer, error) {
	path, err := nextPath(folder, at)
	if err != nil {
		return nil, fmt.Errorf("making an event file: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("making an event file: %w", err)
	}
	w := &Writer{file}
	begin := protowire.AppendString(protowire.AppendTag(event(0, at), eventVersion, protowire.BytesType), version)
	var session []byte
	session = protowire.AppendTag(session, sessionStatus, protowire.VarintType)
	session = protowire.AppendVarint(session, sessionStart)
	start := protowire.AppendBytes(protowire.AppendTag(event(from, at), eventSessionLog, protowire.BytesType), session)
	if err := w.write(begin, start); err != nil {
		file.Close()
		return nil, err
	}
	return w, nil
}

// Path is the file's.
func (w *Writer) Path() string { return w.file.Name() }

// Scalars writes scalars of a step. They are in the file when Scalars returns.
func (w *Writer) Scalars(step int, at time.Time, scalars ...Scalar) error {
	var summary []byte
	for _, s := range scalars {
		var value []byte
		value = protowire.AppendString(protowire.AppendTag(value, valueTag, protowire.BytesType), s.Tag)
		value = protowire.AppendTag(value, valueSimple, protowire.Fixed32Type)
		value = protowire.AppendFixed32(value, math.Float32bits(float32(s.Value)))
		summary = protowire.AppendBytes(protowire.AppendTag(summary, summaryValue, protowire.BytesType), value)
	}
	return w.write(protowire.AppendBytes(protowire.AppendTag(event(step, at), eventSummary, protowire.BytesType), summary))
}

// Close closes the file.
func (w *Writer) Close() error { return w.file.Close() }

// event begins an Event.
func event(step int, at time.Time) (b []byte) {
	seconds := float64(at.UnixMicro()) / 1e6
	b = protowire.AppendFixed64(protowire.AppendTag(b, eventWallTime, protowire.Fixed64Type), math.Float64bits(seconds))
	return protowire.AppendVarint(protowire.AppendTag(b, eventStep, protowire.VarintType), uint64(step))
}

// write writes events as records, all at once: a process that is killed leaves whole ones, and at most one cut short,
// which TensorBoard passes over.
func (w *Writer) write(events ...[]byte) error {
	var b []byte
	for _, data := range events {
		length := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
		b = append(b, length...)
		b = binary.LittleEndian.AppendUint32(b, checksum(length))
		b = append(b, data...)
		b = binary.LittleEndian.AppendUint32(b, checksum(data))
	}
	if _, err := w.file.Write(b); err != nil {
		return fmt.Errorf("writing events: %w", err)
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the masked CRC32C of the data (tensorflow/core/lib/hash/crc32c.h).
func checksum(data []byte) uint32 {
	crc := crc32.Checksum(data, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}

// Files lists a folder's event files, in TensorBoard's order.
func Files(folder string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(escape(folder), filePrefix+"*"))
	slices.Sort(files)
	return files, err
}

// escape has Glob take a path as it is.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// nextPath names a file that comes after those that are there.
func nextPath(folder string, at time.Time) (string, error) {
	files, err := Files(folder)
	if err != nil {
		return "", err
	}
	seconds := at.Unix()
	for _, f := range files {
		number, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(f), filePrefix), ".")
		if before, err := strconv.ParseInt(number, 10, 64); err == nil {
			seconds = max(seconds, before+1)
		}
	}
	return filepath.Join(folder, fmt.Sprintf("%s%010d.thaw", filePrefix, seconds)), nil
}
