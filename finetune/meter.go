package finetune

import "github.com/thaw-ml/thaw/torch"

// meter sums the loss of an epoch on the device and reads the sum while steps go on: no step waits for it.
type meter struct {
	sum     torch.Tensor // of loss times rows, a float64 without dimensions
	machine machine
	rows    int     // given to compute
	pending reading // nil when nothing is under way
	when    int     // rows when pending was begun
	mean    float64 // the last that is known
}

func newMeter(m machine) *meter {
	return &meter{sum: persistent(func() torch.Tensor { return torch.Zeros(torch.Float64, m.device()) }), machine: m}
}

// add is part of a step on the device: rows is a tensor without dimensions.
func (m *meter) add(loss, rows torch.Tensor) {
	torch.NoGrad(func() { m.sum.Addcmul_(loss.Detach(), rows, 1) })
}

// reset starts an epoch.
func (m *meter) reset() {
	m.drop()
	m.sum.Zero_()
	m.rows, m.mean = 0, 0
}

// stepped takes note of a step that was given to compute, and gives the newest mean loss that is known.
func (m *meter) stepped(rows int) (mean float64, err error) {
	m.rows += rows
	if m.pending != nil && m.pending.done() {
		sum, err := m.pending.wait()
		if err != nil {
			return 0, err
		}
		m.mean = sum / float64(m.when)
		m.drop()
	}
	if m.pending == nil {
		m.when = m.rows
		if m.pending, err = m.machine.read(m.sum); err != nil {
			return 0, err
		}
	}
	return m.mean, nil
}

// total waits for all steps and gives the mean loss of the epoch.
func (m *meter) total() (float64, error) {
	m.drop()
	r, err := m.machine.read(m.sum)
	if err != nil {
		return 0, err
	}
	defer r.close()
	sum, err := r.wait()
	return sum / float64(m.rows), err
}

func (m *meter) drop() {
	if m.pending != nil {
		m.pending.close()
		m.pending = nil
	}
}

func (m *meter) Close() {
	m.drop()
	m.sum.Close()
}

// persistent makes a tensor that outlives every scope.
func persistent(make func() torch.Tensor) (t torch.Tensor) {
	torch.Unscoped(func() { t = make() })
	return t
}
