package safetensors

// Layout is where everything lies in a file that is written piece by piece, in any order.
type Layout struct {
	Header  []byte           // what the file begins with
	Offsets map[string]int64 // of each tensor's first byte in the file
	Size    int64            // of the file
}

// NewLayout lays out a file as Write would. Info.Data is not looked at. Metadata whose values have as many bytes as
// others, all of them plain text, gives the same layout with another Header.
func NewLayout(tensors []Info, metadata map[string]string) (Layout, error) {
	header, sorted, sizes, err := prepare(tensors, metadata)
	if err != nil {
		return Layout{}, err
	}
	l := Layout{Header: header, Offsets: make(map[string]int64, len(sorted)), Size: int64(len(header))}
	for i, t := range sorted {
		l.Offsets[t.Name] = l.Size
		l.Size += int64(sizes[i])
	}
	return l, nil
}
