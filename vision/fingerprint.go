package vision

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"path/filepath"
)

// ContentHash tells data sets apart by the names and sizes of their pictures' files, wherever the files are, and by the
// targets: it is the same whatever reads the pictures. What they show is not read.
func (d *Dataset) ContentHash() string {
	h := sha256.New()
	for i := range d.pictures.Len() {
		name, size := d.pictures.Name(i), int64(-1)
		if info, err := os.Stat(name); err == nil {
			size = info.Size()
		}
		fmt.Fprintf(h, "%q %d\n", filepath.Base(name), size)
	}
	fmt.Fprint(h, d.targets)
	return "sha256 " + short(h)
}

// Fingerprint tells data sets apart by their content and by how pictures become samples, see data.Fingerprinter.
func (d *Dataset) Fingerprint() string {
	h := sha256.New()
	o := d.options
	o.Workers = 0 // changes nothing
	fmt.Fprint(h, d.outputs, d.input, o)
	return fmt.Sprintf("%d pictures, %s, transforms %s", d.pictures.Len(), d.ContentHash(), short(h))
}

// short is the beginning of a hash, which is enough to tell a few data sets apart.
func short(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil))[:16] }
