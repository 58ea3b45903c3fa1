package finetune

import (
	"fmt"
	"math"
)

// Phase is a stretch of training with one set of stages thawed. The zero value of a field stands for its default.
type Phase struct {
	Train  Selection // what is trained; the default is the head
	Epochs int       // passes over the training samples; the default is 1
	// LR is the highest learning rate of the stage just below the head. The default is 5e-5, that of transformers'
	// TrainingArguments; 1e-3, torch.optim.AdamW's, in a phase that trains nothing but the head; 5e-4 in one that trains
	// adapters ("lora"; Hu et al. 2021, table 9).
	LR float64
	// HeadLR is the highest learning rate of the head. The default is 10 times LR, as in Caffe's fine-tuning of
	// CaffeNet for Flickr style (lr_mult 10 on the new layer), and LR itself in a phase that trains nothing but the
	// head, or adapters, which start from nothing as it does.
	HeadLR float64
	// LayerDecay, in (0, 1], multiplies the learning rate once for each stage further down: the stage just below the
	// head has LR, the next LR*LayerDecay (Howard and Ruder 2018; Clark et al. 2020 fine-tune at 0.8 and 0.9). The
	// default is 1: one rate for all, as Devlin et al. 2018.
	LayerDecay float64
	// WarmUp, in (0, 1), is the share of the phase's steps in which the learning rate rises from 0. The default is 0.1,
	// warmup_proportion of BERT's run_classifier.py; for OneCycle it is 0.3, pct_start of PyTorch's OneCycleLR. Off:
	// none.
	WarmUp float64
	// Schedule of the learning rate after the warm-up; the default is Linear.
	Schedule Schedule
}

// Schedule names how the learning rate falls.
type Schedule string

// The schedules.
const (
	Linear   Schedule = "linear"    // to 0 (BERT's optimization.py, and transformers' lr_scheduler_type)
	Cosine   Schedule = "cosine"    // to 0, as half a cosine (Loshchilov and Hutter 2017)
	Constant Schedule = "constant"  // stays
	OneCycle Schedule = "one-cycle" // rises and falls as half cosines (Smith and Topin 2017)
)

// HeadFor trains the head alone for some epochs.
func HeadFor(epochs int) Phase { return Phase{Train: HeadOnly(), Epochs: epochs} }

// TopFor trains the head and the last n stages before it for some epochs.
func TopFor(n, epochs int) Phase { return Phase{Train: Top(n), Epochs: epochs} }

// AllFor trains everything for some epochs.
func AllFor(epochs int) Phase { return Phase{Train: All(), Epochs: epochs} }

// resolve fills in the defaults and checks the values.
func (p *Phase) resolve() error {
	if len(p.Train) == 0 {
		p.Train = HeadOnly()
	}
	var err error
	if p.Train, err = p.Train.Clean(); err != nil {
		return fmt.Errorf("%s: %w", "Train", err)
	}
	headOnly := p.Train.HeadOnly()
	orDefault(&p.Epochs, 1)
	if headOnly {
		orDefault(&p.LR, 1e-3)
		orDefault(&p.HeadLR, p.LR)
	}
	if p.Train.TrainsLoRA() {
		orDefault(&p.LR, 5e-4)
		orDefault(&p.HeadLR, p.LR)
	}
	orDefault(&p.LR, 5e-5)
	orDefault(&p.HeadLR, 10*p.LR)
	orDefault(&p.LayerDecay, 1)
	orDefault(&p.Schedule, Linear)
	if p.Schedule == OneCycle {
		orOff(&p.WarmUp, 0.3)
	} else {
		orOff(&p.WarmUp, 0.1)
	}
	switch {
	case p.Epochs < 1:
		return fault("Epochs", "must be 1 or more, found %d", p.Epochs)
	case !positive(p.LR):
		return fault("LR", "must be above 0, found %v", p.LR)
	case !positive(p.HeadLR):
		return fault("HeadLR", "must be above 0, found %v", p.HeadLR)
	case !(0 < p.LayerDecay && p.LayerDecay <= 1):
		return fault("LayerDecay", "must be above 0 and at most 1, found %v", p.LayerDecay)
	case !(0 <= p.WarmUp && p.WarmUp < 1):
		return fault("WarmUp", "must be from 0 to below 1, or Off, found %v", p.WarmUp)
	case p.Schedule != Linear && p.Schedule != Cosine && p.Schedule != Constant && p.Schedule != OneCycle:
		return fault("Schedule", "must be linear, cosine, constant or one-cycle, found %q", p.Schedule)
	}
	return nil
}

// rate is the highest learning rate of stage i of n, the head being the last.
func (p Phase) rate(i, n int) float64 {
	if i == n-1 {
		return p.HeadLR
	}
	return p.LR * math.Pow(p.LayerDecay, float64(n-2-i))
}
