package tokenizer_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/text/tokenizer"
)

func Example() {
	folder, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	vocab := "[PAD]\n[UNK]\n[CLS]\n[SEP]\nun\n##aff\n##able\nfilm\n!\n"
	if err := os.WriteFile(filepath.Join(folder, "vocab.txt"), []byte(vocab), 0o644); err != nil {
		panic(err)
	}

	tok, err := tokenizer.Load(folder)
	if err != nil {
		panic(err)
	}
	text := "Unaffable film!"
	e, err := tok.Encode(text, tokenizer.Options{MaxLength: 128})
	if err != nil {
		panic(err)
	}
	for i, id := range e.IDs {
		token, _ := tok.Token(id)
		fmt.Printf("%d %s %q\n", id, token, text[e.Offsets[i][0]:e.Offsets[i][1]])
	}
	fmt.Println(tok.Decode(e.IDs))
	// Output:
	// 2 [CLS] ""
	// 4 un "Un"
	// 5 ##aff "aff"
	// 6 ##able "able"
	// 7 film "film"
	// 8 ! "!"
	// 3 [SEP] ""
	// unaffable film!
}
