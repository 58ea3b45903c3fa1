package text

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
)

// ContentHash tells data sets apart by their texts and targets: it is the same whatever reads them, and "" for a data
// set without targets.
func (d *Dataset) ContentHash() string { return d.content }

// Fingerprint tells data sets apart by their content and their tokens, see data.Fingerprinter.
func (d *Dataset) Fingerprint() string {
	h := sha256.New()
	for _, s := range d.samples {
		binary.Write(h, binary.LittleEndian, int64(len(s.IDs)))
		binary.Write(h, binary.LittleEndian, s.IDs)
		binary.Write(h, binary.LittleEndian, s.Types)
	}
	fmt.Fprint(h, d.pad, d.maxLength, d.targets)
	return fmt.Sprintf("%d texts, %s, tokens %s", len(d.samples), d.content, short(h))
}

// InputKey tells data sets apart by their tokens, see data.Keyed.
func (d *Dataset) InputKey(bool) string {
	h := sha256.New()
	var tokens []byte
	for _, s := range d.samples {
		tokens = binary.AppendVarint(tokens[:0], int64(len(s.IDs)))
		tokens, _ = binary.Append(tokens, binary.LittleEndian, s.IDs)
		tokens, _ = binary.Append(tokens, binary.LittleEndian, s.Types)
		h.Write(tokens)
	}
	fmt.Fprint(h, d.pad, " ", d.maxLength)
	return fmt.Sprintf("%d texts, tokens %s", len(d.samples), hex.EncodeToString(h.Sum(nil)))
}

// short is the beginning of a hash, which is enough to tell a few data sets apart.
func short(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil))[:16] }
