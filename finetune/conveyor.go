package finetune

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/nn"
)

// conveyor makes the steps of a phase on a device that works beside the CPU. Nothing in it waits for a step: batches are
// copied while the step before runs, learning rates and the loss stay on the device, and steps that come often are
// recorded once and replayed.
type conveyor[B Samples[B]] struct {
	*trainer[B]
	meter    *meter
	knobs    torch.Tensor // float32: the groups' learning rates, and last the number of rows of the batch
	slots    map[string]*slot
	expect   map[[2]int]int      // batches of the phase by rows and length
	replayed []string            // the batches whose steps are replayed, by their shapes
	told     int                 // how many of them were told of
	halves   *fused.ShadowParams // copies of what is trained, made anew in each step; nil in float32
	frozen   *fused.ShadowParams // copies of what is not
	norms    []*nn.BatchNorm     // of the trained stages; their batches are counted here
	// recordNone is set where memory did not do for recordings and steps of other shapes.
	recordNone bool
}

// slot is where batches of the same shapes lie on the device.
type slot struct {
	inputs    []torch.Tensor // what a step reads; undefined where such batches have nothing
	arrivals  []torch.Tensor // where the next batch arrives; the last is for the knobs
	recording recording      // nil for steps that run operator by operator
	refused   bool           // it could not be recorded, or not be trusted
}

func newConveyor[B Samples[B]](t *trainer[B], groups, epochs int) *conveyor[B] {
	c := &conveyor[B]{trainer: t, slots: map[string]*slot{}, expect: map[[2]int]int{}, meter: newMeter(t.machine)}
	ready := false
	defer func() {
		if !ready { // memory ran short
			c.Close()
		}
	}()
	c.knobs = persistent(func() torch.Tensor { return torch.Zeros(torch.Float32, t.machine.device(), groups+1) })
	if t.spec.Precision == "bfloat16" {
		trained, frozen := c.rounded()
		c.halves = fused.NewShadowParams(trained, torch.BFloat16)
		c.frozen = fused.NewShadowParams(frozen, torch.BFloat16)
	}
	for _, r := range t.requests(1) {
		c.expect[[2]int{len(r.Indices), r.Length}] += epochs
	}
	for i, s := range t.model.Stages() {
		for _, norm := range nn.Modules[*nn.BatchNorm](s.Module) {
			if t.plan.Stages[i].Trained {
				norm.ExternalCounter = true
				c.norms = append(c.norms, norm)
			}
		}
	}
	ready = true
	return c
}

// rounded lists the parameters that autocast rounds, those that are trained and those that are not.
func (c *conveyor[B]) rounded() (trained, frozen []torch.Tensor) {
	for i, s := range c.model.Stages() {
		if c.cache != nil && i < c.plan.Prefix {
			continue // these stages do not run
		}
		for _, p := range nn.AutocastParams(s.Module) {
			if p.RequiresGrad() {
				trained = append(trained, p)
			} else {
				frozen = append(frozen, p)
			}
		}
	}
	return trained, frozen
}

// epoch makes a step of every batch that is asked for and gives the mean loss of the rows.
func (c *conveyor[B]) epoch(ctx context.Context, asked []Request) (float64, error) {
	c.meter.reset()
	rows := 0
	for l, err := range load(ctx, c.train, asked, c.pack) {
		if err != nil {
			return 0, err
		}
		loss, err := c.stepWith(l)
		if err != nil {
			return 0, fmt.Errorf("step %d: %w", c.step+1, err)
		}
		rows += l.batch.Size()
		c.report.Advance(rows, loss)
	}
	loss, err := c.meter.total()
	if told := c.told; len(c.replayed) > told {
		c.report.Note("graphs", fmt.Sprintf("steps of %s are replayed; each did what it does operator by operator", strings.Join(c.replayed[told:], ", ")))
		c.told = len(c.replayed)
	}
	c.report.Advance(rows, loss)
	if err == nil && (math.IsNaN(loss) || math.IsInf(loss, 0)) {
		err = errNotFinite
	}
	return loss, err
}

// pack makes what a step reads of a batch. It runs on the loader's goroutine.
func (c *conveyor[B]) pack(b B) (packed []torch.Tensor) {
	torch.Scoped(func() {
		torch.SingleThreaded(func() {
			tensors := b.Tensors()
			if c.cache != nil {
				tensors = append(tensors, c.cache.input(b, c.machine.device()))
			}
			packed = c.machine.pin(tensors)
		})
		torch.Keep(packed...)
	})
	return packed
}

// stepWith gives a step to the device. It returns the newest mean loss of the epoch that is known.
func (c *conveyor[B]) stepWith(l loaded[B]) (loss float64, err error) {
	if err := c.machine.pace(); err != nil {
		return 0, err
	}
	factor := c.schedule(c.step)
	rates := make([]float64, len(c.top))
	for i, g := range c.optimizer.Groups() {
		g.LR = c.top[i] * factor
		rates[i] = g.LR
	}
	p, err := c.slotOf(l.inputs)
	if err != nil {
		return 0, err
	}
	if err := c.deliver(p, l.inputs, knobValues(rates, l.batch.Size())); err != nil {
		return 0, err
	}
	step := func() (err error) {
		torch.Scoped(func() { err = c.compute(l.batch, p) })
		return err
	}
	if p.recording == nil && !p.refused && c.worthRecording(l.batch) {
		if err := c.record(p, l.batch, step); err != nil {
			return 0, err
		}
	}
	if p.recording != nil {
		err = p.recording.replay()
	} else {
		err = c.besideRecordings(step)
	}
	if err != nil {
		return 0, err
	}
	c.step++
	loss, err = c.meter.stepped(l.batch.Size())
	if err == nil && (math.IsNaN(loss) || math.IsInf(loss, 0)) {
		err = errNotFinite
	}
	return loss, err
}

// besideRecordings runs f operator by operator, with the memory that recordings keep, as nothing is replayed meanwhile and f
// leaves nothing there. Where memory runs short all the same they are given up, for the rest of the phase, and f runs once
// more.
func (c *conveyor[B]) besideRecordings(f func() error) error {
	run := func() (err error) {
		failure := torch.Try(func() { err = c.machine.share(f) })
		return errors.Join(err, failure)
	}
	err := run()
	if !outOfMemory(err) || !c.dropRecordings() {
		return err
	}
	c.report.Note("warning", "memory ran short beside the recorded steps: steps run operator by operator from here on, which is slower; with a smaller batch.size they could stay recorded")
	if err := c.machine.release(); err != nil {
		return err
	}
	return run()
}

// dropRecordings frees all recordings, and lets none be made; it reports whether there were any.
func (c *conveyor[B]) dropRecordings() (any bool) {
	c.optimizer.ZeroGrad() // what a step that broke off has left
	c.recordNone = true
	for _, p := range c.slots {
		if p.recording != nil {
			p.recording.close()
			p.recording, any = nil, true
		}
	}
	c.replayed, c.told = nil, 0
	return any
}

// knobValues is what the tensor knobs holds.
func knobValues(rates []float64, rows int) []float32 {
	knobs := make([]float32, 0, len(rates)+1)
	for _, rate := range rates {
		knobs = append(knobs, float32(rate))
	}
	return append(knobs, float32(rows))
}

// setKnobs sets learning rates and the number of rows at once, waiting for what came before.
func (c *conveyor[B]) setKnobs(rates []float64, rows int) {
	torch.Scoped(func() { c.knobs.Copy_(torch.FromSlice(knobValues(rates, rows))) })
}

// shapeOf names the shape of a batch: rows x length, or rows alone where samples have no length.
func shapeOf[B Samples[B]](b B) string {
	if b.Lengths() == nil {
		return fmt.Sprint(b.Size(), " samples")
	}
	return fmt.Sprintf("%d x %d", b.Size(), b.Width())
}

// worthRecording reports whether batches of this shape come so often that a recording pays: it takes as long as four
// steps or so.
func (c *conveyor[B]) worthRecording(b B) bool {
	length := 0
	if b.Lengths() != nil && c.trainSet.buckets != nil {
		length = b.Width()
	}
	return c.spec.Graph != "off" && !c.recordNone && c.expect[[2]int{b.Size(), length}] >= 4
}

// compute is a whole step. All that differs from step to step it reads from the place.
func (c *conveyor[B]) compute(b B, p *slot) error {
	own := len(p.inputs)
	var x torch.Tensor
	if c.cache != nil {
		own--
		x = c.cache.output(b, p.inputs[own])
	}
	b = b.With(p.inputs[:own])
	c.halves.Refresh()
	var loss torch.Tensor
	c.halves.Use(func() {
		c.frozen.Use(func() {
			if c.cache == nil && c.plan.Prefix > 0 {
				x = c.prefix(c.plan, b)
			}
			c.withPrecision(func() {
				loss = c.model.Loss(b, c.model.Forward(b, x, c.plan.Prefix, len(c.plan.Stages)), c.spec.LabelSmoothing)
			})
		})
	})
	loss.Backward()
	c.halves.Collect()
	c.countBatch()
	if err := c.improve(); err != nil {
		return err
	}
	c.meter.add(loss, c.knobs.Select(0, -1))
	return nil
}

// countBatch counts for all batch norms by one kernel.
func (c *conveyor[B]) countBatch() {
	counters := make([]torch.Tensor, len(c.norms))
	for i, norm := range c.norms {
		counters[i] = norm.NumBatchesTracked
	}
	if len(counters) > 0 {
		torch.ForeachAddScalar_(counters, 1)
	}
}

// slotOf finds or makes the place of batches with these shapes.
func (c *conveyor[B]) slotOf(inputs []torch.Tensor) (*slot, error) {
	var key strings.Builder
	for _, t := range inputs {
		if t.Defined() {
			fmt.Fprint(&key, t.DType(), t.Shape())
		}
		key.WriteByte(';')
	}
	if p := c.slots[key.String()]; p != nil {
		return p, nil
	}
	p := &slot{}
	torch.Unscoped(func() {
		for _, t := range inputs {
			device := c.machine.device()
			p.inputs, p.arrivals = append(p.inputs, room(t, device)), append(p.arrivals, room(t, device))
		}
		p.arrivals = append(p.arrivals, c.knobs.EmptyLike())
	})
	c.slots[key.String()] = p
	return p, c.machine.made()
}

// room is memory on the device for a tensor; undefined for one that is.
func room(t torch.Tensor, device torch.Device) torch.Tensor {
	if !t.Defined() {
		return t
	}
	return torch.Empty(t.DType(), device, t.Shape()...)
}

// deliver copies a batch to its place, beside the step that may still run.
func (c *conveyor[B]) deliver(p *slot, inputs []torch.Tensor, knobs []float32) (err error) {
	torch.Scoped(func() {
		from := append(append([]torch.Tensor{}, inputs...), c.machine.pin([]torch.Tensor{torch.FromSlice(knobs)})[0])
		to := append(append([]torch.Tensor{}, p.inputs...), c.knobs)
		if err = c.machine.copyAhead(func() { copyAll(p.arrivals, from) }); err != nil {
			return
		}
		copyAll(to, p.arrivals)
		err = c.machine.taken()
	})
	return err
}

func copyAll(to, from []torch.Tensor) {
	for i, t := range from {
		if t.Defined() {
			to[i].CopyAsync_(t)
		}
	}
}

// Close frees what lies on the device.
func (c *conveyor[B]) Close() {
	for _, p := range c.slots {
		if p.recording != nil {
			p.recording.close()
		}
		closeTensors(p.inputs)
		closeTensors(p.arrivals)
	}
	c.meter.Close()
	c.knobs.Close()
	c.halves.Close()
	c.frozen.Close()
	for _, norm := range c.norms {
		norm.ExternalCounter = false
	}
}
