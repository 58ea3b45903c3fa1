package main

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
)

// field is a value from 0 to 1 for each place of a picture: where a ground is between its two colours.
type field func(x, y float64) float64

// grounds are the kinds of ground.
var grounds = []func(rng *rand.Rand) field{flat, gradient, stripes, checks, clouds, rings, spots, bricks}

// ground is a picture of one of the kinds in random colours, with a little noise.
func ground(rng *rand.Rand, width, height int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	f := grounds[rng.IntN(len(grounds))](rng)
	a, b := colour(rng), colour(rng)
	noise := rng.Float64() * 24
	for y := range height {
		for x := range width {
			share := min(max(f(float64(x), float64(y)), 0), 1)
			grain := (rng.Float64() + rng.Float64() - 1) * noise
			var c [3]uint8
			for k := range c {
				c[k] = uint8(min(max(a[k]+share*(b[k]-a[k])+grain, 0), 255))
			}
			m.SetRGBA(x, y, color.RGBA{c[0], c[1], c[2], 255})
		}
	}
	return m
}

// colour is a random one, pale or dark more often than bright.
func colour(rng *rand.Rand) (c [3]float64) {
	hue, saturation, value := rng.Float64()*6, rng.Float64()*rng.Float64(), 0.15+0.85*rng.Float64()
	for k := range c {
		distance := math.Abs(math.Mod(hue+float64(2*k), 6) - 3) // 0 to 3
		c[k] = 255 * value * (1 - saturation*min(max(2-distance, 0), 1))
	}
	return c
}

func flat(*rand.Rand) field { return func(_, _ float64) float64 { return 0 } }

func gradient(rng *rand.Rand) field {
	along, length := direction(rng), 60+rng.Float64()*240
	return func(x, y float64) float64 { return 0.5 + 0.5*math.Sin(along(x, y)/length*math.Pi) }
}

func stripes(rng *rand.Rand) field {
	along, length := direction(rng), 6+rng.Float64()*34
	sharp := 0.6 + rng.Float64()*6
	return func(x, y float64) float64 { return 0.5 + sharp*math.Sin(along(x, y)/length*math.Pi) }
}

func checks(rng *rand.Rand) field {
	along, side := rng.Float64()*math.Pi/2, 8+rng.Float64()*30
	cos, sin := math.Cos(along), math.Sin(along)
	return func(x, y float64) float64 {
		u, v := math.Floor((x*cos+y*sin)/side), math.Floor((y*cos-x*sin)/side)
		return math.Abs(math.Mod(u+v, 2))
	}
}

// clouds are four octaves of value noise.
func clouds(rng *rand.Rand) field {
	n, length := newNoise(rng), 10+rng.Float64()*50
	return func(x, y float64) (sum float64) {
		for octave := range 4 {
			scale := float64(int(1) << octave)
			sum += n.at(x*scale/length, y*scale/length) / scale
		}
		return sum*1.6 - 1
	}
}

// rings are like wood: clouds that come round and round.
func rings(rng *rand.Rand) field {
	n, length, turns := newNoise(rng), 40+rng.Float64()*80, 3+rng.Float64()*6
	stretch := 0.2 + 0.8*rng.Float64()
	return func(x, y float64) float64 {
		return 0.5 + 0.5*math.Sin(2*math.Pi*turns*n.at(x*stretch/length, y/length))
	}
}

func spots(rng *rand.Rand) field {
	n, side := newNoise(rng), 10+rng.Float64()*30
	return func(x, y float64) float64 {
		u, v := math.Floor(x/side), math.Floor(y/side)
		radius := side * (0.2 + 0.25*n.corner(int(u), int(v)))
		return radius + 0.5 - math.Hypot(x-(u+0.5)*side, y-(v+0.5)*side)
	}
}

func bricks(rng *rand.Rand) field {
	n, height, joint := newNoise(rng), 10+rng.Float64()*20, 1+rng.Float64()*3
	return func(x, y float64) float64 {
		row := math.Floor(y / height)
		x += math.Mod(math.Abs(row), 2) * height
		column := math.Floor(x / (2 * height))
		if y-row*height < joint || x-column*2*height < joint {
			return 1
		}
		return 0.5 * n.corner(int(column), int(row))
	}
}

// direction measures along a random one.
func direction(rng *rand.Rand) field {
	angle, start := rng.Float64()*2*math.Pi, rng.Float64()*100
	cos, sin := math.Cos(angle), math.Sin(angle)
	return func(x, y float64) float64 { return x*cos + y*sin + start }
}

// noise has a random value from 0 to 1 at each corner of a grid, which repeats after 64.
type noise [64 * 64]float64

func newNoise(rng *rand.Rand) *noise {
	n := &noise{}
	for i := range n {
		n[i] = rng.Float64()
	}
	return n
}

func (n *noise) corner(x, y int) float64 { return n[(y&63)*64+x&63] }

// at blends the four corners around a place.
func (n *noise) at(x, y float64) float64 {
	u, v := math.Floor(x), math.Floor(y)
	ease := func(t float64) float64 { return t * t * (3 - 2*t) }
	s, t, i, j := ease(x-u), ease(y-v), int(u), int(v)
	above := n.corner(i, j)*(1-s) + n.corner(i+1, j)*s
	below := n.corner(i, j+1)*(1-s) + n.corner(i+1, j+1)*s
	return above*(1-t) + below*t
}
