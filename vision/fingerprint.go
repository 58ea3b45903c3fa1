package vision

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
)

// Fingerprint tells data sets apart by the names and sizes of their pictures' files, the targets, and how pictures become
// samples, see data.Fingerprinter. What the pictures show is not read.
func (d *Dataset) Fingerprint() string {
	h := sha256.New()
	for i := range d.pictures.Len() {
		name, size := d.pictures.Name(i), int64(-1)
		if info, err := os.Stat(name); err == nil {
			size = info.Size()
		}
		fmt.Fprintln(h, name, size)
	}
	o := d.options
	o.Workers = 0 // changes nothing
	fmt.Fprint(h, d.targets, d.outputs, d.input, o)
	return fmt.Sprintf("%d pictures, sha256 %s", d.pictures.Len(), hex.EncodeToString(h.Sum(nil))[:16])
}
