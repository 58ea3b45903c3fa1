package picture

import (
	"errors"
	"fmt"
	"math"
)

// netpbmOutline is the header of a file of the PBM, PGM and PPM formats (netpbm's pbm(5), pgm(5) and ppm(5)).
type netpbmOutline struct {
	kind    byte // '1' to '6': bits, greys and colours in text, then in bytes
	maximum int  // of a sample, 1 to 65535; 1 of bits
	pixels  int  // where they begin
}

// channels is the number of samples of a pixel.
func (n netpbmOutline) channels() int {
	if n.kind == '3' || n.kind == '6' {
		return 3
	}
	return 1
}

// readNetpbm reads the header: the kind, and numbers in decimal with white space and comments between them.
func (h *outline) readNetpbm(data []byte) error {
	r := netpbmText{data: data, at: 2}
	n := &h.netpbm
	n.kind, n.maximum = data[1], 1
	var err error
	read := func(most int) (v int) {
		if err == nil {
			v, err = r.number(most)
		}
		return v
	}
	h.width, h.height = read(math.MaxInt32), read(math.MaxInt32)
	if n.kind != '1' && n.kind != '4' {
		n.maximum = read(65535)
	}
	if err == errCutOff {
		return errShortHeader
	} else if err != nil {
		return fmt.Errorf("its header: %w", err)
	}
	if n.maximum == 0 {
		return errors.New("its header says that its samples are 0 at most")
	}
	n.pixels = min(r.at+1, len(data)) // one white space
	rest, samples := int64(len(data)-n.pixels), int64(n.channels())
	switch {
	case n.kind == '1':
		h.atMost = max(rest, 1)
	case n.kind <= '3': // a digit and a space each
		h.atMost = max((rest+1)/(2*samples), 1)
	case n.kind == '4':
		h.atMost = max(8*rest, 1)
	case n.maximum > 255:
		h.atMost = max(rest/(2*samples), 1)
	default:
		h.atMost = max(rest/samples, 1)
	}
	return nil
}

// netpbmText reads numbers.
type netpbmText struct {
	data []byte
	at   int
}

// skip goes to the next byte that is neither white space nor in a comment.
func (r *netpbmText) skip() error {
	for ; r.at < len(r.data); r.at++ {
		switch r.data[r.at] {
		case ' ', '\t', '\n', '\v', '\f', '\r':
		case '#':
			for r.at+1 < len(r.data) && r.data[r.at+1] != '\n' && r.data[r.at+1] != '\r' {
				r.at++
			}
		default:
			return nil
		}
	}
	return errCutOff
}

// number reads a number of at most most, and stops at the byte behind its digits.
func (r *netpbmText) number(most int) (int, error) {
	if err := r.skip(); err != nil {
		return 0, err
	}
	start, n := r.at, 0
	for ; r.at < len(r.data) && r.data[r.at] >= '0' && r.data[r.at] <= '9'; r.at++ {
		if n = 10*n + int(r.data[r.at]-'0'); n > most {
			return 0, fmt.Errorf("a number is more than %d", most)
		}
	}
	if r.at == start {
		return 0, fmt.Errorf("%q is no digit of a number", r.data[r.at])
	}
	return n, nil
}

// scaled gives samples as 8 bits, rounded as Pillow does it: to even, and greys of more than 8 bits by way of 16.
func (n netpbmOutline) scaled() func(v int) byte {
	if n.maximum == 255 {
		return func(v int) byte { return byte(v) }
	}
	table := make([]byte, n.maximum+1)
	for v := range table {
		share := float64(v) / float64(n.maximum)
		if n.maximum > 255 && n.channels() == 1 {
			table[v] = byte(math.RoundToEven(math.RoundToEven(share*65535) / 257))
		} else {
			table[v] = byte(math.RoundToEven(share * 255))
		}
	}
	return func(v int) byte { return table[min(v, n.maximum)] }
}

func decodeNetpbm(m *Image, data []byte, h outline) error {
	m.resize(h.width, h.height)
	n := h.netpbm
	body := data[n.pixels:]
	switch n.kind {
	case '1':
		return plainBits(m, netpbmText{body, 0})
	case '2', '3':
		return n.plain(m, netpbmText{body, 0})
	case '4':
		stride := (h.width + 7) / 8
		if len(body) < stride*h.height {
			return errCutOff
		}
		for i := range h.width * h.height {
			x, y := i%h.width, i/h.width
			m.set(i, body[y*stride+x/8]>>(7-x%8)&1-1) // 1 is black: 0, and 0 is 255
		}
		return nil
	}
	size, scaled := 1, n.scaled()
	if n.maximum > 255 {
		size = 2
	}
	if len(body) < size*n.channels()*h.width*h.height {
		return errCutOff
	}
	repeat := 3 / n.channels()
	for i := range len(m.Pix) / repeat {
		v := int(body[size*i])
		if size == 2 {
			v = v<<8 | int(body[size*i+1])
		}
		for k := range repeat {
			m.Pix[repeat*i+k] = scaled(v)
		}
	}
	return nil
}

// set makes pixel i a grey.
func (m *Image) set(i int, grey byte) { m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2] = grey, grey, grey }

// plain reads samples in text.
func (n netpbmOutline) plain(m *Image, r netpbmText) error {
	scaled, repeat := n.scaled(), 3/n.channels()
	for i := range len(m.Pix) / repeat {
		v, err := r.number(n.maximum)
		if err != nil {
			return err
		}
		for k := range repeat {
			m.Pix[repeat*i+k] = scaled(v)
		}
	}
	return nil
}

// plainBits reads bits in text, which need no space between them.
func plainBits(m *Image, r netpbmText) error {
	for i := range m.Width * m.Height {
		if err := r.skip(); err != nil {
			return err
		}
		v := r.data[r.at]
		if v != '0' && v != '1' {
			return fmt.Errorf("%q is no bit", v)
		}
		m.set(i, v-'1') // 1 is black: 0, and 0 is 255
		r.at++
	}
	return nil
}
