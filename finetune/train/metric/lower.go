package metric

// LowerIsBetter reports whether a metric, by its name, is better the lower it is: "loss", "mae", "log_loss". A name that
// is none of this package's is taken to be better the higher it is.
func LowerIsBetter(name string) bool {
	if name == "loss" {
		return true
	}
	for _, m := range classMetrics {
		if m.name == name {
			return m.lower
		}
	}
	for _, m := range labelMetrics {
		if m.name == name {
			return m.lower
		}
	}
	for _, m := range numberMetrics {
		if m.name == name {
			return m.lower
		}
	}
	return false
}
