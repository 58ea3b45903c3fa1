package torch_test

import "github.com/thaw-ml/thaw/torch"

const (
	f32 = torch.Float32
	f64 = torch.Float64
	i64 = torch.Int64
)

var cpu = torch.CPU

func gen() *torch.Generator { return torch.NewGenerator(3) }

var makingCases = map[string]func(x *inputs) any{
	"Empty":        func(x *inputs) any { return torch.Empty(f64, x.On, 2, 3) },
	"Zeros":        func(x *inputs) any { return torch.Zeros(f32, x.On, 2, 3) },
	"Ones":         func(x *inputs) any { return torch.Ones(torch.Int32, x.On, 4) },
	"Full":         func(x *inputs) any { return torch.Full([]int{2, 2}, 2.5, torch.BFloat16, x.On) },
	"ZerosLike":    func(x *inputs) any { return x.I.ZerosLike() },
	"OnesLike":     func(x *inputs) any { return x.A.OnesLike() },
	"EmptyLike":    func(x *inputs) any { return x.A.EmptyLike() },
	"FullLike":     func(x *inputs) any { return x.A.FullLike(7) },
	"RandLike":     func(x *inputs) any { return x.A.RandLike() },
	"RandnLike":    func(x *inputs) any { return x.A.RandnLike() },
	"ArangeStep":   func(x *inputs) any { return torch.ArangeStep(1, 2, 0.25, f32, x.On) },
	"Linspace":     func(x *inputs) any { return torch.Linspace(-1, 1, 7, f64, x.On) },
	"Eye":          func(x *inputs) any { return torch.Eye(3, f32, x.On) },
	"Rand":         func(x *inputs) any { return torch.Rand(gen(), f32, cpu, 2, 3) },
	"Randn":        func(x *inputs) any { return torch.Randn(gen(), f32, cpu, 20) },
	"Randint":      func(x *inputs) any { return torch.Randint(-5, 5, []int{4, 4}, gen(), i64, cpu) },
	"Randperm":     func(x *inputs) any { return torch.Randperm(9, gen(), i64, cpu) },
	"Normal_":      func(x *inputs) any { return x.A.Normal_(1, 2, gen()) },
	"Uniform_":     func(x *inputs) any { return x.A.Uniform_(-2, 2, gen()) },
	"Bernoulli_":   func(x *inputs) any { return x.A.Bernoulli_(0.3, gen()) },
	"Bernoulli":    func(x *inputs) any { return x.Prob.Bernoulli(gen()) },
	"Multinomial":  func(x *inputs) any { return x.Prob.Multinomial(3, true, gen()) },
	"Tril":         func(x *inputs) any { return x.M.Tril(-1) },
	"Triu":         func(x *inputs) any { return x.M.Triu(1) },
	"TrilIndices":  func(x *inputs) any { return torch.TrilIndices(3, 4, i64, x.On) },
	"OneHot":       func(x *inputs) any { return x.Cls.OneHot(6) },
	"Meshgrid":     func(x *inputs) any { return torch.Meshgrid(outs{x.C, x.X}, "xy") },
	"Clone":        func(x *inputs) any { return x.A.Clone() },
	"CloneAs":      func(x *inputs) any { return x.Img.CloneAs(torch.ChannelsLast) },
	"Detach":       func(x *inputs) any { return x.A.Detach() },
	"Detach_":      func(x *inputs) any { return x.A.Detach_() },
	"ViewAlias":    func(x *inputs) any { return x.A.ViewAlias() },
	"Copy_":        func(x *inputs) any { return x.A.Copy_(x.C) },
	"CopyAsync_":   func(x *inputs) any { return x.A.CopyAsync_(x.B) },
	"Contiguous":   func(x *inputs) any { return x.A.T().Contiguous() },
	"ContiguousAs": func(x *inputs) any { return x.Img.ContiguousAs(torch.ChannelsLast) },
	"PinMemory":    func(x *inputs) any { return x.A.PinMemory() },
}

var shapeCases = map[string]func(x *inputs) any{
	"View":                 func(x *inputs) any { return x.A.View(2, -1) },
	"ViewDType":            func(x *inputs) any { return x.A.ViewDType(torch.Int32) },
	"Reshape":              func(x *inputs) any { return x.A.T().Reshape(6, 2) },
	"UnsafeView":           func(x *inputs) any { return x.A.UnsafeView(4, 3) },
	"Expand":               func(x *inputs) any { return x.C.Expand(2, 3, -1) },
	"ExpandAs":             func(x *inputs) any { return x.C.ExpandAs(x.A) },
	"Repeat":               func(x *inputs) any { return x.C.Repeat(2, 3) },
	"RepeatInterleave":     func(x *inputs) any { return x.A.RepeatInterleave(2, 1) },
	"RepeatInterleaveEach": func(x *inputs) any { return x.A.RepeatInterleaveEach(x.Reps, 0) },
	"Permute":              func(x *inputs) any { return x.T.Permute(2, 0, 1) },
	"Transpose":            func(x *inputs) any { return x.T.Transpose(0, -1) },
	"T":                    func(x *inputs) any { return x.A.T() },
	"MT":                   func(x *inputs) any { return x.T.MT() },
	"Squeeze":              func(x *inputs) any { return x.A.Narrow(0, 0, 1).Squeeze() },
	"SqueezeDim":           func(x *inputs) any { return x.A.Narrow(0, 0, 1).SqueezeDim(1) },
	"Unsqueeze":            func(x *inputs) any { return x.A.Unsqueeze(1) },
	"Unsqueeze_":           func(x *inputs) any { return x.A.Unsqueeze_(-1) },
	"Flatten":              func(x *inputs) any { return x.T.Flatten(0, 1) },
	"Unflatten":            func(x *inputs) any { return x.A.Unflatten(1, []int{2, 2}) },
	"Movedim":              func(x *inputs) any { return x.T.Movedim(0, 2) },
	"Flip":                 func(x *inputs) any { return x.T.Flip(0, 2) },
	"Roll":                 func(x *inputs) any { return x.A.Roll([]int{1, -2}, []int{0, 1}) },
	"Select":               func(x *inputs) any { return x.T.Select(1, -1) },
	"Narrow":               func(x *inputs) any { return x.A.Narrow(1, 1, 2) },
	"Slice":                func(x *inputs) any { return x.A.Slice(1, 0, 4, 2) },
	"Split":                func(x *inputs) any { return x.A.Split(3, 1) },
	"SplitSizes":           func(x *inputs) any { return x.A.SplitSizes([]int{1, 3}, 1) },
	"Chunk":                func(x *inputs) any { return x.A.Chunk(2, 0) },
	"Unbind":               func(x *inputs) any { return x.A.Unbind(0) },
	"Unfold":               func(x *inputs) any { return x.Flat.Unfold(0, 4, 3) },
	"Diagonal":             func(x *inputs) any { return x.T.Diagonal(1, 1, 2) },
	"AsStrided":            func(x *inputs) any { return x.A.AsStrided([]int{2, 3}, []int{1, 2}) },
	"ViewAs":               func(x *inputs) any { return x.A.ViewAs(x.B) },
	"Cat":                  func(x *inputs) any { return torch.Cat(outs{x.A, x.B, x.P}, 1) },
	"Stack":                func(x *inputs) any { return torch.Stack(outs{x.A, x.B}, 1) },
	"ConstantPad":          func(x *inputs) any { return x.A.ConstantPad([]int{1, 2}, 9) },
	"Pad":                  func(x *inputs) any { return x.Seq.Pad([]int{2, 1}, "reflect", 0) },
	"PixelShuffle":         func(x *inputs) any { return x.Img.PixelShuffle(2) },
	"Im2Col": func(x *inputs) any {
		return x.Img.Im2Col([]int{3, 2}, []int{1, 1}, []int{1, 0}, []int{2, 2})
	},
}

var indexingCases = map[string]func(x *inputs) any{
	"IndexSelect": func(x *inputs) any { return x.A.IndexSelect(0, x.Idx) },
	"IndexAdd":    func(x *inputs) any { return x.A.IndexAdd(0, x.Idx, x.Logits, 2) },
	"IndexAdd_":   func(x *inputs) any { return x.A.IndexAdd_(0, x.Idx, x.Logits, -1) },
	"IndexCopy_": func(x *inputs) any {
		return x.A.IndexCopy_(0, x.Idx.Narrow(0, 0, 2), x.Logits.Narrow(0, 0, 2))
	},
	"IndexFill_":        func(x *inputs) any { return x.A.IndexFill_(0, x.Idx.Narrow(0, 0, 2), 3.5) },
	"Gather":            func(x *inputs) any { return x.A.Gather(1, x.Cols) },
	"Scatter":           func(x *inputs) any { return x.A.Scatter(1, x.A.Argsort(1, false), x.B) },
	"Scatter_":          func(x *inputs) any { return x.A.Scatter_(1, x.B.Argsort(1, false), x.B) },
	"ScatterValue_":     func(x *inputs) any { return x.A.ScatterValue_(1, x.Cols, 0.25) },
	"ScatterAdd":        func(x *inputs) any { return x.A.ScatterAdd(1, x.Cols, x.B) },
	"ScatterAdd_":       func(x *inputs) any { return x.A.ScatterAdd_(1, x.Cols, x.B) },
	"ScatterReduce":     func(x *inputs) any { return x.A.ScatterReduce(1, x.Cols, x.B, "amax") },
	"MaskedFill":        func(x *inputs) any { return x.A.MaskedFill(x.Mask, -1) },
	"MaskedFillTensor":  func(x *inputs) any { return x.A.MaskedFillTensor(x.Mask, x.C.Select(0, 0)) },
	"MaskedFill_":       func(x *inputs) any { return x.A.MaskedFill_(x.Mask, 2.0) },
	"MaskedSelect":      func(x *inputs) any { return x.A.MaskedSelect(x.Mask) },
	"MaskedScatter":     func(x *inputs) any { return x.A.MaskedScatter(x.Mask, x.B) },
	"Take":              func(x *inputs) any { return x.A.Take(x.Ids) },
	"TakeAlongDim":      func(x *inputs) any { return x.A.TakeAlongDim(x.Cols, 1) },
	"Where":             func(x *inputs) any { return torch.Where(x.Mask, x.A, x.C) },
	"WhereScalarOther":  func(x *inputs) any { return torch.WhereScalarOther(x.Mask, x.A, 0.5) },
	"WhereScalarSelf":   func(x *inputs) any { return torch.WhereScalarSelf(x.Mask, 0.5, x.A) },
	"Nonzero":           func(x *inputs) any { return x.Mask.Nonzero() },
	"Argwhere":          func(x *inputs) any { return x.Mask.Argwhere() },
	"Searchsorted":      func(x *inputs) any { return torch.Searchsorted(x.Sorted, x.A, true) },
	"Bucketize":         func(x *inputs) any { return torch.Bucketize(x.A, x.Sorted, false) },
	"Bincount":          func(x *inputs) any { return x.Ids.Bincount(9) },
	"UniqueConsecutive": func(x *inputs) any { return three(x.Runs.UniqueConsecutive(true, true)) },
	"Unique":            func(x *inputs) any { return three(x.Runs.Unique(true, true, true)) },
}
