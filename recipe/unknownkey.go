package recipe

import (
	"reflect"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// unknown reports a key that is none, and takes the key that was likely meant for given.
func (d *decoder) unknown(name string, in reflect.Type, key string, at place) {
	names := keysOf(in)
	path := joinKey(key, name)
	if name == "<<" {
		d.addAt(at, path, "merge keys are not supported; an alias can stand for a whole value")
		return
	}
	meant := suggest.Nearest(name, names)
	if other := familiar[name]; slices.Contains(names, other) {
		meant = other
	}
	if meant != "" {
		d.addAt(at, path, "unknown key; did you mean %q?", meant)
		d.failed[joinKey(key, meant)] = true
		return
	}
	if elsewhere := findKey(name); elsewhere != "" {
		d.addAt(at, path, "unknown key; did you mean %s?", elsewhere)
		return
	}
	d.addAt(at, path, "unknown key; the keys here are %s", strings.Join(names, ", "))
}

// familiar are the names that transformers' TrainingArguments and scripts have for the same things.
var familiar = map[string]string{
	"adam_epsilon": "eps", "batch_size": "size", "bf16": "precision", "dataset": "data", "dtype": "precision",
	"epsilon": "eps", "fp16": "precision", "gradient_checkpointing": "checkpointing", "label_smoothing_factor": "label_smoothing", "labels": "classes",
	"learning_rate": "lr", "lora_alpha": "alpha", "lora_dropout": "dropout", "lr_scheduler_type": "schedule",
	"max_grad_norm": "clip_norm", "max_seq_length": "max_length", "metric_for_best_model": "best",
	"model_name_or_path": "model", "num_train_epochs": "epochs", "output_dir": "out", "peft": "lora",
	"per_device_eval_batch_size": "eval_size", "per_device_train_batch_size": "size", "pictures": "images",
	"problem_type": "objective", "r": "rank", "scheduler": "schedule", "target_modules": "targets", "text_pair": "pair",
	"use_rslora": "rslora", "validation": "test", "warmup": "warm_up", "warmup_ratio": "warm_up",
}

// findKey returns the path of a key that is known elsewhere in the spec, or "".
func findKey(name string) string {
	if other, ok := familiar[name]; ok {
		name = other
	}
	var find func(t reflect.Type, prefix string) string
	find = func(t reflect.Type, prefix string) string {
		for i := range t.NumField() {
			f := t.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			ft := f.Type
			path := joinKey(prefix, key)
			if key == name {
				return path
			}
			if ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct {
				ft, path = ft.Elem(), path+"[0]"
			}
			if ft.Kind() == reflect.Struct {
				if found := find(ft, path); found != "" {
					return found
				}
			}
		}
		return ""
	}
	return find(reflect.TypeFor[Spec](), "")
}
