package album

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/thaw-ml/thaw/internal/filestamp"
)

// Stamp tells whether picture i is as it was, without reading its file: it has another when the file changes. "" stands
// for a picture of which that cannot be told.
func (a *Album) Stamp(i int) string {
	if a.idx == nil {
		return filestamp.Of(a.items[i].path)
	}
	sum := sha256.Sum256(a.idx.grey(int(a.items[i].at)))
	return fmt.Sprint(a.idx.rows, " ", a.idx.columns, " ", hex.EncodeToString(sum[:]))
}
