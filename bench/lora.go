package main

import (
	"cmp"
	"fmt"
)

// What trains with adapters on both sides: rank 8 beside query and value of every layer, one epoch of batches of like
// length.
var (
	loraKeys = []string{
		"lora={rank: 8, alpha: 16, dropout: 0.05, targets: [query, value]}", "head.pooling=cls", "phases=[{train: lora, epochs: 1, lr: 5e-4}]",
	}
	loraEpoch = []string{"lora", "1", "5e-4"}
)

// runLoRA trains adapters with Thaw and with PEFT, in turn, on all cores. Both times are those of the training alone: of
// Thaw with the frozen prefix, which is run once.
func runLoRA(o options) error {
	if err := need(program, modelFolder, reviewsFile, demoRows); err != nil {
		return err
	}
	r, err := newReport("lora", 2) // as cpu_text.py sets it
	if err != nil {
		return err
	}
	var thaws []*thawRun
	var peers []*peerRun
	r.Comparisons, err = compare(cmp.Or(o.rounds, 3), 0, []trial{{
		name: "LoRA, one epoch", peerName: "PEFT", unit: "s",
		thaw: func() (float64, error) {
			run, err := runThaw(fmt.Sprintf("bench-lora-%s-%d", r.Date.Format("20060102-150405"), len(thaws)+1), loraKeys...)
			if err != nil {
				return 0, err
			}
			thaws = append(thaws, run)
			return run.Summary.Seconds.Prefix + run.Summary.Seconds.Train, nil
		},
		peer: func() (float64, error) {
			run, err := runPeer(loraEpoch)
			if err != nil {
				return 0, err
			}
			peers = append(peers, run)
			return run.Seconds, nil
		},
	}})
	if err != nil {
		return err
	}
	r.Details = map[string]any{"thaw": thaws, "peer": peers}
	if err := r.finish(o.results); err != nil {
		return err
	}
	for i := range thaws {
		fmt.Printf("Thaw accuracy %.4f, peak %.2f GB; PEFT accuracy %.4f, peak %.2f GB\n", thaws[i].Summary.Best.Value("accuracy"),
			float64(thaws[i].Summary.PeakBytes)/1e9, peers[i].Accuracy, float64(peers[i].Process.PeakBytes)/1e9)
	}
	return nil
}
