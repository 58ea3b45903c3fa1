package corpus

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

var (
	single = Columns{Text: "text", Label: "label"}
	pairs  = Columns{Text: "text", Pair: "other", Label: "label"}
)

// rows drops what is not exported.
func rows(t *Table) []Row {
	rows := make([]Row, len(t.Rows))
	for i, r := range t.Rows {
		r.replaced = false
		rows[i] = r
	}
	return rows
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name, file, content string
		columns             Columns
		want                []Row
	}{
		{"csv", "a.csv", "id,label,text\n1,pos,good\n2,neg,bad\n", single,
			[]Row{{Text: "good", Label: "pos", Line: 2}, {Text: "bad", Label: "neg", Line: 3}}},
		{"csv quoted", "a.csv", "text,label\n\"one, \"\"two\"\"\nthree\",a\nplain,\"b\"\n", single,
			[]Row{{Text: "one, \"two\"\nthree", Label: "a", Line: 2}, {Text: "plain", Label: "b", Line: 4}}},
		{"csv CRLF", "a.csv", "text,label\r\n\"x\r\ny\",a\r\nz,b", single,
			[]Row{{Text: "x\ny", Label: "a", Line: 2}, {Text: "z", Label: "b", Line: 4}}},
		{"csv BOM and quoted header", "a.csv", "\xef\xbb\xbf\"text\",label\nx,a\n", single, []Row{{Text: "x", Label: "a", Line: 2}}},
		{"csv blank lines", "a.csv", "\ntext,label\n\nx,a\n\n", single, []Row{{Text: "x", Label: "a", Line: 4}}},
		{"csv upper-case extension", "a.CSV", "text,label\nx,a\n", single, []Row{{Text: "x", Label: "a", Line: 2}}},
		{"tsv", "a.tsv", "label\ttext\tother\n1\tx\ty\n0\tz\tw\n", pairs,
			[]Row{{Text: "x", Pair: "y", Label: "1", Line: 2}, {Text: "z", Pair: "w", Label: "0", Line: 3}}},
		{"tsv does not quote", "a.tsv", "text\tlabel\n\"open\ta\n'' \"b\" \tb\n", single,
			[]Row{{Text: "\"open", Label: "a", Line: 2}, {Text: "'' \"b\" ", Label: "b", Line: 3}}},
		{"tsv of pandas", "a.tsv", "\"te\"\"xt\"\ttext\tlabel\n\t\"\"\"a\"\" , \"\"b\"\"\"\tx\n\t\"\"\"\"\ty\n\t\"a\"\tz\n\t\"\"\tz\n\t\"a\"b\"\"\"\tz\n\t\"\"\"\tz\n", single,
			[]Row{{Text: `"a" , "b"`, Label: "x", Line: 2}, {Text: `"`, Label: "y", Line: 3}, {Text: `"a"`, Label: "z", Line: 4},
				{Text: `""`, Label: "z", Line: 5}, {Text: `"a"b"""`, Label: "z", Line: 6}, {Text: `"""`, Label: "z", Line: 7}}},
		{"tsv CRLF, no last line end", "a.tsv", "text\tlabel\r\nx\ta\r\ny\tb", single,
			[]Row{{Text: "x", Label: "a", Line: 2}, {Text: "y", Label: "b", Line: 3}}},
		{"tsv without labels", "a.tsv", "text\nx\n", Columns{Text: "text"}, []Row{{Text: "x", Line: 2}}},
		{"jsonl", "a.jsonl", `{"text":"x","label":"a","more":[1,{}]}` + "\n\n \n" + `{"label": 1, "text": "\u00e9\n"}`, single,
			[]Row{{Text: "x", Label: "a", Line: 1}, {Text: "é\n", Label: "1", Line: 4}}},
		{"jsonl labels", "a.jsonl", `{"text":"","label": true}` + "\r\n" + `{"text":null,"label":false }` + "\r\n" + `{"text":"z","label":1.0}` + "\n", single,
			[]Row{{Label: "true", Line: 1}, {Label: "false", Line: 2}, {Text: "z", Label: "1.0", Line: 3}}},
		{"jsonl lists of labels", "a.jsonl", `{"text":"x","label":["a", "b c"]}` + "\n" + `{"text":"y","label":[]}` + "\n" +
			`{"text":"z","label":"a,b"}` + "\n" + `{"text":"w","label":null}` + "\n", Columns{Text: "text", Label: "label", Several: true},
			[]Row{{Text: "x", Labels: []string{"a", "b c"}, Line: 1}, {Text: "y", Labels: []string{}, Line: 2}, {Text: "z", Label: "a,b", Line: 3}, {Text: "w", Line: 4}}},
		{"tsv of several labels", "a.tsv", "text\tlabel\nx\ta,b\ny\t\n", Columns{Text: "text", Label: "label", Several: true},
			[]Row{{Text: "x", Label: "a,b", Line: 2}, {Text: "y", Line: 3}}},
		{"jsonl BOM, pair", "a.jsonl", "\xef\xbb\xbf" + `{"text":"x","other":"y","label":"l"}`, pairs,
			[]Row{{Text: "x", Pair: "y", Label: "l", Line: 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Read(c.file, strings.NewReader(c.content), c.columns)
			require.NoError(t, err)
			require.Equal(t, c.want, rows(got))
			require.Zero(t, got.InvalidUTF8)

			var z bytes.Buffer
			w := gzip.NewWriter(&z)
			_, err = w.Write([]byte(c.content))
			require.NoError(t, err)
			require.NoError(t, w.Close())
			path := filepath.Join(t.TempDir(), c.file+".gz")
			require.NoError(t, os.WriteFile(path, z.Bytes(), 0o600))
			got, err = Open(path, c.columns)
			require.NoError(t, err)
			require.Equal(t, c.want, rows(got))
			_, err = Read(path, bytes.NewReader(z.Bytes()[:z.Len()-6]), c.columns)
			require.EqualError(t, err, "read "+path+": unexpected EOF")
		})
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct {
		name, file, content string
		columns             Columns
		want                string
	}{
		{"extension", "a.txt", "x", single, "a.txt: the name ends in none of .csv, .tsv, .jsonl (or these with .gz)"},
		{"not gzip", "a.csv.gz", "text,label\nx,a\n", single, "a.csv.gz: not a gzip file: gzip: invalid header"},
		{"no text column", "a.csv", "x", Columns{Label: "l"}, "a.csv: no column is named for the text"},
		{"column twice", "a.csv", "x", Columns{Text: "l", Label: "l"}, `a.csv: column "l" is named twice`},
		{"UTF-16", "a.csv", "\xff\xfet\x00", single, "a.csv:1: the file is UTF-16; save it as UTF-8"},

		{"csv empty", "a.csv", "", single, "a.csv: the file is empty"},
		{"tsv empty", "a.tsv", "", single, "a.tsv: the file is empty"},
		{"jsonl empty", "a.jsonl", "", single, "a.jsonl: the file is empty"},
		{"csv BOM only", "a.csv", "\xef\xbb\xbf", single, "a.csv: the file has no rows"},
		{"csv header only", "a.csv", "text,label\n", single, "a.csv: the file has no rows"},
		{"tsv header only", "a.tsv", "text\tlabel", single, "a.tsv: the file has no rows"},
		{"jsonl blank", "a.jsonl", "\n \n", single, "a.jsonl: the file has no rows"},

		{"csv no column", "a.csv", "id,txt,label\n1,x,a\n", single, `a.csv:1: there is no column "text"; the columns are "id", "txt", "label"; did you mean "txt"?`},
		{"csv column in capitals", "a.csv", "Text,label\nx,a\n", single, `a.csv:1: there is no column "text"; the columns are "Text", "label"; did you mean "Text"?`},
		{"csv nothing near", "a.csv", "review,label\nx,a\n", single, `a.csv:1: there is no column "text"; the columns are "review", "label"`},
		{"tsv read as csv", "a.csv", "text\tlabel\nx\ta\n", single, `a.csv:1: there is no column "text"; the columns are "text\tlabel": tabs separate them here; name the file .tsv`},
		{"csv read as tsv", "a.tsv", "text,label\nx,a\n", single, `a.tsv:1: there is no column "text"; the columns are "text,label": commas separate them here; name the file .csv`},
		{"csv pointer", "a.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", single, "a.csv: this is a git-lfs pointer: fetch the file itself (git lfs pull)"},
		{"tsv quoted tab", "a.tsv", "text\tlabel\n\"x\ty\"\ta\n", single, "a.tsv:2: expected 2 columns, got 3: does a field in quotes hold a tab or a line end? A .tsv is split at each; save it as .csv"},
		{"tsv quoted line end", "a.tsv", "text\tlabel\n\"x\ny\"\ta\n", single, "a.tsv:2: expected 2 columns, got 1: does a field in quotes hold a tab or a line end? A .tsv is split at each; save it as .csv"},
		{"csv header twice", "a.csv", "text,label,text\nx,a,y\n", single, `a.csv:1: the header names column "text" twice`},
		{"jsonl no column", "a.jsonl", `{"text":"x","label":"a"}` + "\n" + `{"text":"x","lable":"a"}`, single, `a.jsonl:2: there is no column "label"; the columns are "lable", "text"; did you mean "lable"?`},

		{"csv too few", "a.csv", "text,label\nx,a\ny\n", single, "a.csv:3: expected 2 columns, got 1"},
		{"csv too many", "a.csv", "text,label\n\"x\ny\",a\nz,b,c\n", single, "a.csv:4: expected 2 columns, got 3"},
		{"tsv too few", "a.tsv", "text\tlabel\nx\n", single, "a.tsv:2: expected 2 columns, got 1"},
		{"tsv too many", "a.tsv", "text\tlabel\nx\ta\ty\n", single, "a.tsv:2: expected 2 columns, got 3"},

		{"csv unclosed quote", "a.csv", "text,label\nw,a\n\"x,a\ny,b\nz,c\n", single, "a.csv:3: a quoted field in the row that starts here is not closed, or goes on after its closing quote (seen at line 5, column 5)"},
		{"csv text after quote", "a.csv", "text,label\n\"x\"y,a\n", single, "a.csv:2: a quoted field in the row that starts here is not closed, or goes on after its closing quote (seen at line 2, column 3)"},
		{"csv bare quote", "a.csv", "text,label\nan \"x\",a\n", single, "a.csv:2: byte 4: a quote stands inside a field that is not in quotes: write 6\" book as \"6\"\" book\", in quotes and the quote doubled"},

		{"csv empty label", "a.csv", "text,label\nx,a\ny,\n", single, `a.csv:3: the label (column "label") is empty`},
		{"tsv blank label", "a.tsv", "text\tlabel\nx\t \n", single, `a.tsv:2: the label (column "label") is empty`},
		{"jsonl null label", "a.jsonl", `{"text":"x","label":null}`, single, `a.jsonl:1: the label (column "label") is empty`},
		{"jsonl label array", "a.jsonl", `{"text":"x","label":[1]}`, single, `a.jsonl:1: column "label" must be a string, a number or a bool, found [1]`},
		{"jsonl labels that are no list of strings", "a.jsonl", `{"text":"x","label":["a", 1]}`, Columns{Text: "text", Label: "label", Several: true},
			`a.jsonl:1: column "label" must be a list of strings, found ["a", 1]`},
		{"jsonl text number", "a.jsonl", `{"text":3,"label":1}`, single, `a.jsonl:1: column "text" must be a string, found 3`},
		{"jsonl array", "a.jsonl", `["x"]`, single, "a.jsonl:1: expected a JSON object"},
		{"jsonl null", "a.jsonl", "null", single, "a.jsonl:1: expected a JSON object"},
		{"jsonl cut", "a.jsonl", `{"text":"x","label":"a"}` + "\n" + `{"text":"x",`, single, "a.jsonl:2: not JSON: unexpected end of JSON input"},
		{"jsonl two objects", "a.jsonl", `{"text":"x","label":"a"}{}`, single, "a.jsonl:1: not JSON: invalid character '{' after top-level value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, err := Read(c.file, strings.NewReader(c.content), c.columns)
			require.Nil(t, table)
			require.EqualError(t, err, c.want)
			require.IsType(t, &Error{}, err)
		})
	}
}

// The files that people met.
func TestOpenMet(t *testing.T) {
	table, err := Open("testdata/pandas.tsv", single)
	require.NoError(t, err)
	require.Equal(t, Row{Text: `"it was dull and slow" , he said`, Label: "neg", Line: 2}, table.Rows[0])
	for _, r := range table.Rows {
		require.NotContains(t, r.Text, `""`)
	}
	_, err = Open("testdata/barequote.csv", single)
	require.EqualError(t, err, `testdata/barequote.csv:2: byte 25: a quote stands inside a field that is not in quotes: write 6" book as "6"" book", in quotes and the quote doubled`)
	_, err = Open("testdata/semicolon.csv", single)
	require.EqualError(t, err, `testdata/semicolon.csv:1: there is no column "text"; the columns are "text;label": semicolons separate them here; `+
		`save the file with commas, as .csv, or tabs, as .tsv`)
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := Open(filepath.Join(dir, "missing.csv"), single)
	require.ErrorIs(t, err, os.ErrNotExist)
	folder := filepath.Join(dir, "folder.csv")
	require.NoError(t, os.Mkdir(folder, 0o700))
	_, err = Open(folder, single)
	require.EqualError(t, err, "read "+folder+": is a directory")
	_, err = Read("a.tsv", iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("text\tlabel\nx\ta"))), single)
	require.EqualError(t, err, "read a.tsv: timeout")
}

func TestInvalidUTF8IsKeptAndCounted(t *testing.T) {
	for file, content := range map[string]string{
		"a.csv":   "text,label,id\nfine,a,1\ncaf\xe9 \xe2\x82,a,2\nfine,a,\xff\n",
		"a.tsv":   "text\tlabel\tid\nfine\ta\t1\ncaf\xe9 \xe2\x82\ta\t2\nfine\ta\t\xff\n",
		"a.jsonl": "\n{\"text\":\"fine\",\"label\":\"a\"}\n{\"text\":\"caf\xe9 \xe2\x82\",\"label\":\"a\"}\n{\"text\":\"fine\",\"label\":\"a\",\"id\":\"\xff\"}\n",
	} {
		table, err := Read(file, strings.NewReader(content), single)
		require.NoError(t, err)
		require.Len(t, table.Rows, 3)
		require.Equal(t, "caf� �", table.Rows[1].Text)
		require.Equal(t, 2, table.InvalidUTF8, file)
		require.Equal(t, 3, table.FirstInvalid, file)
		train, test := table.Part(func(i int) bool { return i%2 == 1 }), table.Part(func(i int) bool { return i%2 == 0 })
		require.Equal(t, []int{1, 3, 1, 4}, []int{train.InvalidUTF8, train.FirstInvalid, test.InvalidUTF8, test.FirstInvalid})
	}
}

func TestEmptyTextsAreKeptAndCounted(t *testing.T) {
	table, err := Read("a.csv", strings.NewReader("text,label\nx,a\n,a\n\"  \",b\n"), single)
	require.NoError(t, err)
	require.Len(t, table.Rows, 3)
	require.Equal(t, []int{2, 3}, []int{table.Empty, table.FirstEmpty})
}

func TestMillionCharacters(t *testing.T) {
	long := strings.Repeat("wörd ", 200_000)
	for file, content := range map[string]string{
		"a.csv":   "text,label\n\"" + long + "\",a\n",
		"a.tsv":   "text\tlabel\n" + long + "\ta\n",
		"a.jsonl": `{"text":"` + long + `","label":"a"}`,
	} {
		table, err := Read(file, strings.NewReader(content), single)
		require.NoError(t, err)
		require.Equal(t, long, table.Rows[0].Text)
	}
}

// labelled makes a table with these labels, its texts numbered.
func labelled(labels ...string) *Table {
	t := &Table{Path: "a.csv", Columns: single}
	for i, l := range labels {
		t.Rows = append(t.Rows, Row{Text: strings.Repeat("x", i+1), Label: l, Line: i + 2})
	}
	return t
}

func TestClasses(t *testing.T) {
	require.Equal(t, []string{"a", "b", "c"}, labelled("b", "a", "b", "c").Classes())
	require.Equal(t, []string{"-1", "2", "9", "10"}, labelled("10", "9", "-1", "2").Classes())
	require.Equal(t, []string{"10", "9", "x"}, labelled("10", "9", "x").Classes())
	require.Empty(t, labelled("", "").Classes())
}

func TestIndices(t *testing.T) {
	table := labelled("positive", "negative", "positive")
	got, err := table.Indices([]string{"negative", "positive"})
	require.NoError(t, err)
	require.Equal(t, []int{1, 0, 1}, got)
	_, err = labelled("positive", "Negative").Indices([]string{"negative", "positive"})
	require.EqualError(t, err, `a.csv:3: the label "Negative" is not a class; the classes are "negative", "positive"; did you mean "negative"?`)
	_, err = labelled("postive").Indices([]string{"negative", "positive"})
	require.EqualError(t, err, `a.csv:2: the label "postive" is not a class; the classes are "negative", "positive"; did you mean "positive"?`)
	_, err = labelled(strings.Repeat("é", 1000)).Indices([]string{"negative", "positive"})
	require.EqualError(t, err, `a.csv:2: the label "`+strings.Repeat("é", 60)+`"... is not a class; the classes are "negative", "positive"`)
	many := strings.Split(strings.Repeat("c ", 24)+"c", " ")
	_, err = labelled("word").Indices(many)
	require.EqualError(t, err, `a.csv:2: the label "word" is not a class; the classes are `+strings.Repeat(`"c", `, 20)+`and 5 more`)
}

func TestDuplicates(t *testing.T) {
	train := &Table{Rows: []Row{{Text: "a", Label: "1"}, {Text: "b", Pair: "c"}, {Text: "d"}}}
	test := &Table{Rows: []Row{{Text: "a", Label: "0"}, {Text: "b"}, {Text: "b", Pair: "c"}, {Text: "e"}}}
	require.Equal(t, 2, Duplicates(train, test))
	require.Zero(t, Duplicates(train, &Table{}))
}
