package testserver

// What makes sendmail.cf from sendmail.mc, for tests of programs that have it made.

import "path/filepath"

// SendmailTools are m4(1) and the macros that go with the Sendmail at hand.
type SendmailTools struct {
	M4     string   // the program
	Env    []string // what it needs in its environment
	Macros string   // the file that every sendmail.mc includes first
}

// FindSendmailTools finds them.
func FindSendmailTools() (*SendmailTools, error) {
	programs, err := findSendmail()
	if err != nil {
		return nil, err
	}
	return &SendmailTools{M4: programs.m4, Env: programs.env(), Macros: filepath.Join(programs.macros, "m4/cf.m4")}, nil
}
