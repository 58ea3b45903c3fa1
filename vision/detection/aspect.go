package detection

import "math"

// Group is a picture's group by its aspect ratio, width / height, see data.Grouped and DatasetOptions.AspectGroups: with k of
// them, 0 is below 1/2, the borders are evenly spaced in the ratio's logarithm, 2^(-1), 2^(-1+1/k), .. 2, and 2k + 1
// is from 2 on.
func (d *Dataset) Group(i int) int {
	k := d.options.AspectGroups
	if k < 1 {
		return 0
	}
	p := d.pictures.At(i)
	group := 0
	for group < 2*k+1 && float64(p.Width) >= math.Exp2(float64(group)/float64(k)-1)*float64(p.Height) {
		group++
	}
	return group
}
