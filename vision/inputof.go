package vision

// InputOf is what a pre-trained network sees of a picture, as what lies beside its weights says. model and weights are
// as for [LoadClassifier]; the weights are not read.
func InputOf(model, weights string) (Input, error) {
	s, err := find(model, weights)
	return s.input, err
}
