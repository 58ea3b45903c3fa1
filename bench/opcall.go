package main

import (
	"cmp"
	"errors"
	"runtime"
	"time"

	"github.com/thaw-ml/thaw/torch"
)

// perScope is how many turns of a loop share a scope: about what a layer's forward pass makes before its scope ends.
const perScope = 32

// opCase is one loop over small operators.
type opCase struct {
	name     string
	peer     string // its name in peers/opcall.py
	peerName string
	share    int // of the calls asked for, one in so many: slower loops need fewer
	loop     func(n int)
}

// opCases makes the cases. Their operands belong to the scope that it is called in.
func opCases() []opCase {
	ones := func(size ...int) torch.Tensor { return torch.Ones(torch.Float32, torch.CPU, size...) }
	x, y, w := ones(8), ones(8), ones(8).RequiresGrad_(true)
	a, b := ones(64, 64), ones(64, 64)

	byScope := func(turn func()) func(int) {
		return func(n int) {
			for ; n > 0; n -= perScope {
				torch.Scoped(func() {
					for range min(n, perScope) {
						turn()
					}
				})
			}
		}
	}
	byClose := func(turn func() torch.Tensor) func(int) {
		return func(n int) {
			torch.Unscoped(func() {
				for range n {
					turn().Close()
				}
			})
		}
	}
	return []opCase{
		{"add, scope of 32", "add", "x + y", 1, byScope(func() { x.Add(y) })},
		{"add, closed", "add", "x + y", 1, byClose(func() torch.Tensor { return x.Add(y) })},
		{"add+grad, scope of 32", "add_grad", "w + y", 1, byScope(func() { w.Add(y) })},
		{"add+grad, closed", "add_grad", "w + y", 1, byClose(func() torch.Tensor { return w.Add(y) })},
		{"matmul 64x64", "matmul", "a @ b", 10, byScope(func() { a.MatMul(b) })},
		{"chain of 5", "chain", "((x + y) * x - y).relu().sum()", 5,
			byScope(func() { x.Add(y).Mul(x).Sub(y).ReLU().Sum() })},
	}
}

// runOpcall times operator calls on one thread, beside PyTorch's Python. Python frees each result at once, by its
// reference count, which is the cheapest it can do; so every case of Thaw's stands against the same loop.
func runOpcall(o options) error {
	if err := need(); err != nil {
		return err
	}
	// One thread, the collector's work included.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	torch.SetNumThreads(1)
	var err error
	failure := torch.Try(func() {
		torch.Scoped(func() {
			if o.profile {
				err = profileOpcall(o, opCases()[:4])
			} else {
				err = compareOpcall(o, opCases())
			}
		})
	})
	return errors.Join(err, failure)
}

func compareOpcall(o options, cases []opCase) error {
	p, err := startPeer("opcall.py")
	if err != nil {
		return err
	}
	defer p.close()
	r, err := newReport("opcall", 1)
	if err != nil {
		return err
	}
	var trials []trial
	for _, c := range cases {
		n := max(1, o.calls/c.share)
		trials = append(trials, trial{
			name: c.name, peerName: c.peerName, unit: "ns",
			thaw: func() (float64, error) {
				start := time.Now()
				c.loop(n)
				return float64(time.Since(start).Nanoseconds()) / float64(n), nil
			},
			peer: func() (float64, error) {
				a, err := p.ask(c.peer, n)
				return a.Nanoseconds / float64(n), err
			},
		})
	}
	if r.Comparisons, err = compare(cmp.Or(o.rounds, 7), 1, trials); err != nil {
		return err
	}
	r.Details = map[string]any{"operands": "8 float32 where no other size is named; all of a scope's turns end with it",
		"calls_a_round": o.calls, "turns_a_scope": perScope}
	return r.finish(o.results)
}
