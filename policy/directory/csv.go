package directory

// A CSV file of users (RFC 4180), as spreadsheets write it. The first line
// names the columns, in any order: address, aliases, groups, department,
// system, name. Only address is needed. Several aliases or groups in a field
// are separated by semicolons. Fields may also be separated by semicolons (or
// tabs) in place of commas, if the first line's are; lists then need quotes. An
// apostrophe before = + - @ is not part of the value: it keeps spreadsheets
// from taking the value for a formula (see GuardCell).

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// listSeparator separates aliases and groups within a field.
const listSeparator = ";"

func readCSV(file io.ReadSeeker, _ int64, like sizes, ps *problems) (*builder, error) {
	b := newBuilder(ps, like)
	in := bufio.NewReaderSize(file, 64<<10)
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		_, _ = in.Discard(len(mark)) // it is in the buffer
	}
	lines := csv.NewReader(in)
	lines.ReuseRecord = true
	lines.Comma = separator(in)
	header, err := lines.Read()
	if err != nil {
		return b, csvProblem(ps, err)
	}
	columns := slices.Clone(header)
	if !checkColumns(lines, columns, ps) {
		return b, nil
	}
	var e entry
	for {
		fields, err := lines.Read()
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			if err := csvProblem(ps, err); err != nil {
				return nil, err
			}
			if errors.Is(err, csv.ErrFieldCount) {
				continue // the next line is whole again
			}
			return b, nil
		}
		takeFields(lines, columns, fields, &e)
		b.add(&e)
	}
}

// separator is what the first line separates its columns by.
func separator(in *bufio.Reader) rune {
	start, _ := in.Peek(in.Size())
	line, _, _ := strings.Cut(string(start), "\n")
	switch {
	case strings.Contains(line, ","):
		return ','
	case strings.Contains(line, ";"):
		return ';'
	case strings.Contains(line, "\t"):
		return '\t'
	}
	return ','
}

// checkColumns brings the names of columns into one form, and tells about
// those that are unknown, missing or twice.
func checkColumns(lines *csv.Reader, columns []string, ps *problems) bool {
	good := true
	var known entry
	for i, name := range columns {
		line, column := lines.FieldPos(i)
		at := place{line, column}
		columns[i] = strings.ToLower(strings.TrimSpace(name))
		switch {
		case known.single(columns[i]) == nil && known.list(columns[i]) == nil:
			ps.add(at, "unknown column %q; there are %s", name, keys)
			good = false
		case slices.Contains(columns[:i], columns[i]):
			ps.add(at, "the column %s is there twice", columns[i])
			good = false
		}
	}
	if good && !slices.Contains(columns, "address") {
		ps.add(place{1, 1}, "has no column address; the first line must name the columns")
		good = false
	}
	return good
}

// takeFields fills e from one line. FieldPos counts columns in bytes.
func takeFields(lines *csv.Reader, columns, fields []string, e *entry) {
	line, _ := lines.FieldPos(0)
	e.reset(place{line, 1})
	for i, field := range fields {
		text := strings.TrimSpace(field)
		if text == "" {
			continue
		}
		line, column := lines.FieldPos(i)
		at := place{line, column}
		if single := e.single(columns[i]); single != nil {
			*single = value{UnguardCell(text), at}
			continue
		}
		list := e.list(columns[i])
		for element := range strings.SplitSeq(text, listSeparator) {
			if element = strings.TrimSpace(element); element != "" {
				*list = append(*list, value{UnguardCell(element), at})
			}
		}
	}
}

// GuardCell puts an apostrophe before a value that a spreadsheet would take for
// a formula, and before one that begins like a guarded value. UnguardCell takes
// it off.
func GuardCell(text string) string {
	if beginsFormula(strings.TrimLeft(text, "'")) {
		return "'" + text
	}
	return text
}

// UnguardCell gives back what GuardCell was given.
func UnguardCell(text string) string {
	if rest, ok := strings.CutPrefix(text, "'"); ok && beginsFormula(strings.TrimLeft(rest, "'")) {
		return rest
	}
	return text
}

// beginsFormula tells what spreadsheets calculate; in East Asian ones the wide
// forms count too.
func beginsFormula(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return strings.ContainsRune("=+-@\uff1d\uff0b\uff0d\uff20", r) && text != ""
}

// csvProblem makes a problem of what is wrong with the content, and returns
// what is wrong with the reading.
func csvProblem(ps *problems, err error) error {
	var located *csv.ParseError
	switch {
	case errors.Is(err, io.EOF):
		ps.add(place{}, "is empty; the first line must name the columns")
	case errors.As(err, &located):
		ps.add(place{located.Line, located.Column}, "%v", located.Err)
	default:
		return err
	}
	return nil
}
