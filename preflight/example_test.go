package preflight_test

import (
	"fmt"

	"github.com/thaw-ml/thaw/preflight"
)

// mails are labelled texts in memory.
type mails []struct{ text, label string }

func (m mails) Len() int              { return len(m) }
func (m mails) Labels(i int) []string { return []string{m[i].label} }
func (m mails) Where(i int) string    { return fmt.Sprintf("mail %d", i) }

func (m mails) keys() (keys preflight.Keys) {
	for _, mail := range m {
		keys = append(keys, preflight.TextKey(mail.text, ""))
	}
	return keys
}

func Example() {
	train := mails{{"see you at nine", "ham"}, {"you have won", "spam"}, {"lunch?", "ham"}, {"cheap watches", "spam"}}
	test := mails{{"you have won", "ham"}, {"the minutes", "ham"}}
	problem := preflight.Problem{Classes: []string{"ham", "spam"}}

	var r preflight.Report
	r.CheckClasses(train, test, problem)
	r.CheckCopies(train, test, train.keys(), test.keys(), problem, [2]string{"mail", "mails"})
	for _, f := range r.Findings {
		fmt.Println(f.Grade, f.Name, f.Count, f.First)
	}
	fmt.Println(r.Err())
	// Output:
	// warning absent-classes 1 ["spam"  2 samples to train on]
	// warning duplicates 1 [mail 0 = mail 1  labelled "ham", and "spam" in training]
	// warning conflicting-labels 1 [mail 1 = mail 0  labelled "spam" and "ham"]
	// <nil>
}
