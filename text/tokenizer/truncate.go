package tokenizer

import "fmt"

// Strategy says which text loses tokens when an encoding is longer than MaxLength. Tokens are
// taken from the end of the text.
type Strategy uint8

const (
	// LongestFirst shortens the longer text to the length of the other, then both alike.
	LongestFirst Strategy = iota
	// OnlyFirst shortens the first text, and fails when that would not leave a token of it.
	OnlyFirst
	// OnlySecond shortens the second text, and fails when that would not leave a token of it.
	OnlySecond
)

// String returns the name the reference has for the strategy.
func (s Strategy) String() string {
	switch s {
	case LongestFirst:
		return "longest_first"
	case OnlyFirst:
		return "only_first"
	case OnlySecond:
		return "only_second"
	}
	return fmt.Sprintf("Strategy(%d)", uint8(s))
}

// truncate shortens a and b (nil for a single text) so that they fit into tpl.
func truncate(a, b *sequence, tpl template, options Options) error {
	if options.MaxLength == 0 {
		return nil
	}
	room := options.MaxLength
	if !options.NoSpecialTokens {
		room -= tpl.specials()
	}
	if options.MaxLength < 0 || room < 0 {
		return fmt.Errorf("tokenizer: max length %d has no room for %d special tokens", options.MaxLength, tpl.specials())
	}
	total := len(a.ids)
	if b != nil {
		total += len(b.ids)
	}
	if room == 0 {
		a.cut(0)
		if b != nil {
			b.cut(0)
		}
		return nil
	}
	if total <= room {
		return nil
	}
	if options.Strategy == LongestFirst {
		if b == nil {
			a.cut(room)
			return nil
		}
		na, nb := shares(len(a.ids), len(b.ids), room)
		a.cut(na)
		b.cut(nb)
		return nil
	}
	target, name := a, "first"
	if options.Strategy == OnlySecond {
		target, name = b, "second"
	}
	if target == nil {
		return fmt.Errorf("tokenizer: strategy %v: there is no second text", options.Strategy)
	}
	keep := len(target.ids) - (total - room)
	if keep <= 0 {
		return fmt.Errorf("tokenizer: strategy %v: the %s text is too short for all to fit into max length %d", options.Strategy, name, options.MaxLength)
	}
	target.cut(keep)
	return nil
}

// shares returns how many of a and b tokens are kept, room in all: an odd one goes to the longer.
func shares(a, b, room int) (int, int) {
	short, long := min(a, b), 0
	if short > room {
		long = short
	} else {
		long = max(short, room-short)
	}
	if short+long > room {
		short = room / 2
		long = short + room%2
	}
	if a > b {
		return long, short
	}
	return short, long
}

func (s *sequence) cut(n int) {
	if n < len(s.ids) {
		s.ids, s.spans = s.ids[:n], s.spans[:n]
	}
}
