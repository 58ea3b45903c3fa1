package recipe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/vision"
)

// cardUse shows a program that uses the export, to be run in its folder. bench/peers/check_exports.py runs them all.
func (r *Run) cardUse(b *bytes.Buffer, folder string, to Format) {
	program, after := r.use(folder, to)
	fmt.Fprintf(b, "\n## Use\n\n```python\n%s```\n\n%s\n", program, after)
}

// scores says what logits mean.
func scores(problem string) string {
	switch problem {
	case string(text.MultiLabel):
		return "The sigmoid of each logit is the score of its label."
	case string(text.Regression):
		return "The one logit is the number."
	}
	return "The softmax of the logits gives the scores of the classes."
}

// use implements Model.
func (m *textModel) use(folder string, to Format) (program, after string) {
	problem, length := string(m.Config.ProblemType), m.LimitLength()
	one, samples := `"the first text"`, `["the first text", "a second, longer one"]`
	if m.Pairs() {
		one = `{"text": "the first text", "text_pair": "what belongs to it"}`
		samples = `[("the first text", "what belongs to it"), ("another", "and its second text")]`
	}
	if to == Transformers {
		function := ""
		if problem == string(text.Regression) {
			function = `, function_to_apply="none"`
		}
		return `from transformers import pipeline

classify = pipeline("text-classification", model=".")
print(classify(` + one + `, truncation=True, top_k=None` + function + `))
`, fmt.Sprintf("Texts are cut after %d tokens, as in training.", length)
	}
	tokenize := fmt.Sprintf(`from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation(%d)
tokenizer.enable_padding(pad_id=%d)
rows = tokenizer.encode_batch(%s)
inputs = {
    "input_ids": [r.ids for r in rows],
    "attention_mask": [r.attention_mask for r in rows],
    "token_type_ids": [r.type_ids for r in rows],
}
`, length, m.Config.PadTokenID, samples)
	if !exists(filepath.Join(folder, "tokenizer.json")) {
		separate := samples
		if m.Pairs() {
			separate = `["the first text", "another"], ["what belongs to it", "and its second text"]`
		}
		tokenize = fmt.Sprintf(`from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
inputs = tokenizer(%s, truncation=True, max_length=%d, padding=True, return_token_type_ids=True)
`, separate, length)
	}
	return `import numpy as np
import onnxruntime
` + tokenize + `
session = onnxruntime.InferenceSession("model.onnx")
inputs = {name: np.array(values, np.int64) for name, values in inputs.items()}
(logits,) = session.run(["logits"], inputs)  # [rows, logits]
print(logits)
`, scores(problem)
}

// use implements Model.
func (m *imageModel) use(_ string, to Format) (program, after string) {
	after = scores(string(m.ProblemType))
	switch to {
	case Transformers:
		return `from transformers import pipeline

classify = pipeline("image-classification", model=".")
print(classify("picture.png"))
`, fmt.Sprintf("Pictures are resized until the shorter side is %d pixels; the middle %d x %d pixels are taken.",
				m.Input.Resize, m.Input.Crop, m.Input.Crop)
	case Torchvision:
		return `import json

import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

config = json.load(open("config.json"))["torchvision"]
model = torchvision.models.get_model(config["architecture"], num_classes=config["num_classes"])
model.load_state_dict(load_file("model.safetensors"))
model.eval()
transforms = config["transforms"]
transforms["interpolation"] = InterpolationMode(transforms["interpolation"])
prepare = ImageClassification(**transforms)
with torch.no_grad():
    logits = model(prepare(Image.open("picture.png").convert("RGB")).unsqueeze(0))
print(logits)
`, after
	}
	return onnxPictures(m.Input), after
}

// onnxPictures is a program that makes pictures what the graph takes.
func onnxPictures(in vision.Input) string {
	list := func(v [3]float64) string {
		data, _ := json.Marshal(v) // numbers that were read from JSON
		return strings.ReplaceAll(string(data), ",", ", ")
	}
	return strings.NewReplacer("RESIZE", fmt.Sprint(in.Resize), "CROP", fmt.Sprint(in.Crop), "MEAN", list(in.Mean),
		"STD", list(in.Std), "FILTER", strings.ToUpper(in.Filter())).Replace(`import numpy as np
import onnxruntime
from PIL import Image


def pixels(path):
    image = Image.open(path).convert("RGB")
    short = min(image.size)
    image = image.resize([RESIZE * side // short for side in image.size], Image.Resampling.FILTER)
    left, top = (round((side - CROP) / 2) for side in image.size)
    image = image.crop((left, top, left + CROP, top + CROP))
    x = np.asarray(image, np.float32) / 255
    return ((x - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)


session = onnxruntime.InferenceSession("model.onnx")
(logits,) = session.run(["logits"], {"pixel_values": np.stack([pixels("picture.png")])})  # [pictures, logits]
print(logits)
`)
}

// exists reports whether there is something at a path.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
