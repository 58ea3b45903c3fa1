package launch

import (
	"fmt"
	"strconv"
	"strings"
)

// maxNodes bounds what a list of a few characters may stand for.
const maxNodes = 1 << 16

// Unfold gives the names that a node list of Slurm's stands for, in the list's order: "n[08-10,4],m07" is n08, n09,
// n10, n4 and m07. A name may have several brackets, of which the last counts fastest. As scontrol show hostnames does.
func Unfold(list string) ([]string, error) {
	var names []string
	for _, item := range splitOutside(list) {
		more, err := unfoldItem(strings.TrimSpace(item))
		if err != nil {
			return nil, fmt.Errorf("node list %q: %w", list, err)
		}
		if names = append(names, more...); len(names) > maxNodes {
			return nil, fmt.Errorf("node list %q stands for more than %d nodes", list, maxNodes)
		}
	}
	return names, nil
}

// splitOutside splits a list at the commas that are in no brackets.
func splitOutside(list string) (items []string) {
	inside, start := false, 0
	for i, c := range list {
		switch {
		case c == '[':
			inside = true
		case c == ']':
			inside = false
		case c == ',' && !inside:
			items = append(items, list[start:i])
			start = i + 1
		}
	}
	return append(items, list[start:])
}

// unfoldItem unfolds what stands between two commas.
func unfoldItem(item string) ([]string, error) {
	before, rest, folded := strings.Cut(item, "[")
	if strings.Contains(before, "]") || item == "" {
		return nil, fmt.Errorf("%q is no node's name", item)
	}
	if !folded {
		return []string{item}, nil
	}
	inside, after, closed := strings.Cut(rest, "]")
	if !closed || strings.Contains(inside, "[") {
		return nil, fmt.Errorf("%q has a bracket that does not close", item)
	}
	tails := []string{""}
	if after != "" {
		var err error
		if tails, err = unfoldItem(after); err != nil {
			return nil, err
		}
	}
	var names []string
	for part := range strings.SplitSeq(inside, ",") {
		numbers, err := unfoldRange(part)
		if err != nil {
			return nil, err
		}
		if len(names)+len(numbers)*len(tails) > maxNodes {
			return nil, fmt.Errorf("%q stands for more than %d nodes", item, maxNodes)
		}
		for _, number := range numbers {
			for _, tail := range tails {
				names = append(names, before+number+tail)
			}
		}
	}
	return names, nil
}

// unfoldRange gives the numbers of "4" or "008-012", which keep the width of the first.
func unfoldRange(text string) ([]string, error) {
	low, high, ranged := strings.Cut(text, "-")
	first, err := strconv.ParseUint(low, 10, 32)
	last := first
	if err == nil && ranged {
		last, err = strconv.ParseUint(high, 10, 32)
	}
	if err != nil || last < first {
		return nil, fmt.Errorf("%q is neither a number nor a range of numbers", text)
	}
	if last-first >= maxNodes {
		return nil, fmt.Errorf("%q stands for more than %d nodes", text, maxNodes)
	}
	var numbers []string
	for n := first; n <= last; n++ {
		numbers = append(numbers, fmt.Sprintf("%0*d", len(low), n))
	}
	return numbers, nil
}

// tasksPerNode reads Slurm's short form of a list of counts: "2(x3),1" is 2, 2, 2, 1.
func tasksPerNode(text string) (counts []int, err error) {
	for part := range strings.SplitSeq(text, ",") {
		number, times, repeated := strings.Cut(part, "(x")
		count, err := strconv.Atoi(number)
		n := 1
		if err == nil && repeated {
			rest, closed := strings.CutSuffix(times, ")")
			if n, err = strconv.Atoi(rest); !closed && err == nil {
				err = strconv.ErrSyntax
			}
		}
		if err != nil || count < 1 || n < 1 || n > maxNodes {
			return nil, fmt.Errorf("%q is no list of counts such as 2(x3),1", text)
		}
		for range n {
			counts = append(counts, count)
		}
	}
	return counts, nil
}
