package torch

//go:generate go run ./internal/opgen -ops ops.txt -out ops_gen.go
