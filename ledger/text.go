package ledger

import "strings"

// clean makes s storable as text everywhere: mail may hold any bytes, but
// PostgreSQL takes neither NUL nor invalid UTF-8. The bytes themselves are in
// the skeleton.
func clean(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
}
