// Package boxes has the operators of networks that find objects: what is done with boxes, as tensors and as slices.
//
// A box is x1, y1, x2, y2: its left, upper, right and lower edge in pixels. All results are those of torchvision.ops.
package boxes
