package vault

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
)

func TestAFailedUploadSaysWhichNamesArePrivate(t *testing.T) {
	for wanted, want := range map[string][]string{
		"bob@acmecorp.test/2026/plans.pdf": {"bob@acmecorp.test/2026/plans.pdf", "bob@acmecorp.test/2026", "plans.pdf", "plans"},
		"plans":                            {"plans", "plans"},
		"labs/a.pdf":                       {"labs/a.pdf", "labs", "a.pdf"}, // "a" is in every other word
	} {
		err := error(&namedError{&Fault{Scope: ThisPath, Err: fs.ErrExist}, wanted})
		var named interface{ Private() []string }
		if !errors.As(err, &named) || !slices.Equal(named.Private(), want) {
			t.Errorf("%s: %v, want %v", wanted, named.Private(), want)
		}
		if f, ok := errors.AsType[*Fault](err); !ok || f.Scope != ThisPath || !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: the fault is hidden", wanted)
		}
	}
}
