package finetune

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/internal/contention"
)

// place is a machine of two cores and what a network's steps take there, in milliseconds, as measured: docs/decisions/025.
type place struct {
	spinning, sleeping, one float64 // of two threads that spin, that do not, and of one thread
	waiting                 [3]float64
	own, taken              [3]float64
}

var (
	// BERT, float32, as they were measured.
	bertAlone  = place{877, 960, 1530, [3]float64{0.01, 0.01, 0}, [3]float64{1.74, 1.66, 1}, [3]float64{0.02, 0.02, 0.02}}
	bertBeside = place{1977, 1203, 1470, [3]float64{0.72, 0.69, 0.01}, [3]float64{1.09, 1.04, 0.99}, [3]float64{0.87, 0.92, 1}}
	bertTwo    = place{1490, 1546, 2376, [3]float64{0.92, 0.84, 0.5}, [3]float64{0.83, 0.76, 0.5}, [3]float64{1.15, 1.22, 1.49}}
	// ResNet-50, bfloat16: threads meet inside oneDNN, where not spinning makes it worse.
	resnetBeside = place{4693, 8568, 2934, [3]float64{0.85, 0.76, 0.01}, [3]float64{1.05, 1.08, 0.99}, [3]float64{0.88, 0.85, 1}}
	resnetAlone  = place{1692, 1654, 2900, [3]float64{0.01, 0.01, 0}, [3]float64{1.99, 1.8, 1}, [3]float64{0.01, 0.01, 0.01}}
)

// steps has a balance look at windows of steps for some time, and gives the choices that were told.
func (p place) steps(b *balance, at *time.Time, d time.Duration) (told []choice) {
	for end := at.Add(d); at.Before(end); {
		way := 0
		switch b.now {
		case computing{2, false}:
			way = 1
		case computing{1, false}:
			way = 2
		}
		took := [3]float64{p.spinning, p.sleeping, p.one}[way] / 1000
		n := 2.0
		for n*took < b.least() {
			n++
		}
		*at = at.Add(time.Duration(n * took * float64(time.Second)))
		share := contention.Share{Own: p.own[way], Taken: p.taken[way], Known: true, Waiting: p.waiting[way]}
		if c := b.look(window{work: n, seconds: n * took, share: share}, *at); c != nil {
			told = append(told, *c)
		}
	}
	return told
}

func TestBalance(t *testing.T) {
	spinning, sleeping, one := computing{2, true}, computing{2, false}, computing{1, false}
	for _, c := range []struct {
		name      string
		at        place
		mayChange bool
		want      computing
		faster    float64
	}{
		{"alone", bertAlone, true, spinning, 0},
		{"BERT beside a busy process", bertBeside, true, sleeping, 1977.0 / 1203},
		{"BERT beside a busy process, bit for bit", bertBeside, false, sleeping, 1977.0 / 1203},
		{"BERT beside two", bertTwo, true, spinning, 1},
		{"ResNet beside one", resnetBeside, true, one, 4693.0 / 2934},
		{"ResNet beside one, bit for bit", resnetBeside, false, spinning, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, at := newBalance(2, c.mayChange, 2, 0), time.Unix(1e9, 0)
			told := c.at.steps(&b, &at, 40*time.Second)
			assert.Equal(t, c.want, b.now)
			assert.Empty(t, b.trying)
			if c.faster == 0 {
				assert.Empty(t, told)
				return
			}
			assert.Equal(t, c.want, told[0].computing)
			assert.InDelta(t, c.faster, told[0].faster, 1e-9)
		})
	}
}

func TestBalanceFollowsTheNeighbours(t *testing.T) {
	b, at := newBalance(2, true, 2, 0), time.Unix(1e9, 0)
	assert.Empty(t, bertAlone.steps(&b, &at, time.Minute))
	changes := func(told []choice) (to []computing) {
		for _, c := range told {
			if c.computing != c.before {
				to = append(to, c.computing)
			}
		}
		return to
	}
	assert.Equal(t, []computing{{2, false}}, changes(bertBeside.steps(&b, &at, 30*time.Second)))
	assert.Equal(t, []computing{{2, true}}, changes(bertAlone.steps(&b, &at, 2*time.Minute)), "the neighbour is gone")
	assert.Equal(t, computing{2, true}, b.now)

	b = newBalance(2, true, 2, 0)
	resnetBeside.steps(&b, &at, time.Minute)
	assert.Equal(t, computing{1, false}, b.now)
	resnetAlone.steps(&b, &at, 3*time.Minute)
	assert.Equal(t, computing{2, true}, b.now, "the neighbour is gone")
}

// Trials that find nothing better, and returns that are of no use, become rare.
func TestBalanceLosesLittleTime(t *testing.T) {
	b, at := newBalance(2, true, 2, 0), time.Unix(1e9, 0)
	assert.LessOrEqual(t, len(bertTwo.steps(&b, &at, time.Hour)), 12)
	// Threads that wait where they spin alone: the run's own decoders are such neighbours.
	decoding := bertBeside
	decoding.waiting[1] = 0.05
	b = newBalance(2, true, 2, 0)
	began := at
	told := decoding.steps(&b, &at, time.Hour)
	assert.LessOrEqual(t, len(told), 24)
	assert.NotEmpty(t, told)
	assert.GreaterOrEqual(t, at.Sub(began), time.Hour)
}

func TestBalanceAtAQuota(t *testing.T) {
	share := contention.Share{Own: 1.45, Known: true} // of 1.5: threads are stopped, and wait for no CPU
	b, at := newBalance(2, true, 1.5, 1.5), time.Unix(1e9, 0)
	assert.Nil(t, b.look(window{2, 2, share}, at))
	assert.Equal(t, computing{2, false}, b.now, "it is tried")
	b = newBalance(2, true, 2, 0)
	assert.Nil(t, b.look(window{2, 2, share}, at))
	assert.Equal(t, computing{2, true}, b.now)
}

func TestSharingIsTold(t *testing.T) {
	e := ThreadsChosen{Threads: 2, Usual: 2, Taken: 0.87, CPUs: 2, Faster: 1.64}
	assert.Equal(t, "threads: other programs take 0.9 of 2 CPUs; the 2 threads no longer spin while they wait, which is 1.6 times as fast here", e.String())
	e.Threads, e.CPUs = 1, 1.5
	assert.Equal(t, "threads: other programs take 0.9 of 1.5 CPUs; 1 thread in place of 2, which is 1.6 times as fast here", e.String())
	e.Taken = 0
	assert.Contains(t, e.String(), "more wants to compute at a time than there are CPUs;")
	assert.Equal(t, "threads: the CPUs are free again: 2 threads as at first", ThreadsChosen{Threads: 2, Usual: 2, Spinning: true}.String())
}
