package recipe

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxSpec is the size of a spec at most, in bytes: what is larger is another file, given by mistake.
const maxSpec = 1 << 20

// syntaxError is what the YAML parser says.
type syntaxError struct {
	line int
	msg  string
}

var yamlError = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)

// parseDocument reads one YAML document; nil is an empty one.
func parseDocument(text []byte) (*yaml.Node, *syntaxError) {
	if len(text) > maxSpec {
		return nil, &syntaxError{msg: fmt.Sprintf("larger than %d bytes; this is no spec", maxSpec)}
	}
	if fault := unreadable(text); fault != nil {
		return nil, fault
	}
	var document, second yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&document); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, explain(err, text)
	}
	if err := d.Decode(&second); err == nil {
		return nil, &syntaxError{second.Line, "a second YAML document starts here; a spec is one"}
	} else if err != io.EOF {
		return nil, explain(err, text)
	}
	root := document.Content[0]
	if isNull(root) {
		return nil, nil
	}
	return root, nil
}

// parserError matches what yaml.v3's parser says, other than its scanner, which counts lines from 1.
var parserError = regexp.MustCompile(`^(did not find expected (<|node content|'-'|key$|',' or)|found (undefined tag|duplicate %|incompatible))`)

// explain finds the line that an error of the parser is about.
func explain(err error, text []byte) *syntaxError {
	msg := err.Error()
	m := yamlError.FindStringSubmatch(msg)
	if m == nil {
		return &syntaxError{msg: oneLine(msg)}
	}
	msg = msg[len(m[0]):]
	line, _ := strconv.Atoi(m[1]) // no line: 0, and in the parser's count the first
	if line == 0 || parserError.MatchString(msg) {
		line++
	}
	if anchor, ok := strings.CutPrefix(msg, "unknown anchor '"); ok {
		anchor, _, _ = strings.Cut(anchor, "'")
		line = lineOf(text, bytes.Index(text, []byte("*"+anchor)))
	}
	if strings.HasPrefix(msg, "unknown anchor") || strings.Contains(msg, "expected alphabetic") {
		msg += `; text that starts with * or & must be quoted, such as "*.bias"`
	}
	lines := bytes.SplitAfter(bytes.TrimRight(text, "\r\n"), []byte("\n"))
	if strings.HasPrefix(msg, "did not find expected key") || strings.HasPrefix(msg, "did not find expected '-'") {
		// The line is where the mapping or the list starts. The error is in the first line that, as
		// the last, brings it about.
		line = 1 + sort.Search(len(lines)-1, func(i int) bool {
			var part yaml.Node
			err := yaml.Unmarshal(bytes.Join(lines[:i+1], nil), &part)
			return err != nil && strings.Contains(err.Error(), msg)
		})
	}
	return &syntaxError{min(line, len(lines)), oneLine(msg)} // an end that is missed is after the last line
}

// unreadable finds what is no text in a file; YAML's parser would not name the line.
func unreadable(text []byte) *syntaxError {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return &syntaxError{msg: "this is UTF-16; save it as UTF-8"}
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return &syntaxError{lineOf(text, i), fmt.Sprintf("byte %#02x is not UTF-8", text[i])}
		case unicode.IsControl(r) && !strings.ContainsRune("\t\n\r\u0085", r):
			return &syntaxError{lineOf(text, i), fmt.Sprintf("the control character %U is not allowed", r)}
		}
		i += size
	}
	return nil
}

// lineOf counts from 1; without an index it is 0.
func lineOf(text []byte, index int) int {
	if index < 0 {
		return 0
	}
	return 1 + bytes.Count(text[:index], []byte("\n"))
}

// oneLine keeps an error of the parser on one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
