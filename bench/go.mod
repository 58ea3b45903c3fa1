// The benchmarks: a module of their own, so that what they compare with never enters Thaw's.
module github.com/thaw-ml/thaw/bench

go 1.26.0

require github.com/thaw-ml/thaw v0.0.0

require (
	github.com/ebitengine/purego v0.11.3 // indirect
	go.yaml.in/yaml/v3 v3.0.6 // indirect
	golang.org/x/image v0.47.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/thaw-ml/thaw => ..
