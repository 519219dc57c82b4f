package testserver

import (
	"context"
	"fmt"
	"path/filepath"
)

// LoadLDIF adds the entries of an LDIF file with slapadd, OpenLDAP's own reader
// of that format, or the error tells what slapadd objects to. The running server
// finds them by its indexes (mail, uid, member), not by walking the tree, as it
// counts entries itself: so nothing can be added to it afterwards.
func (s *Slapd) LoadLDIF(ctx context.Context, path string) error {
	in, program, err := findSlapd()
	if err != nil {
		return err
	}
	out, err := in.command(ctx, filepath.Join(filepath.Dir(program), "slapadd"), "-f", s.configFile(), "-b", slapdSuffix, "-l", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("slapadd: %w: %s", err, out)
	}
	return nil
}
