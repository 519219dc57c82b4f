package mtasetup

// The plan as commands: what --apply runs is what is printed.

import "strings"

// Commands gives the arguments for postconf(1), -c left out, in the order in
// which they are run: services, then their parameters, then main.cf. Files are
// not among them.
func (p *Plan) Commands() [][]string {
	of := func(kind Kind, write func(Change) string, args ...string) []string {
		n := len(args)
		for _, c := range p.Changes {
			if c.Kind == kind {
				args = append(args, write(c))
			}
		}
		if len(args) == n {
			return nil
		}
		return args
	}
	var out [][]string
	for _, argv := range [][]string{
		of(Service, func(c Change) string { return c.Service + "=" + c.New }, "-M"),
		of(Override, func(c Change) string { return c.Service + "/" + c.Name + "=" + c.New }, "-P"),
		of(Parameter, func(c Change) string { return c.Name + "=" + c.New }, "-e"),
	} {
		if argv != nil {
			out = append(out, argv)
		}
	}
	return out
}

// Shell quotes a command for a shell.
func Shell(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		if a == "" || strings.ContainsAny(a, " \t\n'\"$`\\{}[]()*?;&|<>~#!") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		words[i] = a
	}
	return strings.Join(words, " ")
}
