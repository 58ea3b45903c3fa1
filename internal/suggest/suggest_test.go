package suggest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		given string
		names []string
		want  string
	}{
		{"trian", []string{"epochs", "train"}, "train"},
		{"sede", []string{"head", "seed"}, "seed"},
		{"ab", []string{"ba"}, "ba"},
		{"abcd", []string{"badc"}, ""},
		{"Label ", []string{"lable", "label"}, "label"},
		{"label", []string{"LABEL", "label"}, "LABEL"},
		{"lr", []string{"lm", "la"}, "lm"},
		{"zebra", []string{"train", "test"}, ""},
		{"train", nil, ""},
		{"überall", []string{"uberall"}, "uberall"},
		{strings.Repeat("a", 101), []string{strings.Repeat("a", 101)}, ""},
		{"a", []string{strings.Repeat("a", 101)}, ""},
	} {
		assert.Equal(t, c.want, Nearest(c.given, c.names), c.given)
	}
	assert.Equal(t, `; did you mean "train"?`, DidYouMean("trian", []string{"train"}))
	assert.Empty(t, DidYouMean("zebra", []string{"train"}))
}

func TestList(t *testing.T) {
	assert.Equal(t, "none", List(nil))
	assert.Equal(t, `"a", "b\n"`, List([]string{"a", "b\n"}))
	many := strings.Split(strings.Repeat("a ", 22), " ")[:22]
	assert.Equal(t, strings.Repeat(`"a", `, 20)+"and 2 more", List(many))
}

func TestQuote(t *testing.T) {
	assert.Equal(t, `"\x00é"`, Quote("\x00é"))
	assert.Equal(t, `"`+strings.Repeat("é", 60)+`"`, Quote(strings.Repeat("é", 60)))
	assert.Equal(t, `"`+strings.Repeat("é", 60)+`"...`, Quote(strings.Repeat("é", 61)))
	assert.Equal(t, strings.Repeat("é", 60)+"...", Shorten(strings.Repeat("é", 61)))
}
