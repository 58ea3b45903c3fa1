package text

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Fingerprint tells data sets apart by their tokens and targets, see data.Fingerprinter.
func (d *Dataset) Fingerprint() string {
	h := sha256.New()
	for _, s := range d.samples {
		binary.Write(h, binary.LittleEndian, int64(len(s.IDs)))
		binary.Write(h, binary.LittleEndian, s.IDs)
		binary.Write(h, binary.LittleEndian, s.Types)
	}
	fmt.Fprint(h, d.pad, d.maxLength, d.targets)
	return fmt.Sprintf("%d texts, sha256 %s", len(d.samples), hex.EncodeToString(h.Sum(nil))[:16])
}
