package recipe

// resolve checks when a phase ends early.
func (e *EarlyStopping) resolve(f *faults, tested bool) {
	f.check(e.Patience >= 0, "early_stopping.patience", "must be 0 (off) or above, found %d", e.Patience)
	f.check(e.MinDelta >= 0, "early_stopping.min_delta", "must be 0 or above, found %v", e.MinDelta)
	f.check(e.MinDelta == 0 || e.Patience != 0, "early_stopping.min_delta", "goes with early_stopping.patience")
	f.check(e.Patience <= 0 || tested, "early_stopping.patience", "needs data.test: evaluations tell when a phase gets no better")
}

// resolveSchedule checks the keys that belong to a phase's schedule, and that there are no others.
func (p *Phase) resolveSchedule(f *faults, key string) {
	only := func(given bool, name, schedule string) bool {
		f.check(!given || p.Schedule == schedule, key+"."+name, "is for schedule: %s", schedule)
		return p.Schedule == schedule
	}
	only(p.EndLR != nil, "end_lr", "polynomial")
	if only(p.Power != 0, "power", "polynomial") {
		f.fallbackFloat(key+".power", &p.Power, 1)
		fallback(&p.EndLR, new(1e-7))
		f.check(positive(p.Power), key+".power", "must be above 0, found %v", p.Power)
		f.check(0 <= *p.EndLR && (*p.EndLR < p.LR || !positive(p.LR)), key+".end_lr", "must be from 0 to below lr, found %v", *p.EndLR)
	}
	only(p.Gamma != 0, "gamma", "step")
	if only(p.StepEpochs != 0, "step_epochs", "step") {
		f.check(p.StepEpochs >= 1, key+".step_epochs", "must be 1 or more, the epochs after which the rate falls; found %d", p.StepEpochs)
		f.fallbackFloat(key+".gamma", &p.Gamma, 0.1)
		f.check(0 < p.Gamma && p.Gamma <= 1, key+".gamma", "must be above 0 and at most 1, found %v", p.Gamma)
	}
	only(p.Factor != 0, "factor", "plateau")
	if only(p.Patience != nil, "patience", "plateau") {
		if p.Patience == nil {
			p.Patience = new(10)
		}
		f.fallbackFloat(key+".factor", &p.Factor, 0.1)
		f.check(*p.Patience >= 0, key+".patience", "must be 0 or above, found %d", *p.Patience)
		f.check(0 < p.Factor && p.Factor < 1, key+".factor", "must be above 0 and below 1, found %v", p.Factor)
	}
}
