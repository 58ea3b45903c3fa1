package hub

// repositories are models of Hugging Face's hub. Any other repository can be downloaded by its own name; these are
// known to be what the models here load, but for DistilBERT. Their parameters are counted on transformers' models
// (testdata/registry.py).
func repositories() []Model {
	encoder := func(name, architecture string, parameters int64, description string) Model {
		return Model{Name: name, Repository: name, Kind: TextEncoder, Architecture: architecture, Description: description,
			Parameters: parameters, Licence: "Apache-2.0", Input: Input{MaxTokens: 512}}
	}
	return []Model{
		encoder("bert-base-uncased", "bert", 109_482_240, "BERT base: 12 layers, hidden size 768, lower-cased English"),
		encoder("bert-base-cased", "bert", 108_310_272, "BERT base: 12 layers, hidden size 768, English"),
		encoder("bert-large-uncased", "bert", 335_141_888, "BERT large: 24 layers, hidden size 1024, lower-cased English"),
		encoder("distilbert-base-uncased", "distilbert", 66_362_880, "DistilBERT: 6 layers, hidden size 768, distilled from bert-base-uncased"),
		encoder("sentence-transformers/all-MiniLM-L6-v2", "bert", 22_713_216, "MiniLM: 6 layers, hidden size 384, trained to embed sentences (mean pooling)"),
		{Name: "microsoft/resnet-50", Repository: "microsoft/resnet-50", Kind: Classifier, Architecture: "resnet50", CategorySet: "imagenet",
			Description: "ResNet-50 as transformers saves it; its transforms are in preprocessor_config.json", Parameters: 25_557_032, Licence: "Apache-2.0",
			Input: Input{Crop: 224}},
	}
}
