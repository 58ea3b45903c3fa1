package main

import (
	"fmt"

	"github.com/thaw-ml/thaw/finetune"
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
	t := trainings{name: "lora", folder: "bench-lora", title: "LoRA, one epoch", peerName: "PEFT", keys: loraKeys, peer: loraEpoch}
	thaws, peers, err := t.run(o, 3, func(s finetune.Seconds) float64 { return s.Prefix + s.Train })
	if err != nil {
		return err
	}
	for i := range thaws {
		fmt.Printf("Thaw accuracy %.4f, peak %.2f GB; PEFT accuracy %.4f, peak %.2f GB\n", thaws[i].Summary.Best.Value("accuracy"),
			float64(thaws[i].Summary.PeakBytes)/1e9, peers[i].Accuracy, float64(peers[i].Process.PeakBytes)/1e9)
	}
	return nil
}
