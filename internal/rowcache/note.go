package rowcache

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/thaw-ml/thaw/internal/atomicfile"
)

// noteSuffix ends the name of a note, before which stand its name and the key of the rows.
const noteSuffix = ".note"

func (r *Rows) notePath(name string) string {
	return strings.TrimSuffix(r.Path, suffix) + "." + name + noteSuffix
}

// Note is what was kept beside the rows under a name; nil where there is nothing, or not what was written.
func (r *Rows) Note(name string) []byte {
	if !r.Named {
		return nil
	}
	content, err := os.ReadFile(r.notePath(name))
	if err != nil || len(content) < sha256.Size {
		return nil
	}
	sum, content := content[:sha256.Size], content[sha256.Size:]
	if want := sha256.Sum256(content); !bytes.Equal(sum, want[:]) {
		return nil
	}
	return content
}

// PutNote keeps something small beside the rows, which goes when they go. Rows that other processes cannot open have no notes.
func (r *Rows) PutNote(name string, content []byte) error {
	if !r.Named {
		return nil
	}
	sum := sha256.Sum256(content)
	return atomicfile.Write(r.notePath(name), func(w io.Writer) error {
		_, err := w.Write(append(sum[:], content...))
		return err
	})
}

// removeFile removes a file of rows that no process has locked, and its notes.
func removeFile(path string) error {
	if err := removeUnlocked(path); err != nil {
		return err
	}
	notes, _ := filepath.Glob(strings.TrimSuffix(path, suffix) + ".*" + noteSuffix) // a pattern that is one
	for _, note := range notes {
		_ = os.Remove(note) // another process may be removing it too
	}
	return nil
}
