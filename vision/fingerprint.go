package vision

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/internal/filestamp"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
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

// InputKey tells data sets apart by their pictures' files and by how pictures become samples, see data.Keyed. It is "" where
// a picture is in memory, but for those of an idx file.
func (d *Dataset) InputKey(augmented bool) string {
	h := sha256.New()
	for i := range d.pictures.Len() {
		stamp := ""
		switch p := d.pictures.(type) {
		case *album.Album:
			stamp = p.Stamp(i)
		case itemPictures:
			if item, err := p.items.At(i); err == nil && item.Image.file {
				stamp = filestamp.Of(item.Image.name)
			}
		}
		if stamp == "" {
			return ""
		}
		fmt.Fprintln(h, stamp)
	}
	o := DatasetOptions{SkipUnreadable: d.options.SkipUnreadable}
	if augmented {
		o = d.options
		o.Workers = 0 // changes nothing
	}
	decoder, _ := picture.JPEGDecoder() // an error says that it is not there
	fmt.Fprint(h, d.input, o, decoder)
	return fmt.Sprintf("%d pictures, %s", d.pictures.Len(), hex.EncodeToString(h.Sum(nil)))
}

// Views reports whether what is random about a picture is its own, so that a view of it can be kept: where pictures are
// not mixed with one another.
func (d *Dataset) Views() bool { return d.options.MixUp == 0 && d.options.CutMix == 0 }

// short is the beginning of a hash, which is enough to tell a few data sets apart.
func short(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil))[:16] }
