package album

import "fmt"

// ReadIdx reads an idx file of unsigned bytes, MNIST's format, also behind gzip: pictures with sizes [N, rows,
// columns], or labels with sizes [N]. The bytes are in row-major order.
func ReadIdx(path string) (sizes []int, values []byte, err error) {
	for _, magic := range []uint32{idxPictures, idxLabels} {
		if sizes, values, err = readIdxFile(path, magic); err == nil {
			return sizes, values, nil
		}
	}
	return nil, nil, fmt.Errorf("reading %s: %w", path, err)
}
