package train

import "github.com/thaw-ml/thaw/torch"

// lossSum sums the loss of an epoch on the device and reads the sum while steps go on: no step waits for the value.
type lossSum struct {
	sum     torch.Tensor // of loss times samples, a float64 without dimensions
	backend Backend
	samples int     // whose steps were queued
	pending Reading // nil when nothing is on its way
	at      int     // samples when pending was begun
	mean    float64 // the newest that is known
	known   int     // samples that mean is of
}

func newLossSum(b Backend) *lossSum {
	return &lossSum{sum: torch.NewParam(func() torch.Tensor { return torch.Zeros(torch.Float64, b.Device()) }), backend: b}
}

// add is part of a step on the device: samples is a tensor without dimensions.
func (m *lossSum) add(loss, samples torch.Tensor) {
	torch.NoGrad(func() { m.sum.Addcmul_(loss.Detach(), samples, 1) })
}

// reset starts an epoch, or goes on with one.
func (m *lossSum) reset(sum float64, samples int) {
	m.drop()
	m.sum.Fill_(sum)
	m.samples, m.known, m.mean = samples, samples, 0
	if samples > 0 {
		m.mean = sum / float64(samples)
	}
}

// queued takes note of a step that was queued, and gives the newest mean loss that is known.
func (m *lossSum) queued(samples int) (mean float64, err error) {
	m.samples += samples
	if m.pending != nil && m.pending.Done() {
		sum, err := m.pending.Wait()
		if err != nil {
			return 0, err
		}
		m.mean, m.known = sum/float64(m.at), m.at
		m.drop()
	}
	if m.pending == nil {
		m.at = m.samples
		if m.pending, err = m.backend.Read(m.sum); err != nil {
			return 0, err
		}
	}
	return m.mean, nil
}

// value waits for all steps and gives the sum.
func (m *lossSum) value() (float64, error) {
	m.drop()
	r, err := m.backend.Read(m.sum)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return r.Wait()
}

// total waits for all steps and gives the mean loss of the epoch.
func (m *lossSum) total() (float64, error) {
	sum, err := m.value()
	return sum / float64(m.samples), err
}

func (m *lossSum) drop() {
	if m.pending != nil {
		m.pending.Close()
		m.pending = nil
	}
}

func (m *lossSum) close() {
	m.drop()
	m.sum.Close()
}
