package album

import "context"

// Pair is two pictures with the same content.
type Pair struct {
	First, Second           int    // which of their albums
	FirstName, SecondName   string // as Name gives them
	FirstClass, SecondClass string
}

// Duplicates returns the pictures of test that are also in train, whatever their classes, each with the first one there
// that has the same content, see [CopyKeys]. A picture that was saved anew, or scaled, is another one. Accuracy on
// duplicates tells nothing. A picture that has to be read and cannot be is an error.
func Duplicates(train, test *Album) ([]Pair, error) {
	keys, unread, err := CopyKeys(context.Background(), train, test)
	if err != nil {
		return nil, err
	}
	if len(unread) > 0 {
		return nil, unread[0]
	}
	return Pairs(train, test, keys[0], keys[1]), nil
}

// Pairs is [Duplicates] of albums whose keys are known.
func Pairs(train, test *Album, trainKeys, testKeys []string) (pairs []Pair) {
	first := map[string]int{}
	for i, key := range trainKeys {
		if _, again := first[key]; key != "" && !again {
			first[key] = i
		}
	}
	for k, key := range testKeys {
		if i, ok := first[key]; ok {
			pairs = append(pairs, pairOf(train, i, test, k))
		}
	}
	return pairs
}

func pairOf(a *Album, i int, b *Album, k int) Pair {
	return Pair{i, k, a.Name(i), b.Name(k), a.Classes[a.Class(i)], b.Classes[b.Class(k)]}
}
