package tokenizer

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// golden is testdata/golden.json.gz, made by testdata/generate.py.
type golden struct {
	Versions   map[string]any
	Configs    map[string]string // tokenizer.json without its vocabulary
	Lines      map[string]map[string]string
	CodePoints map[string]struct{ IDs, Words string } `json:"code_points"`
	Hard       []struct {
		Text      []byte
		Encodings map[string]goldenEncoding
		Words     map[string]uint32
	}
	Pairs []struct {
		goldenEncoding
		A        string
		B        *string
		Special  bool
		Strategy string
		Length   int
		Error    string
	}
	Added []struct {
		Config, JSON string
		Size         int
		Tokens       map[string]string
		Cases        []struct {
			goldenEncoding
			Text         []byte
			Skipped, All string
		}
	}
	Decode []struct {
		IDs          []int64
		Skipped, All string
	}
}

type goldenEncoding struct {
	IDs, Types, Mask []int64
	Offsets          []int // two for each id
}

var readGolden = sync.OnceValue(func() *golden {
	var g golden
	if err := json.Unmarshal(unzip("golden.json.gz"), &g); err != nil {
		panic(err)
	}
	return &g
})

func unzip(name string) []byte {
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		panic(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		panic(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		panic(err)
	}
	return data
}

// fill puts the real vocabulary into a tokenizer.json that has none.
func fill(shell string) []byte {
	var vocab bytes.Buffer
	for i, token := range strings.Split(strings.TrimSuffix(string(unzip("vocab.txt.gz")), "\n"), "\n") {
		quoted, _ := json.Marshal(token)
		fmt.Fprintf(&vocab, ",%s:%d", quoted, i)
	}
	return []byte(strings.Replace(shell, `"vocab": {}`, `"vocab": {`+vocab.String()[1:]+"}", 1))
}

func configured(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := fromJSON(name, fill(readGolden().Configs[name]))
	require.NoError(t, err)
	return tok
}

func uncased(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := files{vocab: "vocab.txt", data: map[string][]byte{vocabFile: unzip("vocab.txt.gz")}}.tokenizer()
	require.NoError(t, err)
	return tok
}

func checksum[N int | int64](ids []N) uint32 {
	var b []byte
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	return crc32.ChecksumIEEE(b)
}

func checksums(t *testing.T, packed string) []uint32 {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(packed)
	require.NoError(t, err)
	sums := make([]uint32, len(data)/4)
	for i := range sums {
		sums[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return sums
}

// words returns the words that text is split into before the model looks at them, one a line.
func words(tok *Tokenizer, text string) string {
	s := scanner{t: tok, collect: true, limit: -1}
	s.scan(text, 0, len(text))
	var b strings.Builder
	open := false
	end := func() {
		if open {
			b.WriteByte('\n')
		}
		open = false
	}
	for _, c := range s.collected {
		if c.kind != kindWord {
			end()
		}
		if c.kind != kindSpace {
			b.WriteRune(c.r)
			open = true
		}
		if c.kind == kindPunctuation {
			end()
		}
	}
	end()
	return b.String()
}

func flat(offsets [][2]int) []int {
	f := make([]int, 0, 2*len(offsets))
	for _, o := range offsets {
		f = append(f, o[0], o[1])
	}
	return f
}

func TestLinesAreTheReferences(t *testing.T) {
	for config, tok := range map[string]*Tokenizer{"uncased": uncased(t), "cased": configured(t, "cased")} {
		for name, byConfig := range readGolden().Lines {
			want, offsets := checksums(t, byConfig[config]), checksums(t, byConfig["offsets"])
			texts := strings.Split(string(unzip(name+".txt.gz")), "\n")
			require.Len(t, texts, len(want))
			for i, text := range texts {
				require.Equalf(t, want[i], checksum(tok.AppendIDs(nil, text, 0)), "%s, %s line %d: %q", config, name, i, text)
				e, err := tok.Encode(text, Options{})
				require.NoError(t, err)
				require.Equal(t, want[i], checksum(e.IDs))
				if config == "uncased" {
					require.Equalf(t, offsets[i], checksum(flat(e.Offsets)), "%s line %d: offsets of %q", name, i, text)
				}
			}
		}
	}
}

func TestEveryCodePointIsTheReferences(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute under the race detector")
	}
	const block = 1024
	for config, want := range readGolden().CodePoints {
		tok := configured(t, config)
		ids, split := checksums(t, want.IDs), checksums(t, want.Words)
		for i := range ids {
			var got []int64
			var parts strings.Builder
			for c := rune(i * block); c < rune((i+1)*block); c++ {
				if c >= 0xD800 && c <= 0xDFFF {
					continue
				}
				text := "a" + string(c) + "b"
				got = tok.AppendIDs(got, text, 0)
				parts.WriteString(words(tok, text) + "\n")
			}
			assert.Equalf(t, ids[i], checksum(got), "%s: ids of U+%04X..", config, i*block)
			assert.Equalf(t, split[i], crc32.ChecksumIEEE([]byte(parts.String())), "%s: words of U+%04X..", config, i*block)
		}
	}
}

func TestHardUnicodeIsTheReferences(t *testing.T) {
	for config := range readGolden().Configs {
		tok := configured(t, config)
		for i, c := range readGolden().Hard {
			text, want := string(c.Text), c.Encodings[config]
			shown := text[:min(len(text), 200)]
			require.Equalf(t, c.Words[config], crc32.ChecksumIEEE([]byte(words(tok, text))), "%s %d: words of %+q: %+q", config, i, shown, words(tok, text))
			require.Equalf(t, want.IDs, tok.AppendIDs(nil, text, 0), "%s %d: %+q", config, i, shown)
			e, err := tok.Encode(text, Options{})
			require.NoError(t, err)
			require.Equalf(t, want.IDs, e.IDs, "%s %d: %+q", config, i, shown)
			if want.Offsets != nil {
				require.Equalf(t, want.Offsets, flat(e.Offsets), "%s %d: offsets of %+q", config, i, shown)
			}
		}
	}
}

func TestPairsAndTruncationAreTheReferences(t *testing.T) {
	tok := uncased(t)
	strategies := map[string]Strategy{"longest_first": LongestFirst, "only_first": OnlyFirst, "only_second": OnlySecond}
	errors := 0
	for _, c := range readGolden().Pairs {
		options := Options{MaxLength: c.Length, Strategy: strategies[c.Strategy], NoSpecialTokens: !c.Special}
		var got Encoding
		var err error
		if c.B == nil {
			got, err = tok.Encode(c.A, options)
		} else {
			got, err = tok.EncodePair(c.A, *c.B, options)
		}
		at := fmt.Sprintf("%q %v %+v", c.A, c.B, options)
		if c.B != nil {
			at = fmt.Sprintf("%q %q %+v", c.A, *c.B, options)
		}
		if c.Error != "" {
			errors++
			require.Errorf(t, err, "%s: %s", at, c.Error)
			continue
		}
		require.NoError(t, err, at)
		require.Equal(t, c.IDs, got.IDs, at)
		require.Equal(t, c.Types, got.TypeIDs, at)
		require.Equal(t, c.Mask, got.SpecialMask, at)
		require.Equal(t, c.Offsets, flat(got.Offsets), at)
		if c.B == nil && c.Special && c.Strategy == "longest_first" {
			require.Equal(t, c.IDs, tok.AppendIDs([]int64{}, c.A, c.Length), at)
		}
	}
	require.NotZero(t, errors)
}

func TestAddedTokensAreTheReferences(t *testing.T) {
	for _, a := range readGolden().Added {
		tok, err := fromJSON(a.Config, fill(a.JSON))
		require.NoError(t, err)
		assert.Equal(t, a.Size, tok.VocabSize())
		for id, want := range a.Tokens {
			n, _ := strconv.ParseInt(id, 10, 64)
			token, ok := tok.Token(n)
			assert.True(t, ok)
			assert.Equal(t, want, token)
		}
		for _, c := range a.Cases {
			e, err := tok.Encode(string(c.Text), Options{})
			require.NoError(t, err)
			assert.Equal(t, c.IDs, e.IDs, "%s: %q", a.Config, c.Text)
			assert.Equal(t, c.IDs, tok.AppendIDs(nil, string(c.Text), 0), "%s: %q", a.Config, c.Text)
			assert.Equal(t, c.Offsets, flat(e.Offsets), "%s: %q", a.Config, c.Text)
			assert.Equal(t, c.Skipped, tok.Decode(c.IDs), "%s: %q", a.Config, c.Text)
			assert.Equal(t, c.All, tok.DecodeAll(c.IDs), "%s: %q", a.Config, c.Text)
		}
	}
}

func TestDecodeIsTheReferences(t *testing.T) {
	tok := uncased(t)
	for _, c := range readGolden().Decode {
		assert.Equal(t, c.Skipped, tok.Decode(c.IDs))
		assert.Equal(t, c.All, tok.DecodeAll(c.IDs))
	}
}
