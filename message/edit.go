package message

// HeaderEdit is one change to a top-level header field.
type HeaderEdit struct {
	// Index counts fields of this name from 1 (milter's SMFIR_CHGHEADER);
	// 0 adds a field: at the end of the header, or before it.
	Index int
	Top   bool // the field is added before all others (SMFIR_INSHEADER)
	Name  string
	Value string // without leading space and line end; "" deletes the field
}
