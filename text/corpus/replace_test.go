package corpus

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestReplaceInvalidIsPythons(t *testing.T) {
	f, err := os.Open("testdata/replace.jsonl")
	require.NoError(t, err)
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); n++ {
		var golden [2]string
		require.NoError(t, json.Unmarshal(s.Bytes(), &golden))
		in, err := hex.DecodeString(golden[0])
		require.NoError(t, err)
		got, replaced := replaceInvalid(string(in))
		require.Equal(t, golden[1], got, golden[0])
		require.Equal(t, !utf8.Valid(in), replaced, golden[0])
	}
	require.Greater(t, n, 1500)
}
