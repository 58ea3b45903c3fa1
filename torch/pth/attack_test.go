package pth

import (
	"archive/zip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// attacks are files that must be refused, and how.
var attacks = []struct{ name, file, want string }{
	// Calls, and all else that could run code.
	{"posix.system", archived("\x80\x02" + class("posix", "system") + "(" + text("touch /tmp/owned") + "tR."), "a/data.pkl: byte 2: it asks for posix.system: " + allowed},
	{"nt.system", archived("\x80\x02" + class("nt", "system") + "(" + text("calc") + "tR."), "a/data.pkl: byte 2: it asks for nt.system: " + allowed},
	{"builtins.eval", archived(stateOf(class("builtins", "eval") + "(" + text("1") + "tR")), "a/data.pkl: byte 9: it asks for builtins.eval: " + allowed},
	{"builtins.exec, Python 2's name", archived(stateOf(class("__builtin__", "exec") + "(" + text("1") + "tR")), "a/data.pkl: byte 9: it asks for __builtin__.exec: " + allowed},
	{"builtins.getattr", archived(stateOf(class("builtins", "getattr") + ")R")), "a/data.pkl: byte 9: it asks for builtins.getattr: " + allowed},
	{"subprocess.Popen by STACK_GLOBAL", archived(stateOf(text("subprocess") + text("Popen") + "\x93" + ")R")), "a/data.pkl: byte 34: it asks for subprocess.Popen: " + allowed},
	{"a dotted name in a listed module", archived(stateOf(text("torch") + text("os.system") + "\x93")), "a/data.pkl: byte 33: it asks for torch.os.system: " + allowed},
	{"functools.partial", archived(stateOf(class("functools", "partial"))), "a/data.pkl: byte 9: it asks for functools.partial: " + allowed},
	{"torch.load", archived(stateOf(class("torch", "load") + "(" + text("x") + "tR")), "a/data.pkl: byte 9: it asks for torch.load: " + allowed},
	{"torch.hub.load", archived(stateOf(class("torch.hub", "load"))), "a/data.pkl: byte 9: it asks for torch.hub.load: " + allowed},
	{"numpy arrays", archived(stateOf(class("numpy.core.multiarray", "_reconstruct"))), "a/data.pkl: byte 9: it asks for numpy.core.multiarray._reconstruct: " + allowed},
	{"copyreg._reconstructor", archived(stateOf(class("copy_reg", "_reconstructor"))), "a/data.pkl: byte 9: it asks for copy_reg._reconstructor: " + allowed},
	{"a name with escapes", archived(stateOf(class("os\x1b[2J", "system"))), "a/data.pkl: byte 9: it asks for \"os\\x1b[2J.system\": " + allowed},
	{"a name without end", archived(stateOf("c" + strings.Repeat("x", 5000))), "a/data.pkl: byte 9: the pickle has no end of line in the next 1024 bytes"},
	{"a name that is a number", archived(stateOf("K\x01K\x02\x93")), "a/data.pkl: byte 13: the pickle asks for a name that is no string"},
	{"INST", archived("(" + text("id") + "iposix\nsystem\n."), "a/data.pkl: byte 8: it asks for posix.system: " + allowed},
	{"OBJ", archived("(" + class("torch", "Size") + text("id") + "o."), "a/data.pkl: byte 20: the instruction OBJ is not run: " + allowed},
	{"NEWOBJ", archived("\x80\x02" + class("torch", "Size") + ")\x81."), "a/data.pkl: byte 15: the instruction NEWOBJ is not run: " + allowed},
	{"NEWOBJ_EX", archived("\x80\x04" + class("torch", "Size") + ")}\x92."), "a/data.pkl: byte 16: the instruction NEWOBJ_EX is not run: " + allowed},
	{"EXT1", archived("\x80\x02\x82\x01."), "a/data.pkl: byte 2: the instruction EXT1 is not run: " + allowed},
	{"EXT2", archived("\x80\x02\x83\x01\x00."), "a/data.pkl: byte 2: the instruction EXT2 is not run: " + allowed},
	{"EXT4", archived("\x80\x02\x84\x01\x00\x00\x00."), "a/data.pkl: byte 2: the instruction EXT4 is not run: " + allowed},
	{"PERSID", archived("P0\n."), "a/data.pkl: byte 0: the instruction PERSID is not run: " + allowed},
	{"STRING", archived("S'a'\n."), "a/data.pkl: byte 0: the instruction STRING is not run: " + allowed},
	{"UNICODE", archived("Va\n."), "a/data.pkl: byte 0: the instruction UNICODE is not run: " + allowed},
	{"NEXT_BUFFER", archived("\x80\x05\x97."), "a/data.pkl: byte 2: the instruction NEXT_BUFFER is not run: " + allowed},
	{"READONLY_BUFFER", archived("\x80\x05]\x98."), "a/data.pkl: byte 3: the instruction READONLY_BUFFER is not run: " + allowed},
	{"a call of a dict", archived(stateOf("})R")), "a/data.pkl: byte 11: the pickle calls a dict"},
	{"a call of a dtype", archived(stateOf(class("torch", "float32") + ")R")), "a/data.pkl: byte 25: the pickle calls float32"},
	{"a call of a storage", archived(stateOf(class("torch", "FloatStorage") + ")R")), "a/data.pkl: byte 30: the pickle calls torch.FloatStorage"},
	{"a call of torch.Tensor", archived(stateOf(class("torch", "Tensor") + ")R")), "a/data.pkl: byte 24: the pickle calls torch.Tensor"},
	{"a call with a list", archived(stateOf(class("torch", "Size") + "]R")), "a/data.pkl: byte 22: the pickle calls torch.Size without a tuple of arguments"},
	{"state for a storage", archived(stateOf(floats + "}b")), "a/data.pkl: byte 30: the pickle sets the state of torch.FloatStorage"},
	{"state for a tuple", archived(stateOf(")}b")), "a/data.pkl: byte 11: the pickle sets the state of a tuple"},
	{"a rebuild by something else", archived(stateOf(class("torch._tensor", "_rebuild_from_type_v2") + "(" + class("torch._tensor", "_rebuild_from_type_v2") + class("torch", "Tensor") + ")NtR")), `a/data.pkl: byte 101: tensor "w": a tensor is rebuilt by torch._tensor._rebuild_from_type_v2 as torch.Tensor`},
	{"a rebuild with three arguments", archived(stateOf(class("torch._tensor", "_rebuild_from_type_v2") + "(NNNtR")), `a/data.pkl: byte 51: tensor "w": a tensor is rebuilt with 3 arguments`},

	// The stack machine.
	{"empty pickle", archived(""), "a/data.pkl: byte 0: the pickle ends too early: 1 bytes are asked for, 0 are left: truncated?"},
	{"no STOP", archived("\x80\x02}"), "a/data.pkl: byte 3: the pickle ends too early: 1 bytes are asked for, 0 are left: truncated?"},
	{"empty stack", archived("."), "a/data.pkl: byte 0: the pickle takes a value from an empty stack"},
	{"empty stack behind a mark", archived("N(."), "a/data.pkl: byte 2: the pickle takes a value from an empty stack"},
	{"no mark", archived("Nt."), "a/data.pkl: byte 1: the pickle looks for a mark that is not there"},
	{"no mark to drop", archived("1."), "a/data.pkl: byte 0: the pickle looks for a mark that is not there"},
	{"a tuple of too little", archived("N\x86."), "a/data.pkl: byte 1: the pickle takes a value from an empty stack"},
	{"values left over", archived("NN."), "a/data.pkl: byte 2: the pickle ends with 1 values too many"},
	{"bytes behind the end", archived("N.N"), "a/data.pkl: byte 1: 1 bytes follow the pickle's end"},
	{"a mark left over", archived("(N0."), "a/data.pkl: byte 3: the pickle takes a value from an empty stack"},
	{"deep marks", archived(strings.Repeat("(", 20000) + "."), "a/data.pkl: byte 16384: the pickle nests deeper than 16384 marks"},
	{"deep lists", archived(strings.Repeat("](", 20000) + "."), "a/data.pkl: byte 32769: the pickle nests deeper than 16384 marks"},
	{"deep tuples", archived(")" + strings.Repeat("\x85", 200_000) + "."), "no tensors were found: it holds a tuple; " + places},
	{"unknown instruction", archived("\x80\x02\xff."), "a/data.pkl: byte 2: 0xff is no instruction of a pickle"},
	{"protocol 6", archived("\x80\x06N."), "a/data.pkl: byte 0: pickle protocol 6, the newest known is 5"},
	{"a frame beyond the end", archived("\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN."), "a/data.pkl: byte 2: the pickle ends too early: a frame of 18446744073709551615 bytes, 2 are left: truncated?"},
	{"a text beyond the end", archived("X\xff\xff\xff\xffabc."), "a/data.pkl: byte 0: the pickle ends too early: 4294967295 bytes are asked for, 4 are left: truncated?"},
	{"a text of 2^64-1 bytes", archived("\x8d" + strings.Repeat("\xff", 8) + "."), "a/data.pkl: byte 0: the pickle ends too early: 18446744073709551615 bytes are asked for, 1 are left: truncated?"},
	{"bytes of 2^63 bytes", archived("\x8e" + string(le64(-1<<63)) + "."), "a/data.pkl: byte 0: the pickle ends too early: 9223372036854775808 bytes are asked for, 1 are left: truncated?"},
	{"a bytearray of 2^40 bytes", archived("\x96" + string(le64(1<<40)) + "."), "a/data.pkl: byte 0: the pickle ends too early: 1099511627776 bytes are asked for, 1 are left: truncated?"},
	{"a string of Python 2 beyond the end", archived("T\xff\xff\xff\x7fabc."), "a/data.pkl: byte 0: the pickle ends too early: 2147483647 bytes are asked for, 4 are left: truncated?"},
	{"a text that is not UTF-8", archived("X\x02\x00\x00\x00\xff\xfe."), "a/data.pkl: byte 0: the string \"\\xff\\xfe\" is not UTF-8"},
	{"LONG4 of 2 GB", archived("\x8b\xff\xff\xff\x7f" + "."), "a/data.pkl: byte 0: a number of 2147483647 bytes, the limit is 1024"},
	{"LONG4 of 2000 bytes", archived("\x8b\xd0\x07\x00\x00" + strings.Repeat("\x01", 2000) + "."), "a/data.pkl: byte 0: a number of 2000 bytes, the limit is 1024"},
	{"a number without end", archived("L" + strings.Repeat("9", 5000) + "L\n."), "a/data.pkl: byte 0: the pickle has no end of line in the next 1024 bytes"},
	{"a number that is none", archived("I12x\n."), `a/data.pkl: byte 0: "12x" is not a number`},
	{"an index that is none", archived("Np-1\n."), `a/data.pkl: byte 1: "-1" is not a number from 0 to 2^32-1`},
	{"an unknown memo", archived("h\x07."), "a/data.pkl: byte 0: the pickle recalls value 7, which it never remembered"},
	{"a memo of nothing", archived("q\x00."), "a/data.pkl: byte 0: the pickle remembers a value of an empty stack"},
	{"append to a dict", archived("}Na."), "a/data.pkl: byte 2: the pickle appends to a dict"},
	{"append to nothing", archived("(Ne."), "a/data.pkl: byte 2: the pickle appends to nothing"},
	{"a key of a list", archived("]NNs."), "a/data.pkl: byte 3: the pickle sets a key of a list"},
	{"a key without value", archived("}(Nu."), "a/data.pkl: byte 3: the pickle sets a key without a value"},
	{"items of a list", archived("\x80\x04](N\x90."), "a/data.pkl: byte 5: the pickle adds to a list"},
	{"a dict of a number", archived(stateOf(class("collections", "OrderedDict") + "K\x01\x85R")), "a/data.pkl: byte 37: a dict is made of an int"},
	{"a dict of triples", archived(stateOf(class("collections", "OrderedDict") + "]NNN\x87a\x85R")), "a/data.pkl: byte 41: a dict is made of a tuple instead of a pair"},
	{"a torch.Size of a list", archived(stateOf(class("torch", "Size") + "]\x85R")), "a/data.pkl: byte 23: torch.Size is made of a list"},
	{"a torch.Size of nothing", archived(stateOf(class("torch", "Size") + ")R")), "a/data.pkl: byte 22: torch.Size is called with 0 arguments"},

	// Memory.
	{"many values", archived(strings.Repeat("N", 1<<19) + "."), "a/data.pkl: byte 262144: more than 262144 values on the pickle's stack"},
	{"many dicts", archived(strings.Repeat("}0", 1<<20) + "N."), "a/data.pkl: byte 1398100: what it describes takes more than 32 MB without the tensors' data: save the state dict alone"},
	{"many remembered values", archived(many(1<<20, func(i int) string { return "N" + "r" + string(le32(i)) + "0" }) + "N."), "a/data.pkl: byte 3670017: what it describes takes more than 32 MB without the tensors' data: save the state dict alone"},
	{"many tuples", archived("]" + strings.Repeat("N\x85a", 1<<20) + "."), "a/data.pkl: byte 1398101: what it describes takes more than 32 MB without the tensors' data: save the state dict alone"},
	{"dicts of dicts", archived("}(" + strings.Repeat("NN", 5000) + "uq\x00" + strings.Repeat(class("collections", "OrderedDict")+"h\x00\x85R", 2000) + "."), "a/data.pkl: byte 13020: what it describes takes more than 32 MB without the tensors' data: save the state dict alone"},
	{"many tensors", archived("](" + stored(floats, "0", 6) + "K\x00" + numbers(6) + numbers(1) + "tq\x000" + class("torch._utils", "_rebuild_tensor") + "q\x010" + strings.Repeat("h\x01h\x00Ra", 1<<18) + "."), "a/data.pkl: byte 662366: what it describes takes more than 32 MB without the tensors' data: save the state dict alone"},
	{"many keys of one tensor", archived("\x80\x02}" + text("w") + six + "q\x00s" + many(1<<17, func(i int) string { return text(strconv.Itoa(i)) + "h\x00s" }) + "."), "the state dict has 131073 keys, the limit is 131072"},
	{"laughs and nothing else", archived("\x80\x02" + laughs + "."), "no tensors were found: it holds a list; " + places},
	{"a dict in itself", archived("\x80\x02}q\x00" + text("model") + "h\x00s."), `no tensors were found: it holds a dict of "model"; ` + places},
	{"containers without end", archived("\x80\x02" + strings.Repeat("}"+text("model"), 1000) + six + strings.Repeat("s", 1000) + "."), `no tensors were found: it holds a dict of "model"; ` + places},

	// Tensors.
	{"negative offset", archived(stateOf(floatTensor(-1, []int{2, 3}, []int{3, 1}))), `a/data.pkl: byte 159: tensor "w": its offset is negative: -1`},
	{"negative dimension", archived(stateOf(floatTensor(0, []int{-2, 3}, []int{3, 1}))), `a/data.pkl: byte 159: tensor "w": its shape has a negative dimension: [-2 3]`},
	{"two negative dimensions", archived(stateOf(floatTensor(0, []int{-2, -3}, []int{3, 1}))), `a/data.pkl: byte 159: tensor "w": its shape has a negative dimension: [-2 -3]`},
	{"negative stride", archived(stateOf(floatTensor(5, []int{6}, []int{-1}))), `a/data.pkl: byte 139: tensor "w": it has a negative stride: [-1]`},
	{"past the end by one", archived(stateOf(floatTensor(1, []int{2, 3}, []int{3, 1}))), `a/data.pkl: byte 159: tensor "w": shape [2 3], strides [3 1] and offset 1 of float32 reach past the end of its storage, which has 24 bytes`},
	{"past the end by a stride", archived(stateOf(floatTensor(0, []int{2, 3}, []int{4, 1}))), `a/data.pkl: byte 159: tensor "w": shape [2 3], strides [4 1] and offset 0 of float32 reach past the end of its storage, which has 24 bytes`},
	{"numel wraps to zero", archived(stateOf(floatTensor(0, []int{1 << 32, 1 << 32}, []int{0, 0}))), `a/data.pkl: byte 159: tensor "w": shape [4294967296 4294967296] of float32 overflows a 64-bit count of bytes`},
	{"bytes wrap to zero", archived(stateOf(floatTensor(0, []int{1 << 62}, []int{0}))), `a/data.pkl: byte 139: tensor "w": shape [4611686018427387904] of float32 overflows a 64-bit count of bytes`},
	{"overflow behind a zero", archived(stateOf(floatTensor(0, []int{0, 1 << 32, 1 << 32}, []int{0, 0, 0}))), `a/data.pkl: byte 179: tensor "w": shape [0 4294967296 4294967296] of float32 overflows a 64-bit count of bytes`},
	{"extent wraps", archived(stateOf(floatTensor(0, []int{3}, []int{1 << 62}))), `a/data.pkl: byte 139: tensor "w": shape [3], strides [4611686018427387904] and offset 0 of float32 reach past the end of its storage, which has 24 bytes`},
	{"extent wraps with the offset", archived(stateOf(floatTensor(1<<63-1, []int{2}, []int{1}))), `a/data.pkl: byte 139: tensor "w": shape [2], strides [1] and offset 9223372036854775807 of float32 reach past the end of its storage, which has 24 bytes`},
	{"offset of 2^62", archived(stateOf(floatTensor(1<<62, []int{1}, []int{1}))), `a/data.pkl: byte 139: tensor "w": shape [1], strides [1] and offset 4611686018427387904 of float32 reach past the end of its storage, which has 24 bytes`},
	{"repeated to a terabyte", archived(stateOf(floatTensor(0, []int{1 << 38}, []int{0}))), `a/data.pkl: byte 139: tensor "w": shape [274877906944] of float32 takes 1099511627776 bytes by repeating 4, and the limit for this file is 67108864`},
	{"overlapping to a gigabyte", archived(stateOf(floatTensor(0, []int{1 << 28, 6}, []int{0, 1}))), `a/data.pkl: byte 159: tensor "w": shape [268435456 6] of float32 takes 6442450944 bytes by repeating 24, and the limit for this file is 67108864`},
	{"fewer strides than dimensions", archived(stateOf(floatTensor(0, []int{2, 3}, []int{1}))), `a/data.pkl: byte 149: tensor "w": its shape has 2 dimensions, its strides have 1`},
	{"65 dimensions", archived(stateOf(floatTensor(0, make([]int, 65), make([]int, 65)))), `a/data.pkl: byte 1419: tensor "w": 65 dimensions, the limit is 64`},
	{"shape of a list", archived(stateOf(rebuilt(stored(floats, "0", 6), 0, "]", numbers()))), `a/data.pkl: byte 118: tensor "w": its shape is not a tuple of 64-bit numbers`},
	{"shape of texts", archived(stateOf(rebuilt(stored(floats, "0", 6), 0, text("6")+"\x85", numbers(1)))), `a/data.pkl: byte 134: tensor "w": its shape is not a tuple of 64-bit numbers`},
	{"strides of a dimension beyond 64 bits", archived(stateOf(rebuilt(stored(floats, "0", 6), 0, numbers(6), "\x8a\x09"+strings.Repeat("\x01", 9)+"\x85"))), `a/data.pkl: byte 139: tensor "w": its strides are not a tuple of 64-bit numbers`},
	{"offset a text", archived(stateOf(class("torch._utils", "_rebuild_tensor") + "(" + stored(floats, "0", 6) + text("0") + ")" + ")tR")), `a/data.pkl: byte 108: tensor "w": its offset is the string "0"`},
	{"no storage", archived(stateOf(rebuilt("N", 0, numbers(6), numbers(1)))), `a/data.pkl: byte 81: tensor "w": a tensor is rebuilt of None instead of a storage`},
	{"too few arguments", archived(stateOf(class("torch._utils", "_rebuild_tensor_v2") + ")R")), `a/data.pkl: byte 43: tensor "w": a tensor is rebuilt with 0 arguments instead of 6`},
	{"no dtype", archived(stateOf(class("torch._utils", "_rebuild_tensor_v3") + "(" + stored(class("torch.storage", "UntypedStorage"), "0", 24) + "K\x00))\x89NNtR")), `a/data.pkl: byte 120: tensor "w": its dtype is None`},
	{"a wider dtype than the storage", archived(stateOf(class("torch._utils", "_rebuild_tensor_v3") + "(" + stored(class("torch.storage", "UntypedStorage"), "0", 24) + "K\x00" + numbers(6) + numbers(1) + "\x89N" + class("torch", "complex128") + "tR")), `a/data.pkl: byte 159: tensor "w": shape [6], strides [1] and offset 0 of complex128 reach past the end of its storage, which has 24 bytes`},
	{"parameter of a dict", archived(stateOf(class("torch._utils", "_rebuild_parameter") + "(}\x89NtR")), `a/data.pkl: byte 47: tensor "w": a parameter is made of something else than a tensor`},
	{"a lazy conjugate", archived(stateOf(class("torch._utils", "_rebuild_tensor_v2") + "(" + stored(floats, "0", 6) + "K\x00))\x89N}" + text("conj") + "\x88stR")), `a/data.pkl: byte 121: tensor "w": its conj bit is set; save it after resolve_conj() and resolve_neg()`},
	{"a key twice", archived("\x80\x02}(" + text("w") + six + text("w") + six + "u."), `tensor "w": the key is there twice`},
	{"an endless key", archived("\x80\x02}(" + text(strings.Repeat("w", 1000)) + six + text(strings.Repeat("w", 1000)) + six + "u."), `tensor "` + strings.Repeat("w", 200) + `"... (1000 bytes): the key is there twice`},

	// Storages.
	{"storage larger than the file", archived(stateOf(rebuilt(stored(floats, "0", 1<<40), 0, numbers(6), numbers(1)))), `a/data.pkl: byte 101: tensor "w": its storage "0" has 1099511627776 elements of float32, and the file 408 bytes: truncated?`},
	{"storage of 2^63-1", archived(stateOf(rebuilt(stored(floats, "0", 1<<63-1), 0, numbers(6), numbers(1)))), `a/data.pkl: byte 101: tensor "w": its storage "0" has 9223372036854775807 elements of float32, and the file 408 bytes: truncated?`},
	{"storage of -1", archived(stateOf(rebuilt(stored(floats, "0", -1), 0, numbers(6), numbers(1)))), `a/data.pkl: byte 101: tensor "w": its storage "0" has -1 elements of float32, and the file 408 bytes: truncated?`},
	{"record larger than the storage", archived(stateOf(rebuilt(stored(floats, "0", 5), 0, numbers(6), numbers(1)))), `a/data.pkl: byte 101: tensor "w": its storage, a/data/0, has 24 bytes instead of 20`},
	{"record smaller than the storage", archived(stateOf(rebuilt(stored(floats, "0", 7), 0, numbers(6), numbers(1)))), `a/data.pkl: byte 101: tensor "w": its storage, a/data/0, has 24 bytes instead of 28`},
	{"storage that is not there", archived(stateOf(rebuilt(stored(floats, "1", 6), 0, numbers(6), numbers(1)))), `a/data.pkl: byte 101: tensor "w": its storage, a/data/1, is not in the archive`},
	{"storage out of the archive", archived(stateOf(rebuilt(stored(floats, "../../etc/passwd", 6), 0, numbers(6), numbers(1)))), `a/data.pkl: byte 116: tensor "w": its storage, a/data/../../etc/passwd, is not in the archive`},
	{"storage of two sizes", archived("\x80\x02}(" + text("w") + six + text("v") + rebuilt(stored(floats, "0", 5), 0, numbers(5), numbers(1)) + "u."), `a/data.pkl: byte 259: tensor "v": its storage "0" has 20 bytes here and 24 before`},
	{"storage of another class", archived(stateOf(rebuilt(stored(class("torch", "Size"), "0", 6), 0, numbers(6), numbers(1)))), `a/data.pkl: byte 93: the pickle refers to a storage by torch.Size, the string "0" and an int`},
	{"storage of a dtype", archived(stateOf(rebuilt(stored(class("torch", "float32"), "0", 6), 0, numbers(6), numbers(1)))), `a/data.pkl: byte 96: the pickle refers to a storage by float32, the string "0" and an int`},
	{"TypedStorage", archived(stateOf(rebuilt(stored(class("torch.storage", "TypedStorage"), "0", 6), 0, numbers(6), numbers(1)))), "a/data.pkl: byte 56: it asks for torch.storage.TypedStorage: " + allowed},
	{"quantized storage", archived(stateOf(rebuilt(stored(class("torch", "QInt8Storage"), "0", 6), 0, numbers(6), numbers(1)))), "a/data.pkl: byte 56: it asks for torch.QInt8Storage: " + allowed},
	{"persistent id of two values", archived(stateOf(rebuilt("("+text("storage")+"NtQ", 0, numbers(6), numbers(1)))), "a/data.pkl: byte 58: the pickle refers to something else than a storage"},
	{"persistent id of a module", archived(stateOf(rebuilt("("+text("module")+"NNNNtQ", 0, numbers(6), numbers(1)))), "a/data.pkl: byte 60: the pickle refers to something else than a storage"},
	{"persistent id that is a text", archived(stateOf(rebuilt(text("0")+"Q", 0, numbers(6), numbers(1)))), "a/data.pkl: byte 49: the pickle refers to something else than a storage"},

	// The archive.
	{"no directory", archived(stateOf(six))[:200], "the zip archive's directory is not at the end of the file: truncated?"},
	{"a local header alone", localSignature, "the zip archive's directory is not at the end of the file: truncated?"},
	{"no data.pkl", zipped(content{"a/model.onnx", "x"}), "this is a zip archive, but has no a/data.pkl: not one that torch.save wrote"},
	{"no folder", zipped(content{"model.pkl", stateOf(six)}), "this is a zip archive, but has no data.pkl: not one that torch.save wrote"},
	{"a name twice", archived(stateOf(six), content{"a/data/0", sixFloats}), "a/data/0: is in the zip directory twice"},
	{"a path up", archived(stateOf(six), content{"a/../../etc/passwd", "x"}), "a/../../etc/passwd: leads out of the archive, or is no name of a file"},
	{"an absolute path", archived(stateOf(six), content{"/etc/passwd", "x"}), "/etc/passwd: leads out of the archive, or is no name of a file"},
	{"a path of Windows", archived(stateOf(six), content{"a\\..\\x", "x"}), "\"a\\\\..\\\\x\": leads out of the archive, or is no name of a file"},
	{"a name with a zero byte", archived(stateOf(six), content{"a/x\x00", "x"}), "\"a/x\\x00\": leads out of the archive, or is no name of a file"},
	{"entries over one another", overlapping(), "a/x: bytes 296 to 483 overlap what starts at 329"},
	{"an entry over the directory", patched(patched(archived(stateOf(six)), centralSignature, 2, 20, string(le32(60))), centralSignature, 2, 24, string(le32(60))), "a/data/0: bytes 218 to 316 overlap what starts at 296"},
	{"an entry beyond the file", patched(patched(archived(stateOf(six)), centralSignature, 2, 20, string(le32(1<<20))), centralSignature, 2, 24, string(le32(1<<20))), "a/data/0: its 1048576 bytes reach past the end of the file, 172 are left: truncated?"},
	{"an entry at the end of the file", patched(archived(stateOf(six)), centralSignature, 2, 42, string(le32(0x7fffffff))), "a/data/0: its header is not at byte 2147483647"},
	{"an entry at another header", patched(archived(stateOf(six)), centralSignature, 2, 42, "\x00\x00\x00\x00"), "a/data/0: its header at byte 0 has another name"},
	{"an entry without zip64 sizes", patched(archived(stateOf(six)), centralSignature, 2, 24, "\xff\xff\xff\xff"), "a/data/0: its zip64 sizes are missing"},
	{"an encrypted entry", patched(archived(stateOf(six)), centralSignature, 2, 8, "\x09"), "a/data/0: is encrypted"},
	{"an unknown compression", patched(archived(stateOf(six)), centralSignature, 2, 10, "\x0c"), "a/data/0: is compressed by method 12; only stored entries are read, and a deflated data.pkl"},
	{"a storage of two sizes in the directory", patched(archived(stateOf(six)), centralSignature, 2, 24, "\x19"), "a/data/0: is stored, but its sizes differ: 24 and 25"},
	{"more entries than the directory has", patched(archived(stateOf(six)), endSignature, 1, 10, "\x03"), "the zip directory has 110 bytes, too few for 3 entries"},
	{"fewer entries than the directory has", patched(archived(stateOf(six)), endSignature, 1, 10, "\x01"), "the zip directory's size is 110, and its entries take 56"},
	{"65534 entries", patched(archived(stateOf(six)), endSignature, 1, 10, "\xfe\xff"), "the zip directory has 110 bytes, too few for 65534 entries"},
	{"a directory beyond the file", patched(archived(stateOf(six)), endSignature, 1, 12, string(le32(1<<30))), "the zip directory, 1073741824 bytes from byte 296, reaches past byte 406, where it must have ended"},
	{"a directory elsewhere", patched(archived(stateOf(six)), endSignature, 1, 16, string(le32(5))), "byte 5 is no entry of the zip directory"},
	{"no entries", patched(archived(stateOf(six)), endSignature, 1, 10, "\x00"), "the zip archive is empty"},
	{"several disks", patched(archived(stateOf(six)), endSignature, 1, 4, "\x01"), "the zip archive is split over several files"},
	{"a zip64 directory of 2^63 entries", patched(zip64(archived(stateOf(six))), "PK\x06\x06", 1, 32, string(le64(-1<<63))), "the zip archive has 9223372036854775808 entries, the limit is 262144"},
	{"a zip64 record elsewhere", patched(zip64(archived(stateOf(six))), "PK\x06\x07", 1, 8, string(le64(-1))), "the zip64 end record is not at byte 18446744073709551615"},
	{"a zip64 directory that differs", patched(zip64(archived(stateOf(six))), endSignature, 1, 10, "\x01\x00"), "the zip directory and the zip64 directory differ"},
	{"a zip64 entry of 2^63 bytes", patched(zip64(archived(stateOf(six))), centralSignature, 2, 46+8+4, string(le64(-1<<63))+string(le64(-1<<63))), "a/data/0: its 9223372036854775808 bytes reach past the end of the file, 304 are left: truncated?"},
	{"big-endian", archived(stateOf(six), content{"a/byteorder", "big"}), `a/byteorder: the byte order is "big", and only little is read: load it in Python and save it again`},
	{"a newer format", archived(stateOf(six), content{"a/version", "11\n"}), `a/version: version "11" of the format, and 1 to 10 are read`},
	{"a format that is no number", archived(stateOf(six), content{"a/version", "new"}), `a/version: version "new" of the format, and 1 to 10 are read`},
	{"a TorchScript program", archived(stateOf(six), content{"a/constants.pkl", "x"}), "this is a TorchScript program (torch.jit.save), which is not read: in Python, load it with torch.jit.load and save its weights: torch.save(model.state_dict(), path)"},
	{"a zip bomb", zippedBy(zip.Deflate, content{"a/data.pkl", strings.Repeat("N", 100<<20)}), "a/data.pkl: its 101925 compressed bytes shall hold 104857600, the limit is 16777216"},
	{"a zip bomb below the limit", zippedBy(zip.Deflate, content{"a/data.pkl", strings.Repeat("N", 15<<20)}), "a/data.pkl: byte 262144: more than 262144 values on the pickle's stack"},
	{"a bomb that says it is small", patched(zippedBy(zip.Deflate, content{"a/data.pkl", strings.Repeat("N", 1<<20)}), centralSignature, 1, 24, string(le32(100))), "a/data.pkl: is more than the 100 bytes that the zip directory says"},
	{"a size that no compression reaches", patched(zippedBy(zip.Deflate, content{"a/data.pkl", stateOf(six)}), centralSignature, 1, 24, string(le32(15<<20))), "a/data.pkl: its 122 compressed bytes shall hold 15728640, the limit is 125904"},
	{"a size beyond what was compressed", patched(zippedBy(zip.Deflate, content{"a/data.pkl", stateOf(six)}), centralSignature, 1, 24, string(le32(5000))), "a/data.pkl: cannot be decompressed to 5000 bytes: unexpected EOF"},
	{"garbage instead of compressed bytes", patched(zippedBy(zip.Deflate, content{"a/data.pkl", stateOf(six)}), "a/data.pkl", 1, 10, strings.Repeat("\xff", 20)), "a/data.pkl: cannot be decompressed to 162 bytes: flate: corrupt input before offset 1"},
	{"a compressed storage", patched(archived(stateOf(six)), centralSignature, 2, 10, "\x08"), "a/data/0: is compressed; only data.pkl may be: save it again in Python with torch.save"},

	// The older format.
	{"a pickle of something else", "\x80\x02}.", "byte 3: this is a pickle of a dict, not what torch.save writes: the magic number is missing"},
	{"a pickle of a number", "\x80\x02K\x07.", "byte 4: this is a pickle of an int, not what torch.save writes: the magic number is missing"},
	{"a pickle that calls", "\x80\x02" + class("posix", "system") + "(" + text("id") + "tR.", "byte 2: it asks for posix.system: " + allowed},
	{"only the magic", legacyFile("", "", "")[:13], "byte 2: the pickle ends too early: 10 bytes are asked for, 9 are left: truncated?"},
	{"another version", strings.Replace(legacyFile(legacySix, keyList("7"), string(le64(6))+sixFloats), "M\xe9\x03.", "M\xea\x03.", 1), "byte 20: version 1002 of the format, and 1001 is read"},
	{"big-endian, older", strings.Replace(legacyFile(legacySix, keyList("7"), string(le64(6))+sixFloats), "\x88", "\x89", 1), "byte 96: the byte order is big, and only little is read: load it in Python and save it again"},
	{"no system", legacyFile("", "", "")[:20] + "\x80\x02N.", "byte 23: the pickle ends with 1 values too many"},
	{"a call in the older format", legacyFile(stateOf(class("posix", "system")), "", ""), "byte 106: it asks for posix.system: " + allowed},
	{"no keys", legacyFile(legacySix, "", ""), "byte 260: the pickle ends too early: 1 bytes are asked for, 0 are left: truncated?"},
	{"keys that are no list", legacyFile(legacySix, "N.", string(le64(6))+sixFloats), "byte 261: the list of storages' keys is None, and the tensors have 1 storages"},
	{"a key that is no text", legacyFile(legacySix, "]Na.", string(le64(6))+sixFloats), "byte 263: None in the list of storages' keys is there twice or no tensor's"},
	{"another key", legacyFile(legacySix, keyList("8"), string(le64(6))+sixFloats), `byte 271: the string "8" in the list of storages' keys is there twice or no tensor's`},
	{"two keys", legacyFile(legacySix, keyList("7", "7"), string(le64(6))+sixFloats), "byte 277: the list of storages' keys is a list, and the tensors have 1 storages"},
	{"a storage in the list of keys", legacyFile(legacySix, legacyStored("7", 6, "N")+".", string(le64(6))+sixFloats), "byte 319: the pickle refers to a storage where there can be none"},
	{"a storage of another size", legacyFile(legacySix, keyList("7"), string(le64(5))+sixFloats), `byte 272: the storage "7" has 5 elements instead of 6`},
	{"a storage of 2^64-1", legacyFile(legacySix, keyList("7"), string(le64(-1))+sixFloats), `byte 272: the storage "7" has 18446744073709551615 elements instead of 6`},
	{"a storage that is cut", legacyFile(legacySix, keyList("7"), string(le64(6))+sixFloats[:20]), `byte 280: the storage "7" has 24 bytes, 20 are left in the file: truncated?`},
	{"a storage without size", legacyFile(legacySix, keyList("7"), "\x06\x00"), "byte 272: the pickle ends too early: 8 bytes are asked for, 2 are left: truncated?"},
	{"a storage beyond the file", legacyFile(stateOf(rebuilt(legacyStored("7", 1<<30, "N"), 0, numbers(6), numbers(1))), keyList("7"), string(le64(6))+sixFloats), `byte 199: tensor "w": its storage "7" has 1073741824 elements of float32, and the file 284 bytes: truncated?`},
	{"a part beyond the storage", legacyFile(stateOf(rebuilt(legacyStored("7", 6, "("+text("8")+number(1)+number(6)+"t"), 0, numbers(6), numbers(1))), keyList("7"), string(le64(6))+sixFloats), `byte 226: tensor "w": its part of the storage "7" reaches past the end`},
	{"a part of 2^63-1", legacyFile(stateOf(rebuilt(legacyStored("7", 6, "("+text("8")+number(1)+number(1<<63-1)+"t"), 0, numbers(6), numbers(1))), keyList("7"), string(le64(6))+sixFloats), `byte 226: tensor "w": its part of the storage "7" reaches past the end`},
	{"a part at -1", legacyFile(stateOf(rebuilt(legacyStored("7", 6, "("+text("8")+number(-1)+number(6)+"t"), 0, numbers(6), numbers(1))), keyList("7"), string(le64(6))+sixFloats), `byte 226: tensor "w": its part of the storage "7" reaches past the end`},
	{"a tensor beyond its part", legacyFile(stateOf(rebuilt(legacyStored("7", 6, "("+text("8")+number(1)+number(5)+"t"), 0, numbers(6), numbers(1))), keyList("7"), string(le64(6))+sixFloats), `byte 264: tensor "w": shape [6], strides [1] and offset 0 of float32 reach past the end of its storage, which has 20 bytes`},
	{"a part of two values", legacyFile(stateOf(rebuilt(legacyStored("7", 6, "NN\x86"), 0, numbers(6), numbers(1))), keyList("7"), string(le64(6))+sixFloats), `byte 201: tensor "w": its part of the storage "7" reaches past the end`},
	{"an id of the newer format", legacyFile(stateOf(rebuilt(stored(floats, "7", 6), 0, numbers(6), numbers(1))), keyList("7"), string(le64(6))+sixFloats), "byte 198: the pickle refers to something else than a storage"},
}

// many is n pieces of a pickle.
func many(n int, piece func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(piece(i))
	}
	return b.String()
}

// overlapping is an archive whose storage lies in another record.
func overlapping() string {
	inner := zipped(content{"a/data/0", sixFloats})
	file := archived(stateOf(six), content{"a/x", inner})
	at := strings.LastIndex(file[:strings.Index(file, centralSignature)], localSignature)
	return patched(file, centralSignature, 3, 42, string(le32(at)))
}

// allocated is all that was ever allocated, so that a difference also counts what was freed between.
func allocated() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.TotalAlloc
}

func TestAttacks(t *testing.T) {
	require.GreaterOrEqual(t, len(attacks), 45)
	dir := t.TempDir()
	most := uint64(0)
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			path := filepath.Join(dir, "attack.pth")
			require.NoError(t, os.WriteFile(path, []byte(a.file), 0o600))
			before := allocated()
			f, err := Open(path)
			used := allocated() - before
			require.Nil(t, f)
			require.EqualError(t, err, path+": "+a.want)
			require.IsType(t, &Error{}, err)
			_, err = Parse(path, []byte(a.file))
			require.EqualError(t, err, path+": "+a.want)
			require.Less(t, used, uint64(100<<20))
			most = max(most, used)
		})
	}
	t.Logf("%d attacks; the worst allocated %.1f MB in all", len(attacks), float64(most)/(1<<20))
}

// TestEveryCut checks that no proper beginning of a file opens, and that each is an error of this package.
func TestEveryCut(t *testing.T) {
	for _, name := range []string{"model", "model_legacy", "repacked", "protocol1_legacy", "protocol5"} {
		whole, err := os.ReadFile("testdata/" + name + ".pth")
		require.NoError(t, err)
		for n := range whole {
			_, err := Parse("cut", whole[:n])
			require.IsType(t, &Error{}, err, "%s: first %d bytes", name, n)
		}
		_, err = Parse("whole", whole)
		require.NoError(t, err)
	}
}

// What lies beside the state dict is passed over where nothing of it is called, and refused in the state dict at any depth.
func TestForeignObjects(t *testing.T) {
	namespace := class("argparse", "Namespace") + ")\x81}" + text("lr") + "K\x01sb"
	scalar := class("numpy", "dtype") + text("f8") + "\x85R" + "K\x03\x85b"
	beside := func(value string) string {
		return "\x80\x02}(" + text("args") + value + text("state_dict") + "}" + text("w") + six + "su."
	}
	for name, value := range map[string]string{
		"an object": namespace, "a class": class("my.module", "Net"), "a number of numpy": scalar,
		"in a list":       "](" + namespace + namespace + "e",
		"with items":      class("my", "Dict") + ")\x81(" + text("a") + "K\x01u",
		"with more items": class("my", "List") + ")\x81(K\x01K\x02e",
		"a path":          class("pathlib", "PosixPath") + text("/tmp") + "\x85R",
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse("x.pth", []byte(archived(beside(value))))
			require.NoError(t, err)
			assert.Equal(t, []string{"w"}, f.Names())
		})
	}
	for name, c := range map[string]struct{ pickle, want string }{
		"called":             {beside(class("posix", "system") + text("id") + "\x85R"), "it asks for posix.system: "},
		"an object called":   {beside(class("posix", "system") + ")\x81" + ")R"), "it asks for posix.system: "},
		"in the state dict":  {stateOf(namespace), "it asks for argparse.Namespace: "},
		"deep in it":         {stateOf("](" + namespace + "e"), "it asks for argparse.Namespace: "},
		"a number in it":     {stateOf(scalar), "it asks for numpy.dtype: "},
		"in place of it":     {"\x80\x02" + namespace + ".", "it asks for argparse.Namespace: "},
		"beside no tensors":  {"\x80\x02}" + text("args") + namespace + "s.", "it asks for argparse.Namespace: "},
		"a key that is one":  {"\x80\x02}(" + namespace + "K\x01" + text("w") + six + "u.", "it asks for argparse.Namespace: "},
		"a list in a circle": {stateOf("]q\x05h\x05a" + "h\x05" + namespace + "a0"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("x.pth", []byte(archived(c.pickle)))
			if c.want == "" {
				require.Error(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.IsType(t, &Error{}, err)
		})
	}
}
