package finetune

import (
	"fmt"
	"math"

	"github.com/thaw-ml/thaw/torch/optim"
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
	// Power and EndLR are Polynomial's: the exponent, 1 unless given, and what LR falls to, 1e-7 unless given, as
	// transformers' lr_scheduler_kwargs power and lr_end.
	Power, EndLR float64
	// StepEpochs and Gamma are Step's: every so many epochs the rate is multiplied by Gamma, 0.1 unless given (PyTorch's
	// StepLR).
	StepEpochs int
	Gamma      float64
	// Patience and Factor are Plateau's: when the metric that chooses the best epoch has not become better for more than
	// Patience epochs, 10 unless given, the rate is multiplied by Factor, 0.1 unless given (PyTorch's ReduceLROnPlateau).
	// Off as Patience is none.
	Patience int
	Factor   float64
}

// Schedule names how the learning rate falls.
type Schedule string

// The schedules.
const (
	Linear   Schedule = "linear"    // to 0 (BERT's optimization.py, and transformers' lr_scheduler_type)
	Cosine   Schedule = "cosine"    // to 0, as half a cosine (Loshchilov and Hutter 2017)
	Constant Schedule = "constant"  // stays
	OneCycle Schedule = "one-cycle" // rises and falls as half cosines (Smith and Topin 2017)
	// Polynomial falls to EndLR as a power (BERT's optimization.py has power 1), Step after every few epochs, and Plateau
	// when the evaluation no longer gets better.
	Polynomial Schedule = "polynomial"
	Step       Schedule = "step"
	Plateau    Schedule = "plateau"
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
	if err := p.resolveSchedule(); err != nil {
		return err
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
	}
	return nil
}

// resolveSchedule checks the schedule and what belongs to it.
func (p *Phase) resolveSchedule() error {
	switch p.Schedule {
	case Linear, Cosine, Constant, OneCycle:
	case Polynomial:
		orDefault(&p.Power, 1)
		orOff(&p.EndLR, 1e-7)
		if !positive(p.Power) {
			return fault("Power", "must be above 0, found %v", p.Power)
		}
		if !(0 <= p.EndLR && p.EndLR < p.LR) {
			return fault("EndLR", "must be from 0 (Off) to below LR, %v, found %v", p.LR, p.EndLR)
		}
	case Step:
		orDefault(&p.StepEpochs, 1)
		orDefault(&p.Gamma, 0.1)
		if p.StepEpochs < 1 {
			return fault("StepEpochs", "must be 1 or more, found %d", p.StepEpochs)
		}
		if !(0 < p.Gamma && p.Gamma <= 1) {
			return fault("Gamma", "must be above 0 and at most 1, found %v", p.Gamma)
		}
	case Plateau:
		switch p.Patience {
		case 0:
			p.Patience = 10
		case Off:
			p.Patience = 0
		}
		orDefault(&p.Factor, 0.1)
		if p.Patience < 0 {
			return fault("Patience", "must be 0 (Off) or above, found %d", p.Patience)
		}
		if !(0 < p.Factor && p.Factor < 1) {
			return fault("Factor", "must be above 0 and below 1, found %v", p.Factor)
		}
	default:
		return fault("Schedule", "must be linear, cosine, constant, one-cycle, polynomial, step or plateau, found %q", p.Schedule)
	}
	return nil
}

// schedule is the factor on the rates of a phase of so many steps.
func (p Phase) schedule(steps, batches int) (optim.Schedule, error) {
	warmUp := optim.WarmUpSteps(p.WarmUp, steps)
	switch p.Schedule {
	case Polynomial:
		return optim.Polynomial(warmUp, steps, p.Power, p.EndLR/p.LR), nil
	case Step:
		return optim.Steps(warmUp, p.StepEpochs*batches, p.Gamma), nil
	case Plateau:
		return optim.Constant(warmUp), nil
	}
	return optim.NewSchedule(string(p.Schedule), p.WarmUp, steps)
}

// plateau is what lowers the rates of a phase between epochs; nil where nothing does.
func (p Phase) plateau() *optim.Plateau {
	if p.Schedule != Plateau {
		return nil
	}
	return &optim.Plateau{Factor: p.Factor, Patience: p.Patience, Threshold: 1e-4}
}

// rate is the highest learning rate of stage i of n, the head being the last.
func (p Phase) rate(i, n int) float64 {
	if i == n-1 {
		return p.HeadLR
	}
	return p.LR * math.Pow(p.LayerDecay, float64(n-2-i))
}
