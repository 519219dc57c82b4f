package test

// docs/tested.md: each test that it names exists.

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

func TestTheTableOfTestedBehaviourNamesTestsThatExist(t *testing.T) {
	exists := map[string]string{} // name: file
	for _, name := range repositoryFiles(t, "_test.go") {
		for _, m := range testFunction.FindAllSubmatch(mustReadFile(t, name), -1) {
			exists[string(m[1])] = name
		}
	}
	text := string(mustReadFile(t, "docs/tested.md"))
	_, table, _ := strings.Cut(text, "<!-- tested -->\n")
	table, _, ok := strings.Cut(table, "<!-- end -->")
	rows := strings.Split(strings.TrimSpace(table), "\n")
	if !ok || len(rows) < 30 {
		t.Fatalf("%d rows were found", len(rows))
	}
	named := map[string]bool{}
	for _, row := range rows[2:] {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if len(cells) != 3 {
			t.Errorf("not three cells: %s", row)
			continue
		}
		for i, cell := range cells[1:] {
			tests := regexp.MustCompile("`(Test\\w+)`(¹?)").FindAllStringSubmatch(cell, -1)
			if len(tests) == 0 && strings.Contains(cell, "`Test") || cell == "" || i == 0 && len(tests) == 0 {
				t.Errorf("a cell names no test: %s", row)
			}
			for _, m := range tests {
				named[m[1]] = true
				folder := "test/"
				if m[2] != "" {
					folder = "milter/"
				}
				if !strings.HasPrefix(exists[m[1]], folder) {
					t.Errorf("there is no test %s in ./%s", m[1], folder)
				}
			}
		}
	}
	// Sendmail's tests are all in it.
	for name, file := range exists {
		if strings.HasPrefix(file, "test/sendmail_") && !named[name] {
			t.Errorf("%s is not in the table", name)
		}
	}
	// What it says about versions holds for the servers that run.
	if log := []byte(throughSendmail(t).mta.Log()); !bytes.Contains(log, []byte("(8.17.")) {
		t.Errorf("Sendmail is another version: %.300s", log)
	}
	if !slices.Contains(strings.Fields(text), "8.17.1.9,") {
		t.Error("the document does not name the version")
	}
}
