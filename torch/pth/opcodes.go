package pth

// step runs one instruction. Their names and codes are those of CPython's Lib/pickletools.py.
func (m *machine) step(op byte) {
	switch op {
	// The frame of a pickle.
	case 0x80: // PROTO
		if v := m.byte(); v > maxProtocol {
			m.fail("pickle protocol %d, the newest known is %d", v, maxProtocol)
		}
	case 0x95: // FRAME
		if n := m.uint(8); n > uint64(len(m.data)-m.pos) {
			m.fail("the pickle ends too early: a frame of %d bytes, %d are left: truncated?", n, len(m.data)-m.pos)
		}

	// The stack.
	case '(': // MARK
		if len(m.marks) == maxMarks {
			m.fail("the pickle nests deeper than %d marks", maxMarks)
			return
		}
		m.marks = append(m.marks, len(m.stack))
	case '0': // POP
		if len(m.marks) > 0 && len(m.stack) == m.floor() {
			m.popMark()
			return
		}
		m.pop()
	case '1': // POP_MARK
		m.popMark()
	case '2': // DUP
		v := m.pop()
		m.push(v)
		m.push(v)

	// Constants and numbers.
	case 'N': // NONE
		m.push(none{})
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		m.push(op == 0x88)
	case 'J': // BININT
		m.integer(int64(int32(m.uint(4))))
	case 'K': // BININT1
		m.integer(int64(m.byte()))
	case 'M': // BININT2
		m.integer(int64(m.uint(2)))
	case 0x8a: // LONG1
		m.long(m.uint(1))
	case 0x8b: // LONG4
		m.long(m.uint(4))
	case 'I', 'L': // INT, LONG
		m.textNumber(op)
	case 'G': // BINFLOAT
		m.blob(8, "a float")
	case 'F': // FLOAT
		m.line()
		m.push(opaque("a float"))

	// Strings and bytes.
	case 'X': // BINUNICODE
		m.text(m.uint(4))
	case 0x8c: // SHORT_BINUNICODE
		m.text(m.uint(1))
	case 0x8d: // BINUNICODE8
		m.text(m.uint(8))
	case 'T': // BINSTRING
		m.oldText(m.uint(4))
	case 'U': // SHORT_BINSTRING
		m.oldText(m.uint(1))
	case 'B': // BINBYTES
		m.blob(m.uint(4), "bytes")
	case 'C': // SHORT_BINBYTES
		m.blob(m.uint(1), "bytes")
	case 0x8e: // BINBYTES8
		m.blob(m.uint(8), "bytes")
	case 0x96: // BYTEARRAY8
		m.blob(m.uint(8), "a bytearray")

	// Containers.
	case ')': // EMPTY_TUPLE
		m.push(tuple(nil))
	case 't': // TUPLE
		m.tuple(m.popMark())
	case 0x85, 0x86, 0x87: // TUPLE1, TUPLE2, TUPLE3
		m.tupleOf(int(op - 0x84))
	case ']', 'l': // EMPTY_LIST, LIST
		m.newList(op == 'l')
	case 'a': // APPEND
		m.appendTo([]any{m.pop()})
	case 'e': // APPENDS
		m.appendTo(m.popMark())
	case '}', 'd': // EMPTY_DICT, DICT
		m.newDict(op == 'd')
	case 's': // SETITEM
		v, k := m.pop(), m.pop()
		m.setIn([]any{k, v})
	case 'u': // SETITEMS
		m.setIn(m.popMark())
	case 0x8f: // EMPTY_SET
		m.push(opaque("a set"))
	case 0x90: // ADDITEMS
		m.popMark()
		switch v := m.top().(type) {
		case *foreign:
		default:
			if v != opaque("a set") {
				m.fail("the pickle adds to %s", kind(v))
			}
		}
	case 0x91: // FROZENSET
		m.popMark()
		m.push(opaque("a frozenset"))

	// The memo.
	case 'q': // BINPUT
		m.put(m.uint(1))
	case 'r': // LONG_BINPUT
		m.put(m.uint(4))
	case 'p': // PUT
		m.put(m.textIndex())
	case 0x94: // MEMOIZE
		m.put(uint64(len(m.memo)))
	case 'h': // BINGET
		m.get(m.uint(1))
	case 'j': // LONG_BINGET
		m.get(m.uint(4))
	case 'g': // GET
		m.get(m.textIndex())

	// What may be made, by name.
	case 'c': // GLOBAL
		module := m.line()
		m.global(module, m.line())
	case 0x93: // STACK_GLOBAL
		name, okName := m.pop().(string)
		module, okModule := m.pop().(string)
		if !okName || !okModule {
			m.fail("the pickle asks for a name that is no string")
			return
		}
		m.global(module, name)
	case 'R': // REDUCE
		m.reduce()
	case 0x81: // NEWOBJ
		m.newObject()
	case 'b': // BUILD
		m.pop() // such as the _metadata of a state dict
		if v := m.top(); m.err == nil && !buildable(v) {
			m.fail("the pickle sets the state of %s", kind(v))
		}
	case 'Q': // BINPERSID
		id, _ := m.pop().(tuple)
		if m.persistent == nil {
			m.fail("the pickle refers to a storage where there can be none")
			return
		}
		m.push(m.persistent(m, id))
	default:
		m.refuse(op)
	}
}

// refused are the instructions that torch.save never writes for what is read here.
var refused = map[byte]string{
	'i': "INST", 'o': "OBJ", 0x81: "NEWOBJ", 0x92: "NEWOBJ_EX", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4",
	'P': "PERSID", 'S': "STRING", 'V': "UNICODE", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
}

// refuse names an instruction that is not run, with what INST and NEWOBJ would have made.
func (m *machine) refuse(op byte) {
	name, known := refused[op]
	if !known {
		m.fail("%#02x is no instruction of a pickle", op)
		return
	}
	if op == 'i' {
		at, module := m.at, m.line()
		class := m.line()
		if m.at = at; m.err == nil {
			m.fail("it asks for %s: %s", plain(module+"."+class), allowed)
		}
		return
	}
	m.fail("the instruction %s is not run: %s", name, allowed)
}

func (m *machine) newList(marked bool) {
	var items []any
	if marked {
		items = m.popMark()
	}
	if m.err == nil && m.charge(48+16*len(items)) {
		m.push(&list{append([]any(nil), items...)})
	}
}

func (m *machine) newDict(marked bool) {
	var items []any
	if marked {
		items = m.popMark()
		items = append([]any(nil), items...) // the push below overwrites them
	}
	if m.err == nil && m.charge(48) {
		m.push(&dict{})
		m.setIn(items)
	}
}

// buildable reports whether the state of a value may be set, which here means passed over.
func buildable(v any) bool {
	switch v.(type) {
	case *dict, *tensor, *foreign:
		return true
	}
	return false
}
