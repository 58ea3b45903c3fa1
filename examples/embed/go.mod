module example.com/embed

go 1.26.0

require github.com/thaw-ml/thaw v0.0.0

// In this checkout. A program elsewhere leaves this line out.
replace github.com/thaw-ml/thaw => ../..
