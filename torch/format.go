package torch

import (
	"math"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// How tensors print: PyTorch's defaults (torch/_tensor_str.py, PRINT_OPTS).
const (
	printPrecision = 4    // digits behind the point
	printThreshold = 1000 // more elements than this are summarised
	printEdge      = 3    // elements shown at either end of a summarised dimension
	printWidth     = 80   // columns
	printPrefix    = "tensor("
)

// String is what PyTorch's repr gives: the elements, and what is not the default about their dtype, device and history.
// A freed or undefined tensor says so.
func (t Tensor) String() string {
	switch {
	case !t.Defined():
		return printPrefix + "undefined)"
	case t.Closed():
		return printPrefix + "freed)"
	}
	var text string
	NoGrad(func() {
		NoAutocast(func() {
			Scoped(func() { text = t.format() })
		})
	})
	return text
}

func (t Tensor) format() string {
	var info capi.Info
	t.describe("repr", &info)
	dtype, numel := dtypeOf(info.DType), int(info.Numel)
	var suffixes []string
	if d := deviceOf(info.DeviceType, info.DeviceIndex); d != CPU {
		suffixes = append(suffixes, "device='"+d.String()+"'")
	}
	_, known := dtypeNames[dtype]
	contents := "[]"
	if numel == 0 && info.Dim != 1 || !known {
		suffixes = append(suffixes, "size="+tuple(info.Sizes()))
	}
	if dtype != Float32 && (numel == 0 || dtype != Int64 && dtype != Bool) {
		suffixes = append(suffixes, "dtype=torch."+dtype.String())
	}
	switch {
	case !known:
		contents = "..."
	case numel > 0:
		contents = t.formatElements(dtype, numel > printThreshold)
	}
	gradFn, err := capi.GradFn(t.h.ptr())
	switch {
	case err != nil: // a view made and written to without autograd
		suffixes = append(suffixes, "grad_fn=<Invalid>")
	case gradFn != "":
		suffixes = append(suffixes, "grad_fn=<"+gradFn+">")
	case info.RequiresGrad():
		suffixes = append(suffixes, "requires_grad=True")
	}
	t.keepAlive()
	return withSuffixes(printPrefix+contents, suffixes)
}

func withSuffixes(text string, suffixes []string) string {
	var b strings.Builder
	b.WriteString(text)
	// The sum counts one column too many, as PyTorch's does.
	last := len(text) - strings.LastIndexByte(text, '\n') + 1
	for _, s := range suffixes {
		if last+len(s)+2 > printWidth {
			b.WriteString(",\n" + strings.Repeat(" ", len(printPrefix)))
			last = len(printPrefix) + len(s)
		} else {
			b.WriteString(", ")
			last += len(s) + 2
		}
		b.WriteString(s)
	}
	return b.String() + ")"
}

func tuple(sizes []int64) string {
	parts := make([]string, len(sizes))
	for i, s := range sizes {
		parts[i] = strconv.FormatInt(s, 10)
	}
	if len(parts) == 1 {
		return "(" + parts[0] + ",)"
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

// printer writes the elements that are shown, given as text in row-major order.
type printer struct {
	shape []int // of the tensor
	width int   // of the widest element
	texts []string
	short bool // summarise
	next  int
}

func (t Tensor) formatElements(dtype DType, short bool) string {
	p := printer{shape: t.Shape(), short: short}
	shown := t
	if short {
		for dim, n := range p.shape {
			if n > 2*printEdge {
				shown = Cat([]Tensor{shown.Narrow(dim, 0, printEdge), shown.Narrow(dim, n-printEdge, printEdge)}, dim)
			}
		}
	}
	shown = shown.ToDevice(CPU)
	switch {
	case dtype.IsFloat():
		p.texts, p.width = floatTexts(ToSlice[float64](shown.To(Float64)))
	case dtype == Bool:
		for _, v := range ToSlice[bool](shown) {
			p.add(map[bool]string{false: "False", true: "True"}[v])
		}
	default:
		for _, v := range ToSlice[int64](shown.To(Int64)) {
			p.add(strconv.FormatInt(v, 10))
		}
	}
	var b strings.Builder
	p.write(&b, 0)
	return b.String()
}

func (p *printer) add(text string) {
	p.texts = append(p.texts, text)
	p.width = max(p.width, len(text))
}

func (p *printer) take() string {
	p.next++
	text := p.texts[p.next-1]
	return strings.Repeat(" ", max(0, p.width-len(text))) + text
}

// write writes the next part, which spans the dimensions from dim on.
func (p *printer) write(b *strings.Builder, dim int) {
	left := len(p.shape) - dim
	if left == 0 {
		b.WriteString(p.take())
		return
	}
	indent := len(printPrefix) + dim
	perLine := max(1, (printWidth-indent)/(p.width+2))
	n, cut := p.shape[dim], -1
	if p.short && n > 2*printEdge {
		n, cut = 2*printEdge+1, printEdge
	}
	b.WriteByte('[')
	for i := range n {
		switch {
		case i == 0:
		case left > 1:
			b.WriteString("," + strings.Repeat("\n", left-1) + strings.Repeat(" ", indent+1))
		case i%perLine == 0:
			b.WriteString(",\n" + strings.Repeat(" ", indent+1))
		default:
			b.WriteString(", ")
		}
		switch {
		case i != cut:
			p.write(b, dim+1)
		case left > 1:
			b.WriteString("...")
		default:
			b.WriteString(" ...")
		}
	}
	b.WriteByte(']')
}

// floatTexts chooses between integer, fixed and scientific notation. The width counts finite numbers other than zero
// only, as PyTorch's does.
func floatTexts(values []float64) (texts []string, width int) {
	whole, smallest, largest := true, math.Inf(1), 0.0
	for _, v := range values {
		if a := math.Abs(v); finite(v) && v != 0 {
			smallest, largest = min(smallest, a), max(largest, a)
			whole = whole && v == math.Ceil(v)
		}
	}
	verb, precision, point := byte('f'), printPrecision, ""
	switch {
	case largest > 0 && (largest/smallest > 1000 || largest > 1e8 || smallest < 1e-4):
		verb = 'e'
	case whole:
		precision, point = 0, "."
	}
	texts, width = make([]string, len(values)), 1
	for i, v := range values {
		switch {
		case math.IsNaN(v):
			texts[i] = "nan"
		case math.IsInf(v, 0):
			texts[i] = strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(v, verb, 0, 64)), "+")
		default:
			texts[i] = strconv.FormatFloat(v, verb, precision, 64) + point
			if v != 0 {
				width = max(width, len(texts[i]))
			}
		}
	}
	return texts, width
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
